"""What the values of a mask mean, at every door: arrays, files read whole, files read by rows."""

import itertools

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MaskValuesError
from mmseg_cascadepsp.files import Reading, read_mask
from mmseg_cascadepsp.files.arrays import check_image, check_mask
from mmseg_cascadepsp.files.label_ids import told_mask
from mmseg_cascadepsp.files.mask_values import Meaning, Seen, meaning_of
from mmseg_cascadepsp.files.rows import MaskRows

RNG = np.random.default_rng(0)
OBJECT = np.zeros((20, 30), bool)
OBJECT[5:15, 8:22] = True
BAND = np.zeros_like(OBJECT)
BAND[4:16, 7:23] = True
BAND &= ~OBJECT
DOORS = ['array', 'png', 'tif', 'tif by rows', 'npy']


def through(door, values, folder, reading=None):
    """The object as a door finds it, bool."""
    if door == 'array':
        return check_mask(values)
    path = folder / f'mask.{door[:3]}'
    if door == 'npy':
        np.save(path, values)
    elif door == 'png':
        Image.fromarray(values).save(path)
    else:
        tifffile.imwrite(path, values)
    if door in ('png', 'tif'):
        return read_mask(path, reading) > 127
    with MaskRows(path, reading) as rows:
        return rows.read(0, rows.shape[0])


def levels(*values, dtype=np.uint8):
    """Background, object and what lies around it."""
    background, inner, around = values
    return np.where(OBJECT, inner, np.where(BAND, around, background)).astype(dtype)


@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize(
    ('values', 'readings'),
    [
        ((0, 1, 255), '0, 1, 255, which can be read as a mask .* and as a label map .*ignore=255'),
        ((0, 15, 255), '0, 15, 255, which can be read as a mask'),
        ((0, 128, 255), '0, 128, 255, which can be read as a mask'),
        ((1, 255, 1), '1, 255, which can be read'),
        ((0, 3, 0), 'no value above 127: it holds 0, 3, .*mask_values=3 .*mask == 3'),
        ((2, 2, 2), 'no value above 127: it holds 2'),
        ((0, 200, 255), '0, 200, 255, which can be read'),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, door, values, readings):
    with pytest.raises(MaskValuesError, match=readings) as told:
        through(door, levels(*values), tmp_path)
    assert isinstance(told.value, ValueError) and isinstance(told.value, OSError)
    name = 'mask' if door == 'array' else str(tmp_path)
    assert str(told.value).startswith(name)


@pytest.mark.parametrize('door', DOORS[1:])
@pytest.mark.parametrize(
    ('values', 'reading', 'expected'),
    [
        ((0, 1, 255), Reading(ignore=255), OBJECT),
        ((0, 1, 255), Reading(mask_values=1), OBJECT),
        ((0, 1, 255), Reading(mask_values=[1, 255]), OBJECT | BAND),
        ((0, 1, 255), Reading(mask_values='soft'), BAND),
        ((0, 15, 255), Reading(mask_values=15), OBJECT),
        ((0, 3, 7), Reading(mask_values=7), BAND),
        ((0, 255, 128), Reading(ignore=128), OBJECT),
        ((0, 255, 1), Reading(mask_values=255, ignore=1), OBJECT),
        ((0, 3, 0), Reading(mask_values='soft'), OBJECT & False),
    ],
)
def test_an_argument_chooses(tmp_path, door, values, reading, expected):
    found = through(door, levels(*values), tmp_path, reading)
    np.testing.assert_array_equal(found, expected)
    if door not in ('png', 'tif'):
        with MaskRows(tmp_path / f'mask.{door[:3]}', reading) as rows:
            assert (rows.is_empty, rows.is_full) == (not expected.any(), False)


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize('values', [(0, 1, 0), (0, 255, 0), (0, 200, 0), (0, 65535, 0)])
def test_two_values_are_clear(tmp_path, door, values):
    kind = np.uint16 if max(values) > 255 else np.uint8
    np.testing.assert_array_equal(through(door, levels(*values, dtype=kind), tmp_path), OBJECT)


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('door', ['array', 'tif', 'tif by rows', 'npy'])
@pytest.mark.parametrize('beyond', [1e-7, 0.01, 0.2])
def test_floats_a_little_beyond_their_range_are_clipped(tmp_path, door, beyond):
    for full in (1, 255):
        values = np.where(OBJECT, full * (1 + beyond), -full * beyond).astype(np.float32)
        values[0, 0] = 0.25 * full
        np.testing.assert_array_equal(through(door, values, tmp_path), OBJECT)


@pytest.mark.parametrize('door', ['array', 'tif', 'tif by rows', 'npy'])
@pytest.mark.parametrize('value', [-0.5, 1.6, np.nan, np.inf, 1e9])
def test_floats_far_beyond_are_refused(tmp_path, door, value):
    values = OBJECT.astype(np.float32)
    values[3, 3] = value
    with pytest.raises(MaskValuesError):
        through(door, values, tmp_path)


@pytest.mark.parametrize('door', ['array', 'npy'])
@pytest.mark.parametrize('full', [1, 2])
def test_infinity_in_16_bits_is_refused(tmp_path, door, full):
    values = (OBJECT * full).astype(np.float16)
    values[3, 3] = np.inf
    with pytest.raises(MaskValuesError, match='to inf'):
        through(door, values, tmp_path)


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('door', DOORS[:4])
def test_a_cubic_overshoot_is_a_soft_mask(tmp_path, door):
    small = np.zeros((20, 30), np.float32)
    cv2.ellipse(small, (15, 10), (11, 6), 20, 0, 360, 1, -1)
    large = cv2.resize(small, (90, 60), interpolation=cv2.INTER_CUBIC)
    assert large.min() < -0.01 and large.max() > 1.01
    if door != 'png':
        np.testing.assert_array_equal(through(door, large, tmp_path), large > 0.5)
    bits = (large.clip(0, 1) * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(through(door, bits, tmp_path), bits > 127)


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize(
    'how', ['linear x2', 'area', 'mean of three', 'four times finer', 'JPEG', 'ramp']
)
def test_soft_masks_stay_what_they_are(tmp_path, door, how):
    mask = np.zeros((80, 120), np.uint8)
    cv2.ellipse(mask, (60, 40), (40, 25), 20, 0, 360, 255, -1)
    if how == 'linear x2':
        mask = cv2.resize(mask, None, fx=2, fy=2)
    elif how == 'area':
        mask = cv2.resize(mask, (47, 31), interpolation=cv2.INTER_AREA)
    elif how == 'mean of three':
        mask = np.mean([np.roll(mask, i, 1) for i in range(3)], 0).round().astype(np.uint8)
    elif how == 'four times finer':
        fine = Image.new('L', (480, 320))
        ImageDraw.Draw(fine).polygon([(50, 40), (430, 90), (250, 300)], fill=255)
        mask = np.asarray(fine.reduce(4))
    elif how == 'JPEG':
        mask = cv2.imdecode(cv2.imencode('.jpg', mask)[1], cv2.IMREAD_GRAYSCALE)
    else:
        mask = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    np.testing.assert_array_equal(through(door, mask, tmp_path), mask > 127)


def test_label_maps_are_never_taken_for_masks():
    """Maps of as many classes as ADE20K has and of its frequencies, with and without void."""
    taken = 0
    for count, void in itertools.product(range(3, 40), (False, True)):
        ids = np.unique((150 * RNG.random(count) ** 2).astype(np.uint8) + 1)
        seen = Seen()
        seen.add(np.append(ids, [255] * void).astype(np.uint8))
        try:
            meaning_of(seen, 'map')
            taken += len(ids) > 1
        except MaskValuesError:
            pass
    assert taken == 0


def test_an_empty_mask_of_jpeg_is_empty_and_a_dark_one_is_told(tmp_path):
    for value, is_empty in ((6, True), (90, False)):
        picture = np.zeros((32, 32), np.uint8)
        picture[8:20, 8:20] = value
        Image.fromarray(picture).save(tmp_path / 'a.jpg', quality=80)
        if is_empty:
            assert not (read_mask(tmp_path / 'a.jpg') > 127).any()
        else:
            with pytest.raises(MaskValuesError, match='a.jpg has no value above 127'):
                read_mask(tmp_path / 'a.jpg')


@pytest.mark.parametrize('by_rows', [False, True])
def test_no_data_of_gdal_is_told(tmp_path, by_rows):
    path = tmp_path / 'a.tif'

    def read(*reading):
        if by_rows:
            MaskRows(path, *reading).close()
        else:
            read_mask(path, *reading)

    tag = [(42113, 's', 0, '255', True)]
    tifffile.imwrite(path, levels(0, 0, 255), extratags=tag)
    with pytest.raises(MaskValuesError, match='in its header that 255 is no data.*ignore=255'):
        read()
    tifffile.imwrite(path, levels(0, 1, 255), extratags=tag)
    with pytest.raises(MaskValuesError, match='255 is no data'):
        read()
    read(Reading(ignore=255))
    tag = [(42113, 's', 0, '0', True)]
    tifffile.imwrite(path, levels(0, 255, 0), extratags=tag)
    read()


@pytest.mark.filterwarnings('error::UserWarning', 'error::RuntimeWarning')
@pytest.mark.parametrize('full', [1, 255])
def test_floats_of_16_bits(full):
    values = np.where(OBJECT, full, 0.25 * full).astype(np.float16)
    np.testing.assert_array_equal(check_mask(values), OBJECT)


def test_masked_arrays_mean_background_where_they_are_masked():
    masked = np.ma.MaskedArray(np.ones((4, 4), np.uint8), mask=np.eye(4, dtype=bool))
    np.testing.assert_array_equal(check_mask(masked), ~np.eye(4, dtype=bool))
    with pytest.raises(TypeError, match='masked array'):
        check_image(np.ma.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize('suffix', ['png', 'gif'])
@pytest.mark.parametrize(
    'palette',
    [
        [(255, 0, 0), (0, 0, 0)],  # index 0 is the object
        [(0, 0, 0), (255, 0, 0)],
        [(255, 255, 255), (0, 0, 0)],
    ],
)
def test_a_palette_is_judged_as_the_same_picture_in_rgb(tmp_path, suffix, palette):
    index = np.where(OBJECT, *((0, 1) if palette[0] != (0, 0, 0) else (1, 0))).astype(np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(np.array(palette, np.uint8).tobytes())
    picture.save(tmp_path / f'a.{suffix}')
    Image.fromarray(np.array(palette, np.uint8)[index]).save(tmp_path / 'rgb.png')
    for path in (tmp_path / f'a.{suffix}', tmp_path / 'rgb.png'):
        np.testing.assert_array_equal(read_mask(path), OBJECT * 255)


def test_a_palette_of_two_readings_is_refused_and_an_index_chooses(tmp_path):
    picture = Image.fromarray(OBJECT.astype(np.uint8))
    picture.putpalette(bytes([255, 255, 255, 200, 0, 0]))
    picture.save(tmp_path / 'a.png')
    with pytest.raises(MaskValuesError, match='index 0 is .255, 255, 255.* mask_values=1'):
        read_mask(tmp_path / 'a.png')
    for index, expected in ((1, OBJECT), (0, ~OBJECT)):
        found = read_mask(tmp_path / 'a.png', Reading(mask_values=index))
        np.testing.assert_array_equal(found, expected * 255)
    many = Image.fromarray(RNG.integers(0, 200, (40, 50)).astype(np.uint8))
    palette = RNG.integers(1, 256, (256, 3)).astype(np.uint8)
    palette[0] = 0
    many.putpalette(palette.tobytes())
    many.save(tmp_path / 'photo.gif')
    with pytest.raises(MaskValuesError, match='a picture of 200 colours'):
        read_mask(tmp_path / 'photo.gif')


@pytest.mark.parametrize('kind', [bool, np.uint8, np.int64, np.float32])
def test_soft_is_above_127_where_there_is_object(kind):
    for full, meaning in ((1, Meaning(1)), (255, Meaning(255)), (65535, Meaning(65535))):
        values = np.linspace(0, full, 4001)
        values = values.astype(kind) if kind is not np.uint8 else values.clip(0, 255).astype(kind)
        soft = meaning.soft(values)
        assert soft.dtype == np.uint8
        np.testing.assert_array_equal(soft > 127, meaning.is_object(values))


@pytest.mark.parametrize(
    'arguments',
    [{'mask_values': 'hard'}, {'mask_values': []}, {'mask_values': 1.5}, {'ignore': 'x'},
     {'ignore': True}, {'exif': 'maybe'}],
)  # fmt: skip
def test_readings_are_checked(arguments):
    with pytest.raises(InvalidValueError, match=next(iter(arguments))):
        Reading(**arguments)


def test_a_value_that_is_not_there_is_told(tmp_path):
    Image.fromarray(levels(0, 1, 2)).save(tmp_path / 'a.png')
    with pytest.warns(UserWarning, match='a.png holds no 5 but 0, 1, 2'):
        assert not read_mask(tmp_path / 'a.png', Reading(mask_values=5)).any()
    np.save(tmp_path / 'a.npy', RNG.random((4, 4)))
    with pytest.raises(FileError, match='fractions .* mask_values 1 needs a mask of integers'):
        MaskRows(tmp_path / 'a.npy', Reading(mask_values=1))


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_a_mask_in_the_place_of_labels_is_told(dtype):
    assert 'labels holds 0 and 255 alone' in told_mask(levels(0, 255, 0, dtype=dtype), 'labels')
    for labels, void in ((levels(0, 255, 0), None), (levels(0, 1, 255), 255), (OBJECT * 0, 255)):
        assert told_mask(labels, 'labels', void) is None
