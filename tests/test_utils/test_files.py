import os

import pytest

from mmseg_cascadepsp.utils import atomic_open


def test_it_appears_whole(tmp_path):
    path = tmp_path / 'new' / 'a.bin'
    with atomic_open(path) as file:
        file.write(b'half')
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b'half'
    assert os.listdir(path.parent) == ['a.bin']


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), KeyboardInterrupt()])
def test_an_older_file_survives_a_fault(tmp_path, error):
    path = tmp_path / 'a.bin'
    path.write_bytes(b'old')
    with pytest.raises(type(error)), atomic_open(path) as file:
        file.write(b'new')
        raise error
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.bin']


def test_it_can_be_read_by_others_as_any_new_file(tmp_path):
    (tmp_path / 'plain').write_bytes(b'')
    with atomic_open(tmp_path / 'atomic'):
        pass
    assert (tmp_path / 'atomic').stat().st_mode == (tmp_path / 'plain').stat().st_mode
