"""Which files belong together, and which of them are never written over."""

import errno
import shutil
import tempfile

import numpy as np
import pytest

from mmseg_cascadepsp.apis import find_pairs, refine_files, refine_pair
from mmseg_cascadepsp.files import write_image, write_png
from mmseg_cascadepsp.files.folder_run import process_pair
from mmseg_cascadepsp.files.run_options import RunOptions
from tests.tiny import Stub


class Blur(Stub):
    """Stands for a refiner; counts."""

    calls = 0

    def blur(self, image, mask):
        self.calls += 1
        return super().blur(image, mask)


@pytest.fixture
def folders(tmp_path, photo, mask):
    """Folders of a photo and a mask, and a place for results."""
    write_image(tmp_path / 'photos' / 'a.jpg', photo)
    write_png(tmp_path / 'masks' / 'a.png', mask.astype(np.uint8) * 255)
    return tmp_path / 'photos', tmp_path / 'masks', tmp_path / 'out'


def contents(root):
    return {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}


@pytest.mark.parametrize('single', [True, False])
def test_extras_never_go_on_top_of_inputs(folders, tmp_path, single):
    photos, masks, _ = folders
    if single:
        coarse = shutil.copy(masks / 'a.png', photos / 'a_probability.png')
        paths = photos / 'a.jpg', coarse, photos / 'a.png'
    else:
        paths = photos, shutil.copytree(masks, tmp_path / 'probability'), tmp_path
    before, blur = contents(tmp_path), Blur()
    with pytest.raises(ValueError, match='probability .* is an input'):
        refine_files(blur, *paths, L=80, extras=['probability'])
    (pair,), *_ = find_pairs(*paths)
    options = RunOptions(extras=['probability'])
    state, sentence = process_pair(blur, blur.settings(), pair, options)
    assert state == 'failed' and 'is an input' in sentence
    assert not blur.calls and contents(tmp_path) == before
    assert refine_files(blur, *paths, L=80).refined == ['a']


@pytest.mark.parametrize('single', [True, False])
def test_a_folder_that_refuses_results_is_told_before_the_work(folders, monkeypatch, single):
    photos, masks, out = folders
    paths = (photos / 'a.jpg', masks / 'a.png', out / 'a.png') if single else folders
    refiner = Blur()
    (out.parent / 'file').write_text('')
    with pytest.raises(OSError, match='out: .*file/out cannot be written to: Not a directory'):
        refine_files(refiner, *paths[:2], f'{out.parent}/file/out/', L=80)

    def refused(dir):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(tempfile, 'TemporaryFile', refused)
    with pytest.raises(OSError, match=f'out: {out} cannot be written to: Permission denied'):
        refine_files(refiner, *paths, L=80)
    assert not refiner.calls
    monkeypatch.undo()
    refine_files(refiner, *paths, L=80)
    monkeypatch.setattr(tempfile, 'TemporaryFile', refused)  # nothing to write, nothing to refuse
    assert refine_files(refiner, *paths, L=80).skipped == ['a']
    assert refiner.calls == 1


@pytest.mark.parametrize(
    ('change', 'error', 'words'),
    [
        ({'threshold': 2.0}, ValueError, 'threshold .*got 2.0'),
        ({'extras': ('typo',)}, ValueError, 'extras must be of probability.*got typo'),
        ({'windowed': False, 'suffix': '.npy'}, ValueError, 'windowed must be True .*got False'),
    ],
)
def test_a_pair_alone_is_checked_before_the_work(folders, tmp_path, change, error, words):
    photos, masks, _ = folders
    suffix, before, blur = change.get('suffix', '.png'), contents(tmp_path), Blur()
    options = {key: value for key, value in change.items() if key != 'suffix'}
    (pair,), *_ = find_pairs(photos / 'a.jpg', masks / 'a.png', tmp_path / f'x{suffix}')
    with pytest.raises(error, match=words):
        refine_pair(blur, pair, RunOptions(**options))
    assert not blur.calls and contents(tmp_path) == before


def test_linked_folders_belong_to_the_folder(folders, tmp_path):
    photos, masks, out = folders
    for folder in (photos, masks):
        (tmp_path / f'my_{folder.name}').mkdir()
        (tmp_path / f'my_{folder.name}' / 'deep').symlink_to(folder)
    found, faults, _ = find_pairs(tmp_path / 'my_photos', tmp_path / 'my_masks', out)
    assert [pair.name for pair in found] == ['deep/a'] and not faults
