"""Photos and masks of every kind that people hold give the result of the plain numpy call."""

import warnings

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmseg_cascadepsp.apis import Refiner, read_inputs, read_photo
from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.errors import UserError
from mmseg_cascadepsp.files import write_png

SIZE = 60, 90


class FollowsPhoto(Network):
    """Its answer depends on every pixel and channel of the photo, and on the mask."""

    def __init__(self):
        self.normalized = self.prepared = 0

    def normalize(self, image):
        self.normalized += 1
        return image.float() / 255

    def for_image(self, image):
        self.prepared += 1
        shade = (image * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)).sum(1, keepdim=True) - 3
        return lambda masks, strides: dict.fromkeys(strides, 2 * masks[:, :1] + 0.3 * shade)


@pytest.fixture(scope='module')
def refiner():
    return Refiner(FollowsPhoto(), L=90)


@pytest.fixture(scope='module')
def photo():
    """Smooth, so that 16 bits and floats differ from 8 bits in no value."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([2 * x, 4 * y, 255 - x - y], axis=2).astype(np.uint8)


@pytest.fixture(scope='module')
def mask():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(y - 30, x - 40) < 20


@pytest.fixture(scope='module')
def files(photo, mask, tmp_path_factory):
    folder = tmp_path_factory.mktemp('inputs')
    write_png(folder / 'photo.png', photo)
    write_png(folder / 'mask.png', mask.astype(np.uint8) * 255)
    return folder


def rgba(photo, alpha):
    return np.dstack([photo, np.broadcast_to(np.uint8(alpha), photo.shape[:2])])


def chw(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


PHOTOS = {
    'path': lambda p, files: files / 'photo.png',
    'text': lambda p, files: str(files / 'photo.png'),
    'Pillow': lambda p, files: Image.fromarray(p),
    'Pillow, opaque': lambda p, files: Image.fromarray(rgba(p, 255)),
    'float64': lambda p, files: p / 255,
    'float16': lambda p, files: (p / 255).astype(np.float16),
    'uint16': lambda p, files: p.astype(np.uint16) * 257,
    'int64': lambda p, files: p.astype(np.int64),
    'opaque': lambda p, files: rgba(p, 255),
    'opaque floats': lambda p, files: rgba(p, 255) / 255,
    'planes': lambda p, files: p.transpose(2, 0, 1),
    'batch': lambda p, files: p[None],
    'tensor': lambda p, files: chw(p),
    'tensor of floats': lambda p, files: chw(p).float() / 255,
    'tensor with gradient': lambda p, files: (chw(p) / 255).requires_grad_(),
    'tensor (H, W, 3)': lambda p, files: torch.from_numpy(p),
    'batch of one': lambda p, files: chw(p)[None],
    'RGBA tensor': lambda p, files: chw(rgba(p, 255)),
}


@pytest.mark.parametrize('kind', PHOTOS)
def test_photos_of_every_kind(refiner, photo, mask, files, kind):
    given = PHOTOS[kind](photo, files)
    np.testing.assert_array_equal(refiner.refine(given, mask), refiner.refine(photo, mask))


def test_a_plain_photo_is_not_copied(photo):
    assert read_photo(photo) is photo


@pytest.mark.parametrize(
    'grey', [lambda g: g, lambda g: g[..., None], lambda g: g[None], lambda g: g / 255,
             lambda g: torch.from_numpy(g), lambda g: torch.from_numpy(g)[None],
             Image.fromarray],
    ids=['(H, W)', '(H, W, 1)', '(1, H, W)', 'floats', 'tensor', 'planes', 'Pillow'],
)  # fmt: skip
def test_grey_photos(refiner, photo, mask, grey):
    plane = photo[..., 0].copy()
    expected = refiner.refine(np.repeat(plane[..., None], 3, axis=2), mask)
    np.testing.assert_array_equal(refiner.refine(grey(plane), mask), expected)


def test_bfloat16_is_rounded(photo):
    found = read_photo((chw(photo) / 255).bfloat16())
    assert np.abs(found.astype(int) - photo).max() <= 1


MASKS = {
    'path': lambda m, files: files / 'mask.png',
    'text': lambda m, files: str(files / 'mask.png'),
    'Pillow 1': lambda m, files: Image.fromarray(m),
    'Pillow L': lambda m, files: Image.fromarray(m.astype(np.uint8)),
    'Pillow RGB': lambda m, files: Image.fromarray(m * np.uint8(255)).convert('RGB'),
    'as OpenCV reads it': lambda m, files: cv2.imread(str(files / 'mask.png')),
    'cut-out': lambda m, files: rgba(np.full((*SIZE, 3), 9, np.uint8), m * np.uint8(255)),
    '(1, H, W)': lambda m, files: m[None],
    '(H, W, 1)': lambda m, files: m[..., None],
    'tensor': lambda m, files: torch.from_numpy(m),
    'tensor of ids': lambda m, files: torch.from_numpy(m).long(),
    'sigmoid': lambda m, files: torch.from_numpy(np.where(m, 0.9, 0.2))[None, None],
    'bfloat16': lambda m, files: torch.from_numpy(np.where(m, 0.9, 0.2)).bfloat16(),
}


@pytest.mark.parametrize('kind', MASKS)
def test_masks_of_every_kind(refiner, photo, mask, files, kind):
    given = MASKS[kind](mask, files)
    np.testing.assert_array_equal(refiner.refine(photo, given), refiner.refine(photo, mask))


def test_transparent_parts_lie_on_white_or_are_dropped(refiner, photo, mask, tmp_path):
    given = rgba(photo, mask * np.uint8(255))
    write_png(tmp_path / 'a.png', given)
    white = np.where(mask[..., None], photo, np.uint8(255))
    for kind in (given, Image.fromarray(given), tmp_path / 'a.png', chw(given)):
        found = refiner.refine(kind, mask)
        np.testing.assert_array_equal(found, refiner.refine(white, mask))
        found = refiner.refine(kind, mask, alpha='drop')
        np.testing.assert_array_equal(found, refiner.refine(photo, mask))


def test_a_cut_out_brings_its_mask(refiner, photo, mask, tmp_path):
    given = rgba(photo, mask * np.uint8(255))
    write_png(tmp_path / 'a.png', given)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for kind in (given, given / 255, Image.fromarray(given), tmp_path / 'a.png', chw(given)):
            np.testing.assert_array_equal(refiner.refine(kind), refiner.refine(photo, mask))


def test_a_cut_out_without_its_photo_is_told(refiner, photo, mask):
    given = rgba(photo * mask[..., None], mask * np.uint8(255))
    with pytest.warns(UserWarning, match='the photo behind the object is lost'):
        refiner.refine(given)


@pytest.mark.parametrize('size', [(15, 30), (200, 300), (30, 200)])
def test_masks_of_another_size(refiner, photo, size, tmp_path):
    """Against torch: bilinear where a side grows, means of areas where it shrinks."""
    y, x = np.mgrid[: size[0], : size[1]]
    soft = np.clip(1.5 - np.hypot(y / size[0] - 0.5, x / size[1] - 0.5) * 3, 0, 1)
    value = torch.from_numpy(np.ceil(soft * 255 - 0.5))[None, None]
    for axis in (0, 1):
        target = list(value.shape[2:])
        target[axis] = SIZE[axis]
        mode = 'area' if SIZE[axis] < value.shape[2 + axis] else 'bilinear'
        value = F.interpolate(value, size=target, mode=mode)
    value = value[0, 0].numpy()
    expected, sure = (
        value > 127.5,
        np.abs(value - 127.5) > 2,
    )  # areas of fractions of pixels differ
    write_png(tmp_path / 'soft.png', np.ceil(soft * 255 - 0.5).astype(np.uint8))
    for kind in (soft, torch.from_numpy(soft)[None], tmp_path / 'soft.png'):
        _, (found,) = read_inputs(photo, kind, resize_mask=True)
        np.testing.assert_array_equal(found[sure], expected[sure])
        assert sure.mean() > 0.98
    _, (hard,) = read_inputs(photo, soft > 0.5, resize_mask=True)
    assert (hard != expected).mean() < 0.05
    result = refiner.refine(photo, soft, resize_mask=True)
    np.testing.assert_array_equal(result, refiner.refine(photo, found))


def test_several_masks_of_a_photo(photo, mask, files):
    refiner = Refiner(FollowsPhoto(), L=90)
    network = refiner.network
    masks = [mask, np.roll(mask, 9, axis=1), str(files / 'mask.png'), np.zeros_like(mask)]
    singly = [refiner.refine(photo, each) for each in masks]
    made = network.prepared
    network.prepared = network.normalized = 0
    found = refiner.refine(photo, masks)
    assert isinstance(found, list) and len(found) == 4
    for each, expected in zip(found, singly, strict=True):
        np.testing.assert_array_equal(each, expected)
    assert made == 6 and network.prepared == network.normalized == 1  # of both steps, here one
    pairs = refiner.refine(photo, masks[:2], return_report=True)
    assert [0 < report.change.iou <= 1 for _, report in pairs] == [True, True]
    assert refiner.refine(photo, []) == []


def test_values_are_told_where_a_mask_does_not(refiner, photo, mask):
    labels = mask * np.uint8(3)
    labels[:5] = 7
    expected = refiner.refine(photo, mask)
    for kind in (labels, Image.fromarray(labels), torch.from_numpy(labels)):
        np.testing.assert_array_equal(refiner.refine(photo, kind, mask_values=3), expected)
        with pytest.raises(ValueError, match='mask_values=7'):
            refiner.refine(photo, kind)


def test_label_maps_of_every_kind(photo, tmp_path):
    labels = np.zeros(SIZE, np.int32)
    labels[10:40, 20:60] = 2
    refiner = Refiner(FollowsPhoto(), L=90)
    expected = refiner.refine_semantic(photo, labels)
    write_png(tmp_path / 'labels.png', labels.astype(np.uint8))
    kinds = (
        tmp_path / 'labels.png',
        Image.fromarray(labels.astype(np.uint8)),
        torch.from_numpy(labels)[None],
    )
    for kind in kinds:
        np.testing.assert_array_equal(refiner.refine_semantic(chw(photo), kind), expected)


def turned(photo):
    """A picture as phones store them."""
    picture = Image.fromarray(photo)
    picture.getexif()[0x0112] = 6
    return picture


def test_pictures_with_an_orientation_are_asked_for(refiner, photo, mask):
    expected = refiner.refine(photo, mask)
    found = refiner.refine(turned(photo), mask, exif='ignore')
    np.testing.assert_array_equal(found, expected)
    upright = refiner.refine(np.rot90(photo, -1), np.rot90(mask, -1))
    found = refiner.refine(turned(photo), np.rot90(mask, -1), exif='apply')
    np.testing.assert_array_equal(found, upright)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda p, m: (turned(p), m), "EXIF orientation 6.*exif='apply'.*exif='ignore'"),
        (lambda p, m: (p / 255 * 4 - 2, m), 'floats from -2.*expected 0 to 1. Undo its normal'),
        (lambda p, m: (p.astype(float), m), 'floats from 0.*make uint8 of floats up to 255'),
        (lambda p, m: (p * np.nan, m), 'floats from nan'),
        (lambda p, m: (p.astype(int) + 1, m), 'values from .*to 256 in int64'),
        (lambda p, m: (p > 9, m), 'image must be uint8.*got bool'),
        (lambda p, m: (p[..., :2], m), r'1 \(grey\), 3 \(RGB\) or 4.*got \(60, 90, 2\)'),
        (lambda p, m: (np.stack([p, p]), m), 'one photo at a time'),
        (lambda p, m: (torch.zeros(3, 60, 3), m[:, :3]), r'\(C, H, W\) and as \(H, W, C\)'),
        (lambda p, m: ([[1, 2]], m), 'image must be .*list'),
        (lambda p, m: ('no/such.png', m), 'no/such.png does not exist'),
        (lambda p, m: (p, 'no/such.png'), 'no/such.png does not exist'),
        (lambda p, m: (p, None), 'image has no transparent part that could be its mask'),
        (lambda p, m: (rgba(p, 255), None), 'image has no transparent part'),
        (lambda p, m: (p, np.stack([m] * 3)), r'of several, give a list of masks: list\(mask\)'),
        (lambda p, m: (p, np.dstack([m, m])), 'one object or class at a time'),
        (lambda p, m: (p, p), 'mask is a picture of .* colours'),
        (lambda p, m: (p, {'a': m}), 'mask must be a numpy array.*dict'),
        (lambda p, m: (p, torch.randn(*SIZE) * 9), 'mask has no value above 127'),
        (lambda p, m: (p, m[:30, :45]), 'resize_mask=True .--resize-mask.'),
        (lambda p, m: (p, m.T), 'turned by 90 degrees'),
    ],
)
def test_what_is_refused_has_a_sentence(refiner, photo, mask, change, words):
    torch.manual_seed(0)
    with pytest.raises(UserError, match=words) as told:
        refiner.refine(*change(photo, mask))
    assert '\n' not in str(told.value)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'alpha': 'black'}, "alpha must be 'white' or 'drop'"),
        ({'colour': 'BGR'}, 'refine has no argument colour'),
        ({'exif': 'maybe'}, "exif must be 'apply' or 'ignore'"),
    ],
)
def test_options_that_are_none(refiner, photo, mask, options, words):
    with pytest.raises(UserError, match=words):
        refiner.refine(photo, mask, **options)


def test_a_mask_turned_by_90_degrees_is_not_resized(refiner, photo, mask):
    with pytest.raises(ValueError, match='turned by 90 degrees'):
        refiner.refine(photo, np.zeros((900, 600)), resize_mask=True)
    square = np.zeros((512, 512))
    square[100:400, 100:400] = 1
    assert refiner.refine(photo, square, resize_mask=True).shape == SIZE
