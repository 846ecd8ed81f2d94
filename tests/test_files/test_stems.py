"""Files that belong together are found by their stems."""

import os

import pytest

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files.stems import files_by_stem, one_by_stem


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_stems_are_paths_without_suffix(tmp_path):
    make(tmp_path, 'b.PNG', 'a.b.jpg', 'cats/b.tif', 'readme.txt')
    assert list(files_by_stem(tmp_path)) == ['a.b', 'b', 'cats/b']
    assert files_by_stem(tmp_path)['cats/b'] == [tmp_path / 'cats/b.tif']


def test_hidden_files_and_results_are_skipped(tmp_path):
    make(tmp_path, 'a.png', '.b.png', '.c/c.png', '__MACOSX/d.png', 'out/a.png', 'outer/e.png')
    assert list(files_by_stem(tmp_path, without=tmp_path / 'out')) == ['a', 'outer/e']
    make(tmp_path, '.hidden/photos/a.png')
    assert list(files_by_stem(tmp_path / '.hidden/photos')) == ['a']


@pytest.mark.parametrize('out', ['.', '..', '../elsewhere'])
def test_results_around_the_folder_leave_it_as_it_is(tmp_path, out):
    make(tmp_path / 'photos', 'a.png')
    assert list(files_by_stem(tmp_path / 'photos', without=tmp_path / 'photos' / out)) == ['a']


def test_links_are_followed(tmp_path):
    make(tmp_path, 'photos/a.png', 'elsewhere/b.png')
    os.symlink(tmp_path / 'elsewhere', tmp_path / 'photos/linked')
    assert list(files_by_stem(tmp_path / 'photos')) == ['a', 'linked/b']


def test_the_longest_suffix_is_cut(tmp_path):
    make(tmp_path, 'a_im.jpg', 'a_gt.png', 'a_seg.png', 'b.png')
    suffixes = ('.png', '_gt.png', '_seg.png')
    assert {stem: len(paths) for stem, paths in files_by_stem(tmp_path, suffixes).items()} == {
        'a': 2,
        'b': 1,
    }


def test_doubles_are_refused(tmp_path):
    make(tmp_path, 'a.png', 'a.jpg', 'b.png', 'c.png')
    found = files_by_stem(tmp_path)
    with pytest.raises(InvalidValueError, match=r'masks: .*a\.jpg and .*a\.png have the same'):
        one_by_stem(found, 'masks')
