"""Results by rows, against the same pictures written whole."""

import os
import struct
import time
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from mmseg_cascadepsp.files.row_writers import appended, read_note, write_result
from mmseg_cascadepsp.files.rows import ImageRows, stored_size

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (150, 201, 3), np.uint8)
MASK = RNG.random((150, 201)) > 0.5
GEO = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 691000.0, 5330000.0, 0.0), True),
    (34735, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632), True),
]


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.npy'])
def test_what_is_written_by_rows_is_read_back(tmp_path, suffix):
    path, values = tmp_path / 'deep' / f'a{suffix}', PHOTO[..., 0]
    write_result(path, values, {'key': 'ä note'}, {})
    whole = np.load(path) if suffix == '.npy' else np.asarray(Image.open(path))
    np.testing.assert_array_equal(whole, values)
    assert read_note(path) == {'key': 'ä note'}
    assert stored_size(path) == (150, 201)
    beside = {'.a.npy.note'} if suffix == '.npy' else set()
    assert {found.name for found in path.parent.iterdir()} == {path.name} | beside


@pytest.mark.parametrize('change', ['other file', 'damaged note', 'no note'])
def test_a_note_is_that_of_its_file(tmp_path, change):
    path = tmp_path / 'a.npy'
    write_result(path, PHOTO[..., 0], {'key': 'note'})
    if change == 'other file':
        time.sleep(0.02)  # as much as the clocks of file systems need
        write_result(path, PHOTO[..., 1])
    elif change == 'damaged note':
        (tmp_path / '.a.npy.note').write_text('[1]')
    else:
        (tmp_path / '.a.npy.note').unlink()
    assert read_note(path) == {}


def test_a_result_that_has_its_name_has_its_note(tmp_path, monkeypatch):
    path, replace = tmp_path / 'a.npy', os.replace

    def killed(source, target):
        replace(source, target)
        if target == path:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
        write_result(path, PHOTO[..., 0], {'key': 'note'})
    assert read_note(path) == {'key': 'note'}


def test_long_names_have_notes_of_their_own(tmp_path):
    names = [f'{"a" * 150}{end}.npy' for end in '12'] + ['\u8449' * 82 + '.npy']
    for name in names:
        write_result(tmp_path / name, PHOTO[..., 0], {'key': name})
    assert [read_note(tmp_path / name) for name in names] == [{'key': name} for name in names]


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.npy'])
def test_mapped_arrays_are_written_as_arrays_are(tmp_path, suffix):
    mapped = np.memmap(tmp_path / 'raw', np.uint8, 'w+', shape=(150, 201))
    mapped[:] = PHOTO[..., 0]
    write_result(tmp_path / f'a{suffix}', mapped, {'key': 'note'})
    write_result(tmp_path / f'b{suffix}', PHOTO[..., 0], {'key': 'note'})
    assert (tmp_path / f'a{suffix}').read_bytes() == (tmp_path / f'b{suffix}').read_bytes()


@pytest.mark.parametrize('side', [40_000, 70_000])
@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
def test_size_and_note_of_a_huge_picture_need_no_pixels(tmp_path, side):
    write_result(tmp_path / 'a.png', PHOTO[..., 0], {'key': 'note'})
    header = b'IHDR' + struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
    content = (tmp_path / 'a.png').read_bytes()
    content = content[:12] + header + struct.pack('>I', zlib.crc32(header)) + content[33:]
    (tmp_path / 'a.png').write_bytes(content)
    assert stored_size(tmp_path / 'a.png') == (side, side)
    assert read_note(tmp_path / 'a.png') == {'key': 'note'}


def test_a_result_keeps_the_place_on_earth(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', PHOTO, photometric='rgb', extratags=GEO)
    with ImageRows(tmp_path / 'a.tif') as photo:
        write_result(tmp_path / 'b.tif', PHOTO[..., 0], {'key': 'note'}, photo.geo)
    with tifffile.TiffFile(tmp_path / 'b.tif') as file:
        found = {code: file.pages[0].tags[code].value for code, *_ in GEO}
    assert found == {code: value for code, _, _, value, _ in GEO}


def test_appending_goes_on_after_the_last_whole_row(tmp_path):
    path = tmp_path / 'rows'
    with appended(path, 4) as (file, rows):
        assert rows == 0
        file.write(b'abcdefghij')
    with appended(path, 4) as (file, rows):
        assert rows == 2
        file.write(b'1234')
    assert path.read_bytes() == b'abcdefgh1234'
