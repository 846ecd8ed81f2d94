"""Photos and masks by rows, against the same files read whole."""

import tracemalloc
import warnings
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import tifffile
from PIL import Image

from mmseg_cascadepsp.errors import MaskValuesError
from mmseg_cascadepsp.files import read_image, read_mask, sources
from mmseg_cascadepsp.files import rows as module
from mmseg_cascadepsp.files.opening import is_unknown_tiff
from mmseg_cascadepsp.files.row_writers import write_result
from mmseg_cascadepsp.files.rows import ImageRows, MaskRows, stored_size
from mmseg_cascadepsp.files.values import to_uint8

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (150, 201, 3), np.uint8)
MASK = RNG.random((150, 201)) > 0.5
LAYOUTS = {
    'tiled': {'tile': (64, 32), 'compression': 'zlib'},
    'strips': {'rowsperstrip': 17},
    'one strip': {},
    'predictor': {'tile': (16, 48), 'compression': 'zlib', 'predictor': True},
    'planes': {'planarconfig': 'separate', 'tile': (32, 32)},
}


def gathered(reader, step):
    """All rows; a file is closed after them."""
    with reader if isinstance(reader, AbstractContextManager) else nullcontext():
        height = reader.shape[0]
        parts = [reader.read(top, min(top + step, height)) for top in range(0, height, step)]
        return np.concatenate(parts)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('step', [1, 40, 150])
def test_a_tiff_by_rows_is_the_tiff(tmp_path, layout, step):
    path = tmp_path / 'a.tif'
    photo = np.moveaxis(PHOTO, -1, 0) if layout == 'planes' else PHOTO
    tifffile.imwrite(path, photo, photometric='rgb', **LAYOUTS[layout])
    reader = ImageRows(path)
    assert reader.shape == (150, 201)
    np.testing.assert_array_equal(reader.read(70, 75), PHOTO[70:75])
    np.testing.assert_array_equal(gathered(reader, step), PHOTO)


@pytest.mark.parametrize('layout', [{}, {'rowsperstrip': 17}, {'byteorder': '>'}])
@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 3])
def test_rows_that_are_not_compressed_are_read_alone(
    tmp_path, monkeypatch, layout, kind, channels
):
    photo = RNG.integers(0, np.iinfo(kind).max, (150, 201, channels), kind, endpoint=True)
    colours = 'rgb' if channels == 3 else 'minisblack'
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, photo.squeeze(), photometric=colours, **layout)
    monkeypatch.setattr(sources.TiffBands, '_decode', None)
    with ImageRows(path) as opened:
        reader = opened.source
    found = gathered(reader, 40)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, photo.squeeze())
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(OSError, match='is truncated: '):
        ImageRows(path)


@pytest.mark.parametrize(
    'photo',
    [
        PHOTO[..., 0],
        PHOTO[..., :1].astype(np.uint16) * 256 + 77,
        PHOTO.astype(np.uint16) * 256 + 9,
        np.concatenate([PHOTO, PHOTO[..., :1]], axis=2),
    ],
    ids=['grey', 'grey16', 'rgb16', 'alpha'],
)
def test_kinds_of_photos_are_read_as_when_read_whole(tmp_path, photo):
    alpha = {'extrasamples': ['unassalpha']} if photo.shape[-1] == 4 else {}
    kind = 'rgb' if photo.shape[-1] in (3, 4) else 'minisblack'
    tifffile.imwrite(tmp_path / 'a.tif', photo.squeeze(), photometric=kind, tile=(32, 32), **alpha)
    np.save(tmp_path / 'a.npy', photo)
    whole = to_uint8(photo, 'a')
    if photo.shape[-1] == 4:
        weight = whole[..., 3:].astype(int)
        whole = ((whole[..., :3] * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
        np.testing.assert_array_equal(read_image(tmp_path / 'a.tif'), whole)
    elif photo.ndim == 2 or photo.shape[-1] == 1:
        whole = np.repeat(whole.reshape(150, 201, 1), 3, axis=2)
    for name in ('a.tif', 'a.npy'):
        np.testing.assert_array_equal(gathered(ImageRows(tmp_path / name), 33), whole)


def test_white_is_zero_and_a_fourth_band_that_is_no_alpha(tmp_path):
    tifffile.imwrite(tmp_path / 'w.tif', PHOTO[..., 0], photometric='miniswhite')
    np.testing.assert_array_equal(
        gathered(ImageRows(tmp_path / 'w.tif'), 50), read_image(tmp_path / 'w.tif')
    )
    bands = np.concatenate([PHOTO, PHOTO[..., :1]], axis=2)
    tifffile.imwrite(
        tmp_path / 'n.tif', bands, photometric='rgb', extrasamples=['unspecified'], tile=(64, 64)
    )
    np.testing.assert_array_equal(gathered(ImageRows(tmp_path / 'n.tif'), 50), PHOTO)


@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
def test_premultiplied_colours_are_not_darkened(tmp_path, kind):
    path, scale = tmp_path / 'a.tif', np.iinfo(kind).max // 255
    alpha = PHOTO[::-1, ..., :1]
    bands = np.concatenate([PHOTO * (alpha / 255), alpha], axis=2).astype(kind) * scale
    bands[0] = np.iinfo(kind).max * np.array([1, 1, 1, 0.5])  # more than there can be
    tifffile.imwrite(path, bands, photometric='rgb', extrasamples=['assocalpha'])
    by_rows, whole = gathered(ImageRows(path), 50), read_image(path)
    assert np.abs(by_rows.astype(int) - whole).max() <= 1


def test_alpha_is_not_inverted_where_white_is_zero(tmp_path):
    bands = np.dstack([255 - PHOTO[..., 0], np.full((150, 201), 255, np.uint8)])
    how = {'photometric': 'miniswhite', 'extrasamples': ['unassalpha'], 'planarconfig': 'contig'}
    tifffile.imwrite(tmp_path / 'a.tif', bands, **how)
    found = gathered(ImageRows(tmp_path / 'a.tif'), 150)
    np.testing.assert_array_equal(found[..., 0], PHOTO[..., 0])


@pytest.mark.filterwarnings('ignore:Truncated File Read')
@pytest.mark.parametrize('extra', [['unspecified', 'unassalpha'], ['unspecified'] * 5])
def test_tiffs_that_pillow_does_not_know(tmp_path, capfd, extra):
    path = tmp_path / 'a.tif'
    bands = np.concatenate([PHOTO, PHOTO, PHOTO], axis=2)[..., : 3 + len(extra)]
    how = {'photometric': 'rgb', 'extrasamples': extra, 'planarconfig': 'contig'}
    tifffile.imwrite(path, bands, **how)
    assert is_unknown_tiff(path) and stored_size(path) == (150, 201)
    np.testing.assert_array_equal(gathered(ImageRows(path), 50), PHOTO)
    tifffile.imwrite(path, bands.astype(np.float32), **how)
    with pytest.raises(OSError, match='holds float32; by rows .*: save it as uint8 or uint16'):
        ImageRows(path)
    path.write_bytes(path.read_bytes()[:100])
    assert stored_size(path) is None
    assert capfd.readouterr().err == ''


def test_tiffs_that_pillow_knows_and_what_is_none(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', PHOTO, photometric='rgb')
    (tmp_path / 'b.tif').write_text('nothing')
    (tmp_path / 'b.png').write_bytes(b'II*\0')
    for name in ('a.tif', 'b.tif', 'b.png', 'missing.tif'):
        assert not is_unknown_tiff(tmp_path / name)


@pytest.mark.parametrize(
    ('mode', 'name'), [('CMYK', 'SEPARATED'), ('LAB', 'CIELAB'), ('YCbCr', 'YCBCR')]
)
def test_other_colours_are_not_taken_for_rgb(tmp_path, mode, name):
    if mode == 'LAB':
        tifffile.imwrite(tmp_path / 'a.tif', PHOTO, photometric='cielab')
    else:
        Image.fromarray(PHOTO).convert(mode).save(tmp_path / 'a.tif')
    with pytest.raises(OSError, match=f'a.tif cannot .*: its colours are {name}; convert it'):
        ImageRows(tmp_path / 'a.tif')


def test_a_jpeg_inside_a_tiff_is_read_as_its_decoder_makes_it_rgb(tmp_path, monkeypatch):
    Image.fromarray(PHOTO).convert('YCbCr').save(tmp_path / 'a.tif', compression='jpeg')
    with tifffile.TiffFile(tmp_path / 'a.tif') as file:
        assert file.pages[0].photometric == 6
    monkeypatch.setattr(sources.TiffBands, '_decode', lambda *_: PHOTO)  # needs another package
    np.testing.assert_array_equal(gathered(ImageRows(tmp_path / 'a.tif'), 150), PHOTO)


def test_mask_of_one_bit_where_white_is_zero(tmp_path):
    mask = PHOTO[..., 0] > 140
    tifffile.imwrite(tmp_path / 'm.tif', mask, photometric='miniswhite')
    np.testing.assert_array_equal(
        gathered(MaskRows(tmp_path / 'm.tif'), 50), read_mask(tmp_path / 'm.tif') > 127
    )


@pytest.mark.parametrize('shape', [(9, 0), (0, 9)])
def test_arrays_without_pixels_are_refused(tmp_path, shape):
    np.save(tmp_path / 'empty.npy', np.zeros(shape, np.uint8))
    for read in (ImageRows, MaskRows):
        with pytest.raises(OSError, match='expected .H, W.'):
            read(tmp_path / 'empty.npy')


@pytest.mark.parametrize('tag', [256, 257], ids=['width', 'height'])
def test_a_tiff_without_pixels_is_refused(tmp_path, tag):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, PHOTO[..., 0], photometric='minisblack')
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].tags[tag].valueoffset
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = bytes(4)
    path.write_bytes(content)
    for read in (ImageRows, MaskRows, read_image, read_mask):
        with pytest.raises(OSError, match='a.tif (is|cannot)'):
            read(path)


def with_header(path, header, data=bytes(600)):
    """A .npy whose header says anything."""
    text = header.encode()
    path.write_bytes(b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + data)


@pytest.mark.parametrize(
    ('shape', 'dtype'),
    [
        ('(4294967296, 4294967296)', "'|u1'"),  # 2 ** 64 pixels: 0 in 64 bits
        ('(9223372036854775808, 2)', "'|u1'"),
        ('(3037000500, 3037000500)', "'<u8'"),
        ('(-1, -600)', "'|u1'"),
        ('(-20, 30)', "'|u1'"),
        ('(20, 30, -1)', "'|u1'"),
        ('(20, 30)', "('|u1', (2, 2))"),
        ('(20, 30)', "[('a', '|u1'), ('b', '|u1')]"),
        ('(20, 30)', "'|V1'"),
        ('(20, 30)', "'|V0'"),
        ('(20, 30)', "'|O'"),
        ('(20, 30)', "'<c8'"),
        ('(20, 30)', "'<M8[s]'"),
        ('(20, 30)', "'<U1'"),
        ('(20, 30, 1, 1)', "'|u1'"),
        ('(600,)', "'|u1'"),
        ('()', "'|u1'"),
        ('(20.0, 30)', "'|u1'"),
        ('20', "'|u1'"),
    ],
)
def test_headers_that_claim_anything(tmp_path, shape, dtype):
    path = tmp_path / 'a.npy'
    with_header(path, f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}")
    tracemalloc.start()
    for read in (ImageRows, MaskRows):
        with pytest.raises(OSError, match='a.npy cannot be read by rows: ') as told:
            read(path)
        assert '\n' not in str(told.value)
    assert stored_size(path) is None
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.npy'])
@pytest.mark.parametrize(
    'mask',
    [
        MASK,
        MASK.astype(np.uint8),
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.uint16) * 65535,
        MASK.astype(np.uint16),
        (MASK * 0.8 + 0.1).astype(np.float32),
    ],
    ids=['bool', '0/1', '0/255', '0/65535', '0/1 wide', 'fractions'],
)
def test_kinds_of_masks(tmp_path, suffix, mask):
    path = tmp_path / f'm{suffix}'
    if suffix == '.npy':
        np.save(path, mask)
    elif suffix == '.tif':
        mask = mask.astype(np.uint8) if mask.dtype == bool else mask
        tifffile.imwrite(path, mask, tile=(64, 64), compression='zlib')
    elif mask.dtype.kind == 'f':
        pytest.skip('PNG has no fractions')
    else:
        Image.fromarray(mask).save(path)
    reader = MaskRows(path)
    np.testing.assert_array_equal(gathered(reader, 40), MASK)
    assert not reader.is_empty and not reader.is_full
    if suffix != '.npy' and mask.dtype.kind != 'f':
        np.testing.assert_array_equal(read_mask(path) > 127, MASK)


@pytest.mark.parametrize('values', [(0, 0.5, 1), (0, 127.7, 255), (0, 127.5, 255), (0, 0.51, 1)])
def test_float_masks_are_cut_as_when_read_whole(tmp_path, values):
    tifffile.imwrite(tmp_path / 'm.tif', np.float32([values] * 2))
    whole = read_mask(tmp_path / 'm.tif') > 127
    np.testing.assert_array_equal(gathered(MaskRows(tmp_path / 'm.tif'), 1), whole)
    assert whole[0].tolist() == [False, values[1] in (0.51, 127.7), True]


@pytest.mark.parametrize('value', [0, 1])
def test_empty_and_full_masks_are_told(tmp_path, value):
    np.save(tmp_path / 'm.npy', np.full((5, 4), value, np.uint8))
    with MaskRows(tmp_path / 'm.npy') as reader:
        assert (reader.is_empty, reader.is_full) == (not value, bool(value))


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.npy'])
@pytest.mark.parametrize(
    ('kind', 'largest'),
    [(np.uint8, 2), (np.uint8, 127), (np.uint16, 80), (np.uint16, 4095), (np.float32, 2.5)],
)
def test_ids_in_place_of_a_mask_are_refused_as_when_read_whole(
    tmp_path, monkeypatch, suffix, kind, largest
):
    """In the same words; the largest is in a strip of its own."""
    if suffix == '.png' and kind == np.float32:
        pytest.skip('PNG has no fractions')
    monkeypatch.setattr(module, 'STRIP_BYTES', 900)
    values = MASK.astype(kind)
    values[70, 9] = largest
    path = tmp_path / f'm{suffix}'
    if suffix == '.npy':
        np.save(path, values)
    elif suffix == '.tif':
        tifffile.imwrite(path, values, tile=(64, 64))
    else:
        Image.fromarray(values).save(path)
    said = []
    for read in (MaskRows, read_mask)[: 1 + (suffix != '.npy')]:
        with pytest.raises(MaskValuesError) as told:
            read(path)
        said.append(str(told.value))
    assert said[0].startswith(f'{path} has no value above {127 if largest < 256 else 32767}')
    assert said[-1] == said[0]


def test_rasterio_sees_the_place_on_earth_and_reads_what_tifffile_does_not(tmp_path):
    rasterio = pytest.importorskip('rasterio', reason='the extra geo')
    place = {
        'crs': 'EPSG:32632',
        'transform': rasterio.transform.from_origin(691000, 5330000, 0.5, 0.5),
    }
    shape = {'height': 150, 'width': 201, 'count': 3, 'dtype': 'uint8'}
    layout = {'driver': 'GTiff', 'tiled': True, 'blockxsize': 64, 'blockysize': 64}
    for codec in ('lzw', 'deflate', 'zstd'):
        path = tmp_path / f'{codec}.tif'
        with rasterio.open(path, 'w', compress=codec, **place, **shape, **layout) as data:
            data.write(np.moveaxis(PHOTO, -1, 0))
        reader = ImageRows(path)
        np.testing.assert_array_equal(gathered(reader, 40), PHOTO)
        write_result(tmp_path / 'out.tif', np.ascontiguousarray(PHOTO[..., 0]), None, reader.geo)
        with rasterio.open(tmp_path / 'out.tif') as data:
            assert data.crs.to_epsg() == 32632 and data.transform == place['transform']
            np.testing.assert_array_equal(data.read(1), PHOTO[..., 0])


@pytest.mark.parametrize('read', [ImageRows, MaskRows])
@pytest.mark.parametrize('name', ['turned.tif', 'palette.tif', 'grey.tif', 'bands.tif'])
def test_files_are_closed_after_use_and_after_faults(tmp_path, tiff_handles, read, name):
    path = damaged(tmp_path, name)
    if name == 'grey.tif':
        tifffile.imwrite(path, PHOTO[..., 0], tile=(64, 64))
    elif name == 'bands.tif':  # a photo of two bands, a mask of several
        kind = {'photometric': 'minisblack', 'extrasamples': ['unspecified']}
        tifffile.imwrite(path, PHOTO[..., :2], tile=(64, 64), planarconfig='contig', **kind)
    if name == 'grey.tif':
        with read(path) as reader:
            assert len(reader.read(3, 9)) == 6 and not tiff_handles[0].closed
    else:
        with pytest.raises(OSError):
            read(path)
    assert [handle.closed for handle in tiff_handles] == [True]


def damaged(tmp_path, name):
    path = tmp_path / name
    if name == 'short.npy':
        np.save(path, PHOTO)
        path.write_bytes(path.read_bytes()[:-1])
    elif name == 'columns.npy':
        np.save(path, np.asfortranarray(PHOTO))
    elif name == 'float.npy':
        np.save(path, PHOTO.astype(np.float32))
    elif name == 'two.npy':
        np.save(path, PHOTO[..., :0])
    elif name == 'turned.tif':
        tifffile.imwrite(path, PHOTO, photometric='rgb', extratags=[(274, 3, 1, 6, True)])
    elif name == 'palette.tif':
        Image.fromarray(PHOTO[..., 0]).convert('P').save(path)
    elif name != 'no.npy':
        path.write_bytes(b'nothing')
    return path


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('short.npy', 'is truncated: 90577 of 90578 bytes'),
        ('columns.npy', 'column by column; expected'),
        ('float.npy', 'holds float32; by rows only .* grey or RGB: save it as uint8 or uint16.$'),
        ('two.npy', 'has 0 channels'),
        ('turned.tif', 'stored turned'),
        ('palette.tif', 'only photos of 8 and 16 bits .*: convert it, or have it refined whole'),
        ('text.tif', 'cannot be read by rows'),
        ('text.npy', 'cannot be read by rows'),
        ('no.npy', 'does not exist'),
    ],
)
def test_bad_photos_are_told(tmp_path, name, words):
    path = damaged(tmp_path, name)
    with pytest.raises(OSError, match=words) as caught:
        ImageRows(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        (PHOTO, 'has 3 channels; expected a mask of one channel'),
        (np.full((4, 4), -1), 'values from -1'),
        (np.full((4, 4), np.nan), 'values from nan'),
    ],
)
def test_bad_masks_are_told(tmp_path, values, words):
    np.save(tmp_path / 'm.npy', values)
    with pytest.raises(OSError, match=words):
        MaskRows(tmp_path / 'm.npy')


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / 'a.tif', PHOTO, photometric='rgb')
    monkeypatch.setitem(sources.__builtins__, '__import__', missing('tifffile'))
    with pytest.raises(OSError, match='needs .* tifffile: pip install tifffile .*"huge"'):
        ImageRows(tmp_path / 'a.tif')


def missing(name):
    original = __import__

    def without(module_name, *args, **kwargs):
        if module_name == name:
            raise ImportError(name)
        return original(module_name, *args, **kwargs)

    return without


def test_photos_of_12_bits_are_told_when_all_of_them_was_seen(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, PHOTO.astype(np.uint16) * 16, photometric='rgb', rowsperstrip=17)
    with ImageRows(path) as reader:
        reader.read(0, 149)
        with pytest.warns(UserWarning, match='a.tif is nearly black: .* no value above 15'):
            reader.read(149, 150)
        with warnings.catch_warnings():
            warnings.simplefilter('error')  # once is enough
            reader.read(149, 150)
    tifffile.imwrite(path, PHOTO[..., 0] // 5, photometric='miniswhite', rowsperstrip=17)
    with ImageRows(path) as reader, warnings.catch_warnings():
        warnings.simplefilter('error')  # what is dark in the file is bright
        assert reader.read(0, 150).max() == 255


@pytest.mark.parametrize('suffix', ['.npy', '.tif'])
def test_8_bits_stored_as_16_are_taken_as_8(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(module, 'STRIP_BYTES', 9000)
    path = tmp_path / f'a{suffix}'
    for photo in (PHOTO, np.maximum(PHOTO, np.eye(150, 201, dtype=np.uint16)[..., None] * 256)):
        photo = photo.astype(np.uint16)
        if suffix == '.npy':
            np.save(path, photo)
        else:
            tifffile.imwrite(path, photo, photometric='rgb')
        if photo.max() > 255:  # in one place: then all of it is of 16 bits
            with pytest.warns(UserWarning, match='nearly black: .* no value above 1, .*8 to 14'):
                np.testing.assert_array_equal(gathered(ImageRows(path), 40), photo >> 8)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter('error')
                np.testing.assert_array_equal(gathered(ImageRows(path), 40), photo)


@pytest.mark.parametrize('kind', ['>u2', '<u2', '>f4', '>i4'])
def test_arrays_of_either_byte_order(tmp_path, kind):
    np.save(tmp_path / 'm.npy', MASK.astype(kind))
    np.testing.assert_array_equal(gathered(MaskRows(tmp_path / 'm.npy'), 40), MASK)
    if kind.endswith('u2'):
        np.save(tmp_path / 'a.npy', (PHOTO * np.uint16(257)).astype(kind))
        np.testing.assert_array_equal(gathered(ImageRows(tmp_path / 'a.npy'), 40), PHOTO)


@pytest.mark.parametrize('dtype', ['>u2', '<u2', '>u1'])
def test_byte_orders_of_npy(tmp_path, dtype):
    photo = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    np.save(tmp_path / 'a.npy', photo.astype(dtype))
    np.save(tmp_path / 'b.npy', photo.astype(np.dtype(dtype).newbyteorder('=')))
    with ImageRows(tmp_path / 'a.npy') as a, ImageRows(tmp_path / 'b.npy') as b:
        np.testing.assert_array_equal(a.read(3, 17), b.read(3, 17))
