"""Finding the photo of a name."""

import pytest

from mmseg_cascadepsp.annotations.base import PhotoFolder
from mmseg_cascadepsp.errors import FileError, MissingFileError


@pytest.fixture
def folder(tmp_path):
    for name in ('a.png', 'train/b.JPG', 'val/b.jpg', 'val/c.x.webp', 'val/notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return PhotoFolder(tmp_path)


@pytest.mark.parametrize(
    'name, place',
    [
        ('a.png', 'a.png'),
        ('a', 'a.png'),
        ('a.jpg', 'a.png'),  # another ending
        ('train/b', 'train/b.JPG'),
        ('images/val/b.jpg', 'val/b.jpg'),
        ('C:\\photos\\val\\b.jpg', 'val/b.jpg'),
        ('/somewhere/else/a.png', 'a.png'),
        ('c.x.webp', 'val/c.x.webp'),
        ('c.x', 'val/c.x.webp'),
    ],
)
def test_a_photo_is_found(folder, name, place):
    assert folder.find(name) == folder.folder / place


def test_what_is_not_there_and_what_is_there_twice(folder):
    for name in ('d.png', 'notes.txt', ''):
        with pytest.raises(MissingFileError):
            folder.find(name)
    for name in ('b', 'b.png'):
        with pytest.raises(FileError, match='several photos'):
            folder.find(name)
    with pytest.raises(MissingFileError, match='no folder'):
        PhotoFolder(folder.folder / 'nowhere')
