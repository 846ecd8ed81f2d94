import ntpath
import os
from unittest import mock

import pytest

from mmseg_cascadepsp.files import atomic_open
from mmseg_cascadepsp.files import paths as files
from mmseg_cascadepsp.files.paths import files_below


def test_it_appears_whole(tmp_path):
    path = tmp_path / 'quite' / 'new' / 'a.bin'
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


@pytest.mark.parametrize('name', ['a.bin', 'x' * 200 + '.bin'])
def test_what_killed_writers_left_goes_and_that_of_others_at_work_stays(tmp_path, name):
    path = tmp_path / name
    with atomic_open(path) as file:
        left = file.name
    others = ['.a.bin.partial', '.a.bin.0123456789a.tmp', '.b.bin.0123456789ab.tmp', '.a.bin.note']
    for other in (left, *others):
        (tmp_path / other).write_bytes(b'half')
    with atomic_open(path) as file:
        file.write(b'one')
        assert not os.path.exists(left)
        with atomic_open(path) as second:
            second.write(b'two')
        assert path.read_bytes() == b'two' and os.path.exists(file.name)
    assert path.read_bytes() == b'one'
    assert sorted(os.listdir(tmp_path)) == sorted([name, *others])


def test_it_can_be_read_by_others_as_any_new_file(tmp_path):
    (tmp_path / 'plain').write_bytes(b'')
    with atomic_open(tmp_path / 'atomic'):
        pass
    assert (tmp_path / 'atomic').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_files_behind_links_are_found_once(tmp_path):
    for name in ('top/b/x', 'top/a', 'elsewhere/y'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    for link, target in (
        ('top/linked', 'elsewhere'),
        ('top/same', 'elsewhere'),
        ('top/a_inside', 'top/b'),
        ('top/around', '.'),
        ('elsewhere/circle', 'elsewhere'),
        ('elsewhere/back', 'top'),
    ):
        (tmp_path / link).symlink_to(tmp_path / target, target_is_directory=True)
    top = tmp_path / 'top'
    assert files_below(top) == [top / 'a', top / 'b' / 'x', top / 'linked' / 'y']
    assert files_below(str(top / 'a_inside')) == [top / 'a_inside' / 'x']  # a link itself


def test_a_link_to_another_drive_is_elsewhere():
    assert files.folder_around(['/photos/a', '/photos/b']) == '/photos'
    with mock.patch.object(files.os, 'path', ntpath):
        assert files.folder_around(['C:\\photos', 'D:\\more']) is None
    assert files.folder_around([]) is None
