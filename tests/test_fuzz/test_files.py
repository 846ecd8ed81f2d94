"""Photos, masks and label maps as files: whole ones against what was written, damaged ones against
other decoders.
"""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmseg_cascadepsp.apis import Refiner, refine_files
from mmseg_cascadepsp.files import read_image, read_labels, read_mask
from mmseg_cascadepsp.files.rows import ImageRows, MaskRows, stored_size
from tests.fuzz import Agrees, Refused, attempt, cases, same

pytestmark = pytest.mark.slow

SIDES = st.integers(1, 40)


def pillow(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def opencv(array, suffix):
    return cv2.imencode(suffix, array[..., ::-1] if array.ndim == 3 else array)[1].tobytes()


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def netpbm(array):
    kind, size = ('P6' if array.ndim == 3 else 'P5'), f'{array.shape[1]} {array.shape[0]}'
    return f'{kind}\n{size}\n255\n'.encode() + array.tobytes()


def palette(array):
    picture = Image.fromarray(array)
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    file = io.BytesIO()
    picture.save(file, 'PNG')
    return file.getvalue()


#: Suffix, and how RGB uint8 is written. All keep the pixels.
PHOTOS = {
    'png': ('.png', lambda a: pillow(a, 'PNG')),
    'png of opencv': ('.png', lambda a: opencv(a, '.png')),
    'png 16': ('.png', lambda a: opencv(a.astype(np.uint16) * 257, '.png')),
    'bmp': ('.bmp', lambda a: opencv(a, '.bmp')),
    'webp': ('.webp', lambda a: pillow(a, 'WEBP', lossless=True)),
    'ppm': ('.ppm', netpbm),
    'npy': ('.npy', npy),
    'npy 16': ('.npy', lambda a: npy(a.astype('>u2') * 257)),
    'tiff': ('.tif', lambda a: tiff(a, photometric='rgb')),
    'tiff deflate': ('.tif', lambda a: tiff(a, photometric='rgb', compression='zlib')),
    'tiff of pillow': ('.tif', lambda a: pillow(a, 'TIFF', compression='tiff_adobe_deflate')),
    'tiff planes': (
        '.tif',
        lambda a: tiff(a.transpose(2, 0, 1).copy(), photometric='rgb', planarconfig='separate'),
    ),
    'tiff 16, tiles': (
        '.tif',
        lambda a: tiff(
            a.astype('>u2') * 257, photometric='rgb', tile=(16, 16), compression='zlib'
        ),
    ),
    'tiff strips': (
        '.tiff',
        lambda a: tiff(a, photometric='rgb', rowsperstrip=5, byteorder='>'),
    ),
}
#: Suffix, and how a mask of 0 and 1 is written.
MASKS = {
    'png': ('.png', lambda m: pillow(m * 255, 'PNG')),
    'png 0/1': ('.png', lambda m: opencv(m, '.png')),
    'png one bit': ('.png', lambda m: pillow(m.astype(bool), 'PNG')),
    'png 16': ('.png', lambda m: opencv(m.astype(np.uint16) * 65535, '.png')),
    'png colours': ('.png', lambda m: pillow(np.dstack([m * 255] * 3), 'PNG')),
    'png palette': ('.png', palette),
    'bmp': ('.bmp', lambda m: opencv(m * 255, '.bmp')),
    'gif': ('.gif', lambda m: pillow(m * 255, 'GIF')),
    'webp': ('.webp', lambda m: pillow(np.dstack([m * 255] * 3), 'WEBP', lossless=True)),
    'pgm': ('.pgm', lambda m: netpbm(m * 255)),
    'npy': ('.npy', lambda m: npy(m.astype(bool))),
    'npy floats': ('.npy', lambda m: npy(m.astype('>f4'))),
    'tiff': ('.tif', lambda m: tiff(m * 255, photometric='minisblack')),
    'tiff deflate': ('.tif', lambda m: tiff(m * 255, compression='zlib', rowsperstrip=4)),
    'tiff floats': ('.tif', lambda m: tiff(m.astype(np.float32), photometric='minisblack')),
    'tiff inverted': ('.tif', lambda m: tiff((1 - m) * 255, photometric='miniswhite')),
    'tiff of pillow': (
        '.tif',
        lambda m: pillow(m * 255, 'TIFF', compression='tiff_adobe_deflate'),
    ),
}


@st.composite
def pixels(draw):
    """RGB noise on a ramp, of any size, not nearly black."""
    height, width = draw(SIDES), draw(SIDES)
    random = np.random.default_rng(draw(st.integers(0, 999)))
    photo = random.integers(0, 256, (height, width, 3), np.uint8)
    photo[0, 0], photo[-1, -1] = (10, 20, 30), (255, 1, 128)
    return photo


@st.composite
def objects(draw):
    """A mask of 0 and 1 with both."""
    mask = np.zeros((draw(st.integers(2, 40)), draw(st.integers(2, 40))), np.uint8)
    height, width = mask.shape
    mask[draw(st.integers(0, height - 1)) :, : draw(st.integers(1, width))] = 1
    mask[0, -1] = 0
    mask[-1, 0] = 1
    return mask


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzz')


def rows_of(reader, path):
    """All rows of a file, read some at a time."""
    with reader(path) as rows:
        height = rows.shape[0]
        step = max(1, height // 3)
        parts = [rows.read(i, min(i + step, height)) for i in range(0, height, step)]
    return np.concatenate(parts)


@given(st.data())
@cases(0.05)
def test_photos_are_what_was_written(folder, data):
    photo = data.draw(pixels(), 'photo')
    suffix, write = PHOTOS[data.draw(st.sampled_from(sorted(PHOTOS)), 'as')]
    path = folder / f'photo{suffix}'
    path.write_bytes(write(photo))
    assert stored_size(path) == photo.shape[:2]
    if suffix != '.npy':
        np.testing.assert_array_equal(read_image(path), photo)
    np.testing.assert_array_equal(rows_of(ImageRows, path), photo)


@given(st.data())
@cases(0.05)
def test_masks_are_what_was_written(folder, data):
    mask = data.draw(objects(), 'mask')
    suffix, write = MASKS[data.draw(st.sampled_from(sorted(MASKS)), 'as')]
    path = folder / f'mask{suffix}'
    path.write_bytes(write(mask))
    if suffix != '.npy':
        np.testing.assert_array_equal(read_mask(path), mask * 255)
    np.testing.assert_array_equal(rows_of(MaskRows, path), mask > 0)


@st.composite
def damaged(draw, content):
    """A file with some bytes changed, lost, added or doubled."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3), 'faults')):
        kind = draw(st.sampled_from(['bit', 'byte', 'cut', 'zeros', 'lost', 'added', 'size']))
        at = draw(st.integers(0, max(0, len(content) - 1)))
        if draw(st.booleans()):  # half of the faults in what describes the pixels
            at = min(at, draw(st.integers(0, 60)))
        if kind == 'cut':
            del content[at:]
        elif kind == 'lost':
            del content[at : at + draw(st.integers(1, 40))]
        elif kind == 'added':
            content[at:at] = bytes(draw(st.lists(st.integers(0, 255), max_size=9)))
        elif kind == 'size' and len(content) > at + 4:
            content[at : at + 4] = draw(st.sampled_from([b'\xff' * 4, b'\0\0\0\1', b'\1\0\0\0']))
        elif content:
            part = slice(at, at + (1 if kind in ('bit', 'byte') else 16))
            new = {'zeros': 0, 'byte': draw(st.integers(0, 255))}
            for i in range(*part.indices(len(content))):
                content[i] = new.get(kind, content[i] ^ (1 << draw(st.integers(0, 7))))
    return bytes(content)


def fails_its_checksums(content):
    """Whether a PNG has a chunk that matters whose checksum is wrong."""
    at, pixels = 8, False
    while at + 12 <= len(content):
        (length,) = struct.unpack('>I', content[at : at + 4])
        chunk, crc = content[at + 4 : at + 8 + length], content[at + 8 + length :][:4]
        if pixels and chunk[:4] != b'IDAT':  # what is wrong behind all pixels harms none
            return False
        if chunk[:1].isupper() and crc != struct.pack('>I', zlib.crc32(chunk)):
            return True
        at, pixels = at + 12 + length, chunk[:4] == b'IDAT'
    return False


def decoded(content, suffix):
    """What another decoder makes of a file: an array, None where it refuses, NotImplemented where
    it is no judge.
    """
    try:
        if content.startswith(b'\x89PNG'):
            return None if fails_its_checksums(content) else NotImplemented
        if content[:2] in (b'P5', b'P6', b'BM'):  # by whatever name
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            return NotImplemented if picture is None else picture
        if suffix == '.npy':
            return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception:
        return None
    return NotImplemented  # of TIFF and others nothing says whether they are whole


DOORS = {
    'read_image': read_image,
    'read_mask': read_mask,
    'read_labels': read_labels,
    'ImageRows': lambda path: rows_of(ImageRows, path),
    'MaskRows': lambda path: rows_of(MaskRows, path),
}


@given(st.data())
@cases(0.16)
def test_damaged_files(folder, data):
    table = data.draw(st.sampled_from(['photo', 'mask']), 'kind')
    table = {'photo': PHOTOS, 'mask': MASKS}[table]
    suffix, write = table[data.draw(st.sampled_from(sorted(table)), 'as')]
    content = write(data.draw(pixels() if table is PHOTOS else objects(), 'pixels'))
    content = data.draw(damaged(content), 'content')
    if data.draw(st.integers(0, 9), 'another suffix') == 0:
        suffix = data.draw(st.sampled_from(['.png', '.tif', '.npy', '.jpg', '']), 'suffix')
    path = folder / f'damaged{suffix}'
    path.write_bytes(content)
    door = data.draw(st.sampled_from(sorted(DOORS)), 'door')
    result = attempt(DOORS[door], path)
    assert path.read_bytes() == content
    size = attempt(stored_size, path)
    assert size is None or len(size) == 2
    if isinstance(result, Refused):
        assert str(path) in result
        return
    dtype = {'read_labels': np.int32, 'MaskRows': bool}.get(door, np.uint8)
    assert result.dtype == dtype and result.ndim == (3 if 'mage' in door else 2) and result.size
    assert same(result, DOORS[door](path))
    expected = decoded(content, suffix)
    assert expected is not None, 'read, though another decoder refuses it'
    if expected is not NotImplemented:
        assert result.shape[:2] in (expected.shape[:2], expected.shape[-2:])


@given(st.data())
@cases(0.01)
def test_a_damaged_file_ends_one_pair_alone(folder, data):
    out = folder / f'out{data.draw(st.integers(0, 10**9))}'
    for kind, table in (('photos', PHOTOS), ('masks', MASKS)):
        (folder / kind).mkdir(exist_ok=True)
        for path in (folder / kind).iterdir():
            path.unlink()
        for name in 'abc':
            suffix, write = table[data.draw(st.sampled_from(sorted(table)))]
            array = np.zeros((40, 30, 3), np.uint8)
            array[10:30, 5:20] = 1 if kind == 'masks' else 200
            content = write(array[..., 0].copy() if kind == 'masks' else array)
            if name == 'b':
                content = data.draw(damaged(content))
            (folder / kind / f'{name}{suffix}').write_bytes(content)
    refiner = Refiner(Agrees(), L=66, keep_accurate=False)
    report = attempt(refine_files, refiner, folder / 'photos', folder / 'masks', out)
    assert not isinstance(report, Refused), report
    assert sorted([*report.refined, *report.failed]) == ['a', 'b', 'c']
    assert {'a', 'c'} <= set(report.refined), report.failed
    left = {path.name for path in out.iterdir() if path.name.startswith('.')}
    assert left <= ({'.b.png.partial'} if 'b' in report.failed else set())  # where it goes on
    for name in report.refined:
        with Image.open(out / f'{name}.png') as picture:
            result = np.asarray(picture)
        if name != 'b':
            np.testing.assert_array_equal(result[12:28, 7:18], 255)
            assert result.sum() == 255 * 20 * 15
    again = refine_files(refiner, folder / 'photos', folder / 'masks', out)
    assert sorted(again.skipped) == sorted(report.refined)
