import io
import os
import struct
import subprocess
import sys
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile, ImageOps

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MaskValuesError
from mmseg_cascadepsp.files import (
    Reading,
    masks,
    opening,
    photos,
    read_image,
    read_labels,
    read_mask,
    read_pair,
    read_png_text,
    write_image,
    write_png,
)
from mmseg_cascadepsp.files.pillow_faults import png_chunks
from mmseg_cascadepsp.files.rows import ImageRows, MaskRows

RNG = np.random.default_rng(0)
PHOTO = cv2.GaussianBlur(RNG.integers(0, 256, (24, 36, 3), np.uint8), (0, 0), 3)
MASK = np.zeros((24, 36), bool)
MASK[5:15, 8:30] = True
VOC = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [64, 0, 0]], np.uint8)


def save(path, array, mode=None, **options):
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def palette_png(path, index, palette):
    picture = Image.fromarray(index.astype(np.uint8))
    picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    picture.save(path)
    return path


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    turns = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / 'a.png', PHOTO, exif=exif)
    np.testing.assert_array_equal(read_image(path), turns[orientation](PHOTO))


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_16_bit(tmp_path, suffix, channels):
    deep = RNG.integers(0, 65536, (9, 11, channels), np.uint16)
    deep[..., 3:] = 65535
    path = str(tmp_path / f'a.{suffix}')
    cv2.imwrite(path, deep)
    expected = np.repeat(deep, 3, axis=2) if channels == 1 else deep[..., 2::-1]
    np.testing.assert_array_equal(read_image(path), expected >> 8)


@pytest.mark.parametrize('channels', [1, 3])
def test_photos_of_12_bits_are_told(tmp_path, channels):
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, RNG.integers(0, 4096, (9, 11, channels), np.uint16))
    with pytest.warns(UserWarning, match='a.png is nearly black: .* above 15, .* stretch'):
        read_image(path)


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_8_bits_stored_as_16_are_taken_as_8(tmp_path, suffix, channels):
    deep = RNG.integers(0, 256, (9, 11, channels), np.uint16)
    deep[..., 3:] = 65535
    path = str(tmp_path / f'a.{suffix}')
    cv2.imwrite(path, deep)
    expected = np.repeat(deep, 3, axis=2) if channels == 1 else deep[..., 2::-1]
    np.testing.assert_array_equal(read_image(path), expected)
    cv2.imwrite(path, deep * 0)  # black may be meant
    assert read_image(path).max() == (255 if channels == 4 else 0)


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize(('suffix', 'lost'), [('ppm', 0), ('jp2', 8)])
def test_8_bits_stored_as_16_where_pillow_does_not_tell(tmp_path, suffix, lost):
    path = str(tmp_path / f'a.{suffix}')
    photo = SMOOTH[..., :3].clip(20, 235)
    for factor in (1, 257):
        cv2.imwrite(path, photo.astype(np.uint16) * factor)
        difference = np.abs(read_image(path).astype(int) - photo[..., ::-1])
        assert difference.max() <= lost
    cv2.imwrite(path, photo * 0)
    assert not read_image(path).any()


def test_grey_palette_one_bit_and_cmyk(tmp_path):
    grey = PHOTO[..., 0]
    np.testing.assert_array_equal(
        read_image(save(tmp_path / 'g.png', grey)), np.dstack([grey] * 3)
    )
    index = RNG.integers(0, 4, (9, 11))
    np.testing.assert_array_equal(
        read_image(palette_png(tmp_path / 'p.png', index, VOC)), VOC[index]
    )
    assert set(np.unique(read_image(save(tmp_path / 'b.png', MASK)))) == {0, 255}
    cmyk = read_image(save(tmp_path / 'c.jpg', PHOTO, 'CMYK', quality=100))
    assert np.abs(cmyk.astype(int) - PHOTO).mean() < 4


@pytest.mark.parametrize('mode', ['RGBA', 'LA'])
def test_transparent_parts_lie_on_white(tmp_path, mode):
    alpha = np.where(MASK, 255, 0).astype(np.uint8)
    path = save(tmp_path / 'a.png', np.dstack((PHOTO, alpha)), mode)
    opaque = PHOTO
    if mode == 'LA':
        opaque = np.dstack([np.asarray(Image.fromarray(PHOTO).convert('L'))] * 3)
    np.testing.assert_array_equal(read_image(path), np.where(MASK[..., None], opaque, 255))


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ([[0.0, 0.5, 1.0]], [[0, 128, 255]]),
        ([[0.0, 1.0, 2.0]], [[0, 1, 2]]),
        ([[0.0, 100.0, 255.0]], [[0, 100, 255]]),
    ],
)
def test_float_tiff(tmp_path, values, expected):
    tifffile.imwrite(tmp_path / 'a.tif', np.array(values, np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / 'a.tif')[..., 0], expected)


def test_large_pictures_are_read_and_pillows_limit_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    path = save(tmp_path / 'a.png', PHOTO)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        np.testing.assert_array_equal(read_image(path), PHOTO)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(opening, 'MAX_PIXELS', PHOTO.shape[0] * PHOTO.shape[1] - 1)
    with pytest.raises(OSError, match='a.png .*pixels exceed the limit'):
        read_image(path)


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif', 'webp', 'bmp'])
@pytest.mark.parametrize('reader', [read_image, read_mask, read_labels])
def test_truncated_files(tmp_path, suffix, reader):
    path = save(tmp_path / f'a.{suffix}', RNG.integers(0, 256, (64, 64), np.uint8), 'RGB')
    whole = path.read_bytes()
    for share in (0, 0.02, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(OSError, match=f'a.{suffix} (cannot be read|is not an image)'):
            reader(path)


@pytest.mark.parametrize('reader', [read_image, read_mask, read_labels])
def test_what_is_no_image(tmp_path, reader):
    (tmp_path / 'a.jpg').write_text('not a picture')
    for name, words in (
        ('a.jpg', 'is not an image'),
        ('b.jpg', 'does not exist'),
        ('.', 'is a folder'),
    ):
        with pytest.raises(OSError, match=words):
            reader(tmp_path / name)


@pytest.mark.parametrize(
    'array',
    [
        MASK,
        MASK.astype(np.uint8),
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.uint16),
        MASK.astype(np.uint16) * 255,
        MASK.astype(np.uint16) * 65535,
        np.dstack([MASK.astype(np.uint8) * 255] * 3),
        np.dstack([MASK.astype(np.uint8)] * 3),
        np.dstack([MASK * np.uint8(200), MASK * np.uint8(0), MASK * np.uint8(0)]),
        np.dstack([np.uint8(0) * MASK] * 3 + [MASK * np.uint8(255)]),
        np.dstack([np.uint8(255) * MASK] * 3 + [MASK * np.uint8(255)]),
        np.dstack([np.full((24, 36, 3), 255, np.uint8), MASK * np.uint8(255)]),
        np.dstack([PHOTO, MASK * np.uint8(255)]),
        np.dstack([MASK * np.uint8(255)] * 3 + [np.full_like(MASK, 255, np.uint8)]),
    ],
    ids=[
        '1 bit',
        '0/1',
        '0/255',
        '16 bit 0/1',
        '16 bit 0/255',
        '16 bit',
        'RGB',
        'RGB 0/1',
        'red on black',
        'black on nothing',
        'white on nothing',
        'white, alpha',
        'cut-out',
        'opaque alpha',
    ],
)
def test_masks_of_all_kinds(tmp_path, array):
    mask = read_mask(save(tmp_path / 'a.png', array))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, MASK * 255)


@pytest.mark.parametrize(
    ('palette', 'index'),
    [
        (VOC, MASK * 1),
        (VOC, MASK * 3),
        ([[0] * 3, [255] * 3], MASK * 1),
        ([[255] * 3, [0] * 3], ~MASK * 1),
        ([[i] * 3 for i in range(256)], MASK * 1),
    ],
    ids=['VOC', 'dark VOC colour', 'black, white', 'white, black', 'grey ramp'],
)
def test_palette_masks(tmp_path, palette, index):
    path = palette_png(tmp_path / 'a.png', index, palette)
    np.testing.assert_array_equal(read_mask(path), MASK * 255)


@pytest.mark.parametrize(
    ('stored', 'index'),
    [
        ({7: 128}, MASK * 7),  # as VOC
        ({1: 120}, MASK * 1),  # as ADE20K
        ({7: 128}, np.full_like(MASK, 7, int)),
        ({0: 255, 9: 0}, ~MASK * 9),
        ({8: 255, 9: 0}, np.where(MASK, 8, 9)),
    ],
    ids=['VOC', 'ADE20K', 'full', 'white, black', 'fixed palette'],
)
def test_greys_alone_of_a_coloured_palette(tmp_path, stored, index):
    palette = np.tile(np.array([[128, 0, 0]], np.uint8), (256, 1))
    palette[0] = 0
    for key, value in stored.items():
        palette[key] = value
    expected = np.full_like(MASK, True) if (index == 7).all() else MASK
    path = palette_png(tmp_path / 'a.png', index, palette)
    np.testing.assert_array_equal(read_mask(path), expected * 255)


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('name', ['a.png', 'a.gif'])
@pytest.mark.parametrize('palette', [[[255, 0, 0], [0, 255, 0]], [[0] * 3, [255] * 3]])
def test_a_cut_out_with_a_palette_gives_its_alpha(tmp_path, name, palette):
    picture = Image.fromarray((~MASK).astype(np.uint8))
    picture.putpalette(np.array(palette, np.uint8).tobytes())
    picture.save(tmp_path / name, transparency=1)
    np.testing.assert_array_equal(read_mask(tmp_path / name), MASK * 255)
    picture.save(tmp_path / name, transparency=5)  # which is of no pixel
    if palette[0][0]:  # red and green
        with pytest.raises(MaskValuesError, match=r'2 colours of a palette .* is \(255, 0, 0\)'):
            read_mask(tmp_path / name)
    else:
        np.testing.assert_array_equal(read_mask(tmp_path / name), ~MASK * 255)


@pytest.mark.parametrize('how', [{}, {'compression': 'zlib'}], ids=['plain', 'zlib'])
def test_16_bits_where_white_is_zero(tmp_path, how):
    path = tmp_path / 'm.tif'
    tifffile.imwrite(path, ~(MASK * np.uint16(65535)), photometric='miniswhite', **how)
    np.testing.assert_array_equal(read_mask(path), MASK * 255)
    np.testing.assert_array_equal(read_image(path)[..., 0], MASK * 255)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refuse(path, formats):
        raise PermissionError(13, 'Permission denied', str(path))

    path = save(tmp_path / 'a.png', PHOTO)
    monkeypatch.setattr(Image, 'open', refuse)
    with pytest.raises(PermissionError, match='a.png cannot be read: permission denied; make'):
        read_image(path)


def test_void_of_a_palette_is_not_object_unless_it_is_all_there_is(tmp_path):
    palette = np.zeros((256, 3), np.uint8)
    palette[:4], palette[255] = VOC, (224, 224, 192)
    index = MASK.astype(np.uint8)
    index[0] = 255
    np.testing.assert_array_equal(
        read_mask(palette_png(tmp_path / 'a.png', index, palette)), MASK * 255
    )
    np.testing.assert_array_equal(
        read_mask(palette_png(tmp_path / 'b.png', MASK * 255, palette)), MASK * 255
    )


def test_soft_masks_stay_soft_and_jpeg_masks_are_grey(tmp_path):
    soft = np.tile(np.arange(0, 252, 7, dtype=np.uint8), (24, 1))
    np.testing.assert_array_equal(read_mask(save(tmp_path / 'a.png', soft)), soft)
    photo = save(tmp_path / 'a.jpg', MASK.astype(np.uint8) * 255, 'RGB', quality=70)
    assert ((read_mask(photo) > 127) == MASK).mean() > 0.99


def test_masks_that_say_nothing(tmp_path):
    with pytest.raises(OSError, match='colours, which does not say what is object'):
        read_mask(save(tmp_path / 'a.png', RNG.integers(0, 256, (9, 9, 3), np.uint8)))
    with pytest.raises(MaskValuesError, match='a.png has no value above 127: it holds 0, 2, as a'):
        read_mask(save(tmp_path / 'a.png', MASK.astype(np.uint8) * 2))
    for largest in (300, 4095, 32767):  # 16 bits
        wide = save(tmp_path / 'a.png', MASK.astype(np.uint16) * largest)
        with pytest.raises(MaskValuesError, match=f'above 32767: it holds 0, {largest}, as'):
            read_mask(wide)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        wide = save(tmp_path / 'a.png', MASK.astype(np.uint16) * 32768)
        np.testing.assert_array_equal(read_mask(wide) > 127, MASK)


def test_labels(tmp_path):
    labels = RNG.integers(0, 4, (9, 11))
    for path in (
        palette_png(tmp_path / 'p.png', labels, VOC),
        save(tmp_path / 'g.png', labels.astype(np.uint8)),
        save(tmp_path / 'r.png', np.dstack([labels.astype(np.uint8)] * 3)),
    ):
        np.testing.assert_array_equal(read_labels(path), labels)
    wide = labels + 300
    read = read_labels(save(tmp_path / 'w.png', wide.astype(np.uint16)))
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, wide)
    with pytest.raises(OSError, match='holds colours; expected one class index'):
        read_labels(save(tmp_path / 'c.png', PHOTO))


def test_png_comes_back_with_its_notes(tmp_path):
    path = tmp_path / 'folder' / 'a.png'
    write_png(path, PHOTO, {'how': '{"L": 900, "ä": 1}'})
    np.testing.assert_array_equal(read_image(path), PHOTO)
    assert read_png_text(path) == {'how': '{"L": 900, "ä": 1}'}
    whole = path.read_bytes()
    path.write_bytes(whole[:200])  # pixels are not needed
    assert read_png_text(path) == {'how': '{"L": 900, "ä": 1}'}
    assert read_png_text(tmp_path / 'nothing.png') == {}
    labels = RNG.integers(0, 4, (9, 11)).astype(np.uint8)
    write_png(path, labels, palette=VOC)
    np.testing.assert_array_equal(read_labels(path), labels)
    np.testing.assert_array_equal(read_image(path), VOC[labels])


def test_pictures_take_the_format_of_their_name(tmp_path):
    write_image(tmp_path / 'a.jpg', PHOTO)
    assert np.abs(read_image(tmp_path / 'a.jpg').astype(int) - PHOTO).mean() < 4
    with pytest.raises(ValueError, match=r"'.docx', which is no image format"):
        write_image(tmp_path / 'a.docx', PHOTO)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    write_png(path, PHOTO)

    def full(_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='a.png cannot be written: No space left') as told:
        write_png(path, 255 - PHOTO)
    assert told.value.errno == 28
    np.testing.assert_array_equal(read_image(path), PHOTO)
    assert os.listdir(tmp_path) == ['a.png']


LAYOUTS = [{}, {'rowsperstrip': 7}, {'tile': (16, 32)}]


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('planes', ['contig', 'separate'])
@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('channels', [3, 4])
def test_tiffs_of_all_layouts_are_what_tifffile_reads(tmp_path, planes, kind, order, channels):
    photo = RNG.integers(0, 256, (40, 50, channels)).astype(kind) * (np.iinfo(kind).max // 255)
    photo[..., 3:] = np.iinfo(kind).max
    how = {'photometric': 'rgb', 'planarconfig': planes, 'byteorder': order}
    if channels == 4:
        how['extrasamples'] = ['unassalpha']
    path = tmp_path / 'a.tif'
    for layout in LAYOUTS:
        for codec in (None, 'zlib', 'lzma'):
            stored = photo if planes == 'contig' else np.moveaxis(photo, -1, 0)
            tifffile.imwrite(path, stored, compression=codec, **how, **layout)
            read = tifffile.imread(path)
            read = (read if planes == 'contig' else np.moveaxis(read, 0, -1))[..., :3]
            expected = read if kind == np.uint8 else (read >> 8).astype(np.uint8)
            np.testing.assert_array_equal(read_image(path), expected, err_msg=f'{layout} {codec}')
            with ImageRows(path) as rows:
                np.testing.assert_array_equal(rows.read(0, 40), expected)


SMOOTH = cv2.normalize(
    cv2.GaussianBlur(RNG.integers(0, 256, (90, 101, 5), np.uint8), (0, 0), 4),
    None, 0, 255, cv2.NORM_MINMAX,
)  # fmt: skip


def gdal(path, pixels, **options):
    """Write with GDAL, which has layouts and codecs that tifffile alone has not. Also what GDAL
    reads, `(H, W, C)`.
    """
    rasterio = pytest.importorskip('rasterio', reason='the extra geo')
    height, width, count = pixels.shape
    shape = {'height': height, 'width': width, 'count': count, 'dtype': pixels.dtype.name}
    path.unlink(missing_ok=True)
    with rasterio.open(path, 'w', driver='GTiff', **shape, **options) as data:
        data.write(np.moveaxis(pixels, -1, 0))
    with rasterio.open(path) as data:
        return np.moveaxis(data.read(), 0, -1)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('planes', ['pixel', 'band'])
@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
@pytest.mark.parametrize('order', ['little', 'big'])
@pytest.mark.parametrize('layout', ['strips', 'tiles'])
def test_compressed_tiffs_are_what_gdal_reads(tmp_path, planes, kind, order, layout):
    size = {'strips': {'blockysize': 16}, 'tiles': dict(tiled=True, blockxsize=32, blockysize=48)}
    how = {'interleave': planes, 'endianness': order, **size[layout]}
    codecs = [{'compress': codec} for codec in ('lzw', 'deflate', 'packbits', 'zstd')]
    codecs += [{'compress': codec, 'predictor': 2} for codec in ('lzw', 'deflate', 'zstd')]
    if kind == np.uint8:
        codecs += [{'compress': 'jpeg', 'jpeg_quality': 90}]
        codecs += [{'compress': 'jpeg', 'photometric': 'ycbcr'}] * (planes == 'pixel')
    path = tmp_path / 'a.tif'
    for codec in codecs:
        for colours, count in (('rgb', 3), ('minisblack', 3), ('minisblack', 1), ('rgb', 4)):
            is_jpeg = codec['compress'] == 'jpeg'
            if codec.get('photometric', 'rgb') != colours or is_jpeg and count == 4:
                continue
            photo = SMOOTH[..., :count].astype(kind) * (np.iinfo(kind).max // 255)
            photo = np.minimum(photo, np.iinfo(kind).max - 200) + (photo % 199 > 99)  # low bytes
            photo = photo.astype(kind)
            photo[..., 3:] = np.iinfo(kind).max
            options = {'photometric': colours, **how, **codec}
            if count == 4:
                options['alpha'] = 'unassociated'
            read = gdal(path, photo, **options)
            if not is_jpeg:
                np.testing.assert_array_equal(read, photo)
            expected = (read if kind == np.uint8 else (read >> 8).astype(np.uint8))[..., :3]
            expected = np.repeat(expected, 3 // expected.shape[-1], axis=-1)
            with ImageRows(path) as rows:
                np.testing.assert_array_equal(rows.read(0, 90), expected, err_msg=f'{options}')
            if planes == 'pixel' and kind == np.uint16 and (colours, count) == ('minisblack', 3):
                with pytest.raises(OSError, match='channels or values that are not read whole'):
                    read_image(path)
                continue
            difference = np.abs(read_image(path).astype(int) - expected)
            assert difference.max() <= 16 * is_jpeg and difference.mean() <= is_jpeg, options


@pytest.mark.parametrize('codec', ['none', 'deflate'])
def test_planes_of_no_photo(tmp_path, codec):
    """Of which Pillow takes the first, in silence."""
    path, inside = tmp_path / 'a.tif', SMOOTH > 127
    how = {'compress': codec, 'interleave': 'band'}
    for kind in ('uint8', 'uint16', 'int8', 'int16', 'int32', 'uint32', 'float32'):
        gdal(path, inside[..., :1].astype(kind), **how)
        np.testing.assert_array_equal(read_mask(path), inside[..., 0] * 255)
        for count in (2, 3, 5):
            gdal(path, inside[..., :count].astype(kind), photometric='minisblack', **how)
            with pytest.raises(OSError, match='channels|picture of'):
                read_mask(path)
            with pytest.raises(OSError, match='channels|colours'):
                read_labels(path)
    gdal(path, SMOOTH[..., :1], photometric='miniswhite', **how)
    np.testing.assert_array_equal(read_image(path)[..., 0], 255 - SMOOTH[..., 0])
    gdal(path, SMOOTH[..., :2], **how)
    with pytest.raises(OSError, match='it has 2 channels, expected 1|not read whole'):
        read_image(path)


@pytest.mark.parametrize('planes', ['pixel', 'band'])
def test_signed_values_stay_signed_and_floats_have_no_white(tmp_path, planes):
    path, void = tmp_path / 'a.tif', SMOOTH[..., :1] > 200
    gdal(path, -void.astype(np.int8), interleave=planes)
    with pytest.raises(OSError, match='values from -1 to 0.*ignore=-1'):  # and not 0 and 255
        read_mask(path)
    labels = np.where(void, -1, SMOOTH[..., 1:2] > 127).astype(np.int8)
    for kind in (np.int8, np.int16, np.int32):
        gdal(path, labels.astype(kind), interleave=planes)
        np.testing.assert_array_equal(read_labels(path), labels[..., 0])
        found = read_mask(path, Reading(ignore=-1))
        np.testing.assert_array_equal(found, (labels[..., 0] == 1) * 255)
        with MaskRows(path, Reading(ignore=-1)) as rows:
            np.testing.assert_array_equal(rows.read(0, 90), labels[..., 0] == 1)
    gdal(path, void.astype(np.float32), interleave=planes, photometric='miniswhite')
    for read in (read_mask, read_image, MaskRows):
        with pytest.raises(OSError, match='float32 of which 0 is white'):
            read(path)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_ids_in_channels_are_no_greys(tmp_path, suffix):
    ids = np.zeros((20, 30, 3), np.uint8)
    ids[:9, :, 0], ids[9:, :9, 1], ids[12:, 12:, 2] = 1, 1, 1
    path = save(tmp_path / f'a.{suffix}', ids)
    with pytest.raises(MaskValuesError, match='a picture of 4 colours'):
        read_mask(path)


IDS = np.repeat(np.arange(3, dtype=np.uint8), 10)[None].repeat(9, 0)


def few_bits(path, values, bits):
    """A grey PNG of 2 or 4 bits."""
    height, width = values.shape
    each = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., -bits:]
    rows = b''.join(b'\0' + np.packbits(row).tobytes() for row in each.reshape(height, -1))
    header = struct.pack('>IIBBBBB', width, height, bits, 0, 0, 0, 0)
    body = b''.join(
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        for kind, data in ((b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b''))
    )
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + body)
    return path


def pgm(path, values, top, plain=False):
    """A PGM whose largest value is anything."""
    header = f'P{2 if plain else 5}\n{values.shape[1]} {values.shape[0]}\n{top}\n'.encode()
    kind = '>u1' if top < 256 else '>u2'
    text = ' '.join(map(str, values.ravel())).encode()
    path.write_bytes(header + (text if plain else values.astype(kind).tobytes()))
    return path


@pytest.mark.parametrize('plain', [False, True])
@pytest.mark.parametrize('top', [2, 3, 10, 100, 254, 255, 1000, 65535])
def test_ids_of_pgm_are_not_stretched(tmp_path, top, plain):
    path = pgm(tmp_path / 'a.pgm', IDS, top, plain)
    np.testing.assert_array_equal(read_labels(path), IDS)
    np.testing.assert_array_equal(read_mask(path, Reading(mask_values=2)), (IDS == 2) * 255)
    path = pgm(tmp_path / 'b.pgm', (IDS > 1) * top, top, plain)
    np.testing.assert_array_equal(read_mask(path), (IDS > 1) * 255)
    assert read_image(path).max() == 255


@pytest.mark.parametrize('bits', [2, 4])
def test_ids_of_few_bits(tmp_path, bits):
    with pytest.raises(FileError, match='greys of less than 8 bits, which can be read as ids'):
        read_labels(few_bits(tmp_path / 'a.png', IDS, bits))
    path = few_bits(tmp_path / 'a.png', (IDS > 1) * (2**bits - 1), bits)
    np.testing.assert_array_equal(read_mask(path), (IDS > 1) * 255)
    gdal(tmp_path / 'a.tif', IDS[..., None], nbits=bits)
    np.testing.assert_array_equal(read_labels(tmp_path / 'a.tif'), IDS)
    with pytest.raises(FileError, match='holds less than 8 bits; by rows only photos of 8'):
        ImageRows(tmp_path / 'a.tif')
    gdal(tmp_path / 'a.tif', (IDS[..., None] > 1).astype(np.uint8), nbits=bits)
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.tif'), (IDS > 1) * 255)


@pytest.mark.parametrize('white', [0, 1])
def test_bmps_of_two_greys_are_no_bits(tmp_path, white):
    picture = Image.fromarray((IDS > 1).astype(np.uint8) ^ (1 - white))
    picture.putpalette([0, 0, 0, 255, 255, 255] if white else [255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / 'a.bmp')
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.bmp'), (IDS > 1) * 255)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.bmp')[..., 0], (IDS > 1) * 255)


@pytest.mark.parametrize('suffix', ['tif', 'gif', 'png', 'webp'])
def test_of_several_pictures_none_is_the_mask(tmp_path, suffix):
    pictures = [Image.fromarray((IDS == i) * np.uint8(255)) for i in range(3)]
    path = tmp_path / f'a.{suffix}'
    pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True)
    for read in (read_mask, read_labels, *[MaskRows] * (suffix == 'tif')):
        with pytest.raises(OSError, match='a.* holds 3 pictures, of which any could be the mask'):
            read(path)
    np.testing.assert_array_equal(read_image(path)[..., 0], (IDS == 0) * 255)


def test_smaller_versions_are_no_other_pictures(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        for step in (1, 2, 4):
            mask = ((IDS == 1) * np.uint8(255))[::step, ::step]
            file.write(mask, photometric='minisblack', subfiletype=int(step > 1))
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.tif'), (IDS == 1) * 255)
    with MaskRows(tmp_path / 'a.tif') as rows:
        np.testing.assert_array_equal(rows.read(0, 9), IDS == 1)


def test_a_cut_out_of_a_grey_photo_is_no_soft_mask(tmp_path):
    inside = SMOOTH[..., 1] > 127
    photo = RNG.integers(0, 256, inside.shape, np.uint8)
    for mode in ('LA', 'RGBA'):
        bands = [photo] * (3 if mode == 'RGBA' else 1) + [inside * np.uint8(255)]
        path = tmp_path / 'a.png'
        Image.merge(mode, [Image.fromarray(band) for band in bands]).save(path)
        with pytest.raises(MaskValuesError, match='a cut-out of a grey photo and as a soft mask'):
            read_mask(path)
        found = read_mask(path, Reading(mask_values='soft')) > 127
        np.testing.assert_array_equal(found, inside & (photo > 127))
        np.testing.assert_array_equal(masks.read_cut_out(path)[1], inside * 255)


@pytest.mark.parametrize('opacity', [2, 76, 127, 200])
def test_overlays_that_are_hardly_opaque(tmp_path, opacity):
    inside = IDS == 1
    pixels = np.zeros((9, 30, 4), np.uint8)
    pixels[inside] = (255, 0, 0, opacity)
    np.testing.assert_array_equal(read_mask(save(tmp_path / 'a.png', pixels)) > 127, inside)
    if opacity == 76:
        pixels[0, 11] = (255, 0, 0, 40)
        with pytest.raises(MaskValuesError, match='nowhere more opaque than 76 of 255'):
            read_mask(save(tmp_path / 'a.png', pixels))


def test_a_grey_that_stands_for_transparency_is_no_data(tmp_path):
    inside = (IDS == 1) * np.uint8(255)
    Image.fromarray(inside).save(tmp_path / 'a.png', transparency=0)
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.png'), inside)
    Image.fromarray(inside).save(tmp_path / 'a.png', transparency=255)
    with pytest.raises(MaskValuesError, match='255 is no data, where a mask has its object'):
        read_mask(tmp_path / 'a.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.png', Reading(mask_values=255)), inside)


@pytest.mark.parametrize('bits', [1, 2, 8, 16])
def test_ids_of_which_0_is_white_are_asked_for(tmp_path, bits):
    ids = (IDS[..., None] > 1).astype(np.uint16 if bits > 8 else np.uint8)
    gdal(tmp_path / 'a.tif', ids, nbits=bits, photometric='miniswhite')
    with pytest.raises(FileError, match='white as zero, so that its ids can be read in two ways'):
        read_labels(tmp_path / 'a.tif')


def test_a_jpeg_holds_no_ids(tmp_path):
    Image.fromarray(IDS).save(tmp_path / 'a.jpg', quality=100)
    with pytest.raises(FileError, match='a.jpg is a JPEG, which changes ids near boundaries'):
        read_labels(tmp_path / 'a.jpg')


def test_a_jpeg_of_0_and_1_may_be_empty(tmp_path):
    Image.fromarray((IDS == 1).astype(np.uint8)).save(tmp_path / 'a.jpg', quality=95)
    with pytest.raises(MaskValuesError, match='an empty mask and as one of 0 and 1'):
        read_mask(tmp_path / 'a.jpg')
    Image.fromarray(IDS * 0).save(tmp_path / 'a.jpg')
    assert not read_mask(tmp_path / 'a.jpg').any()


@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
@pytest.mark.parametrize('orientation', range(2, 9))
def test_tiffs_that_are_stored_turned(tmp_path, orientation, kind):
    photo = RNG.integers(0, 256, (3, 40, 50)).astype(kind) * (np.iinfo(kind).max // 255)
    tag = [(274, 3, 1, orientation, True)]
    stored = np.moveaxis(photo.astype(np.int64) * 255 // np.iinfo(kind).max, 0, -1)
    expected = ImageOps.exif_transpose(
        Image.open(turned(tmp_path / 'a.png', stored.astype(np.uint8), orientation))
    )
    for planes in ('separate', 'contig'):
        pixels = photo if planes == 'separate' else np.moveaxis(photo, 0, -1)
        how = {'photometric': 'rgb', 'planarconfig': planes, 'extratags': tag}
        tifffile.imwrite(tmp_path / 'a.tif', pixels, **how)
        np.testing.assert_array_equal(read_image(tmp_path / 'a.tif'), expected)
        np.testing.assert_array_equal(read_image(tmp_path / 'a.tif', 'ignore'), stored)
        mask = save(tmp_path / 'mask.png', np.zeros(stored.shape[:2], bool))
        read_pair(tmp_path / 'a.tif', mask, Reading(exif='ignore'))


def turned(path, photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(path, photo, exif=exif)


@pytest.mark.parametrize('square', [False, True])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_masks_that_may_be_made_on_stored_pixels_are_asked_about(tmp_path, square, orientation):
    photo, mask = (PHOTO[:, :24], MASK[:, :24]) if square else (PHOTO, MASK)
    path = turned(tmp_path / 'photo.png', photo, orientation)
    by_size = orientation > 4 and not square
    stored = save(tmp_path / 'mask.png', mask)
    found, read = read_pair(path, stored, Reading(exif='ignore'))
    np.testing.assert_array_equal(found, photo)
    np.testing.assert_array_equal(read, mask * 255)
    if by_size:
        with pytest.raises(InvalidValueError, match=r'size of the image .*--exif ignore\)'):
            read_pair(path, stored)
    elif orientation > 1:
        with pytest.warns(UserWarning, match=rf'turned, .* \({orientation}\).*exif=.ignore'):
            read_pair(path, stored)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        if not by_size:
            read_pair(path, stored, Reading(exif='apply'))
        alike = turned(tmp_path / 'alike.png', mask, orientation)
        assert read_pair(path, alike)[0].shape[:2] == read_mask(alike).shape


def png_of(rows, height, width, interlaced=0):
    """A PNG of 8 bits whose data end properly after some rows."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data).to_bytes(4, 'big')
        return len(data).to_bytes(4, 'big') + kind + data + check

    size = width.to_bytes(4, 'big') + height.to_bytes(4, 'big')
    header = size + bytes([8, 0, 0, 0, interlaced])
    body = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + body


@pytest.mark.parametrize('kept', [24, 23, 12, 1, 0])
def test_a_png_that_ends_between_two_rows_is_refused(tmp_path, kept):
    values = np.where(MASK, 255, 0).astype(np.uint8)
    rows = b''.join(b'\0' + row.tobytes() for row in values[:kept])
    (tmp_path / 'a.png').write_bytes(png_of(rows, *MASK.shape))
    if kept == 24:
        np.testing.assert_array_equal(read_mask(tmp_path / 'a.png'), values)
    else:
        with pytest.raises(FileError, match=f'{37 * kept} of 888 bytes' if kept else 'truncated'):
            read_mask(tmp_path / 'a.png')


def without_last_row(content):
    """A PNG of Pillow's whose data end properly one row too early."""
    file, data = io.BytesIO(content), b''
    chunks = {kind: (file.tell(), length) for kind, length in png_chunks(file)}
    assert list(chunks)[-2:] == [b'IDAT', b'IEND']
    at, length = chunks[b'IDAT']
    data = zlib.decompress(content[at : at + length])
    data = zlib.compress(data[: len(data) // 8 * 7])
    check = zlib.crc32(b'IDAT' + data).to_bytes(4, 'big')
    head = content[: at - 8] + len(data).to_bytes(4, 'big') + b'IDAT'
    return head + data + check + content[at + length + 4 :]


def test_a_png_without_pixels_is_refused(tmp_path):
    content = png_of(b'', *MASK.shape)
    start = content.index(b'IDAT') - 4
    (tmp_path / 'a.png').write_bytes(content[:start] + content[content.index(b'IEND') - 4 :])
    with pytest.raises(FileError, match='a.png cannot be read as an image'):
        read_mask(tmp_path / 'a.png')


@pytest.mark.parametrize('last', [0, 1, 254, 255, 'mixed'])
@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'])
def test_a_png_without_its_last_row_is_refused_in_any_mode(tmp_path, mode, last):
    values = RNG.integers(0, 256, (8, 9), np.uint8)
    values[-1] = values[0] if last == 'mixed' else last
    if mode == 'I;16':
        picture = Image.fromarray(values.astype(np.uint16))
    elif mode == '1':
        picture = Image.fromarray(values > 127)
    elif mode == 'P':
        picture = Image.fromarray(values)
        picture.putpalette(bytes(range(256)) * 3)
    else:
        bands = len(Image.new(mode, (1, 1)).getbands())
        picture = Image.fromarray(values if bands == 1 else np.dstack([values] * bands), mode)
    picture.save(tmp_path / 'a.png')
    with opening.open_picture(tmp_path / 'a.png') as found:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(picture))
    content = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'a.png').write_bytes(without_last_row(content))
    with pytest.raises(FileError, match='bytes of its pixels are there'):
        with opening.open_picture(tmp_path / 'a.png'):
            pass


@pytest.mark.parametrize('shape', [(1, 1), (3, 2), (5, 9), (24, 36)])
def test_interlaced_pngs(tmp_path, shape):
    """Compared with an encoder of its own: Adam7 is seven small pictures."""
    values = RNG.integers(0, 256, shape, np.uint8)
    starts = [(0, 0), (0, 4), (4, 0), (0, 2), (2, 0), (0, 1), (1, 0)]
    steps = [(8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)]
    rows = b''
    for (top, left), (down, across) in zip(starts, steps, strict=True):
        for row in values[top::down, left::across]:
            rows += b'\0' + row.tobytes() if row.size else b''
    (tmp_path / 'a.png').write_bytes(png_of(rows, *shape, interlaced=1))
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png')[..., 0], values)
    (tmp_path / 'a.png').write_bytes(png_of(rows[:-1], *shape, interlaced=1))
    with pytest.raises(FileError, match='it is truncated or damaged'):
        read_image(tmp_path / 'a.png')


def test_a_tiff_that_lists_too_few_strips_is_refused(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, PHOTO, rowsperstrip=6, photometric='rgb')
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ('StripOffsets', 'StripByteCounts'):
            at = file.pages[0].tags[name].offset
            content[at + 4 : at + 8] = (2).to_bytes(4, 'little')
    path.write_bytes(content)
    with pytest.raises(FileError, match='2 of 4 parts of its pixels'):
        read_image(path)


def test_other_formats_are_not_opened_whatever_they_are_called(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, 'check_call', lambda *args, **_: started.append(args))
    monkeypatch.setattr(subprocess, 'Popen', lambda *args, **_: started.append(args))
    eps = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 36 24\n%%EndComments\nshowpage\n'
    for name in ('photo.png', 'photo.jpg'):
        (tmp_path / name).write_bytes(eps)
        for read in (read_image, read_mask, read_labels):
            with pytest.raises(FileError, match=f'{name} is not an image that can be read'):
                read(tmp_path / name)
    assert not started


def test_folders_take_what_single_files_take():
    Image.init()
    known = Image.registered_extensions()
    for kind, suffixes in opening.SUFFIXES.items():
        assert kind not in Image.OPEN or {known[suffix] for suffix in suffixes} == {kind}, kind
    missed = {s for s, kind in known.items() if kind in opening.SUFFIXES and kind in Image.OPEN}
    assert missed <= opening.IMAGE_SUFFIXES | {'.bmp', '.mpo'}
    for suffix in ('.avif', '.jp2', '.jfif'):
        assert suffix in opening.IMAGE_SUFFIXES


def test_formats_are_found_without_importing_all_of_pillows():
    code = (
        'import sys; from PIL import Image; from mmseg_cascadepsp.files import opening as o\n'
        'found = o._formats()\n'
        'print("PIL.EpsImagePlugin" in sys.modules)\n'
        'Image.init()\n'
        'print(found == tuple(kind for kind in o.SUFFIXES if kind in Image.OPEN))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.split() == ['False', 'True'], done.stderr


def test_headers_are_compared_before_pixels_are_unpacked(tmp_path, monkeypatch):
    photo = save(tmp_path / 'photo.png', PHOTO)
    mask = save(tmp_path / 'mask.png', np.zeros((400, 300), bool))
    for module in (masks, photos):
        monkeypatch.setattr(module, 'open_picture', None)  # which would unpack them
    with pytest.raises(InvalidValueError, match='mask.png must have the size .* 400 x 300'):
        read_pair(photo, mask)


@pytest.mark.skipif(sys.platform != 'linux', reason='limits memory as Linux does')
def test_too_little_memory_is_not_called_damage(tmp_path):
    Image.new('RGB', (9000, 9000)).save(tmp_path / 'large.jpg', quality=5)
    code = f"""
import resource
from mmseg_cascadepsp.files import read_image
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000,) * 2)
try:
    read_image({str(tmp_path / 'large.jpg')!r})
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert '9000 x 9000 pixels does not fit into the memory' in done.stdout, done.stderr[-2000:]


def test_a_png_whose_pixels_fail_their_checksum_is_refused(tmp_path):
    """Pillow takes some of them: where zlib's own checksum is what changed."""
    path = tmp_path / 'a.png'
    Image.fromarray(MASK.astype(np.uint8) * 255).save(path)
    whole = path.read_bytes()
    start, taken = whole.index(b'IDAT') + 4, 0
    for at in range(start, whole.index(b'IEND') - 8):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(OSError, match='a.png cannot be read as an image'):
            read_mask(path)
        try:
            np.asarray(Image.open(path))
            taken += 1
        except Exception:
            pass
    assert taken


@pytest.mark.parametrize('place', ['before', 'behind', 'none'])
def test_the_orientation_of_a_png_is_told_without_its_pixels(tmp_path, monkeypatch, place):
    content = turned(tmp_path / 'photo.png', PHOTO, 6).read_bytes()
    start = content.index(b'eXIf') - 4
    stop = start + 12 + int.from_bytes(content[start : start + 4], 'big')
    chunk, rest = content[start:stop], content[:start] + content[stop:]
    where = {'before': start, 'behind': rest.index(b'IEND') - 4}.get(place, len(rest))
    path = tmp_path / 'moved.png'
    path.write_bytes(rest[:where] + chunk + rest[where:])
    with Image.open(path) as image:
        expected = image.getexif().get(0x0112, 1)
    assert expected == (1 if place == 'none' else 6)
    if place != 'behind':
        monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda self: pytest.fail('unpacked'))
    assert opening.header_of(path) == (PHOTO.shape[:2], expected)
