"""Padding, resizing and the crop grid against their definitions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import (
    Box,
    check_crop_size,
    crop_grid,
    resize_longer_side,
    resize_window,
)
from mmseg_cascadepsp.cascade.geometry import pad, padded_size, strips

sides = st.integers(1, 700)
crop_sizes = st.integers(66, 500)


@pytest.mark.parametrize(
    'size, padded',
    [
        ((64, 64), (64, 64)),
        ((64, 61), (72, 64)),
        ((1, 1), (8, 8)),
        ((899, 600), (904, 608)),
        ((8, 904), (8, 904)),
    ],
)
def test_padded_size(size, padded):
    assert padded_size(*size) == padded


@given(sides, sides, st.sampled_from([4, 8, 16, 32]))
@settings(deadline=None)
def test_padded_size_is_the_next_multiple_on_both_sides_or_none(height, width, divisor):
    padded = padded_size(height, width, divisor)
    if height % divisor or width % divisor:
        assert padded == tuple(side - side % divisor + divisor for side in (height, width))
    else:
        assert padded == (height, width)


def test_pad_fills_right_and_bottom():
    padded = pad(torch.ones(2, 3, 9, 8), -1.0)
    assert padded.shape == (2, 3, 16, 16)
    assert (padded[..., :9, :8] == 1).all() and padded.sum() == 6 * (2 * 9 * 8 - 16 * 16)


@pytest.mark.parametrize('mode', ['area', 'bilinear', 'bicubic'])
@pytest.mark.parametrize(
    'height, width, size', [(61, 40, 96), (97, 100, 66), (277, 161, 224), (94, 3, 96), (5, 5, 1)]
)
def test_resize_is_interpolation_by_scale_factor(height, width, size, mode):
    image = torch.rand(3, height, width)
    options = {} if mode == 'area' else {'align_corners': False}
    factor = size / max(height, width)
    expected = F.interpolate(image[None], scale_factor=factor, mode=mode, **options)[0]
    torch.testing.assert_close(resize_longer_side(image, size, mode), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('mode', ['area', 'bilinear', 'bicubic'])
@given(st.integers(1, 3000), st.integers(1, 3), st.integers(66, 200), st.booleans())
@settings(max_examples=30, deadline=None)
def test_resize_never_loses_a_side(mode, long, short, size, transpose):
    image = torch.full((1, short, long), 7, dtype=torch.uint8)
    image = image.transpose(1, 2) if transpose else image
    resized = resize_longer_side(image, size, mode)
    assert resized.is_floating_point() and min(resized.shape) >= 1
    assert max(resized.shape) in (size, size - 1)
    assert torch.allclose(resized, torch.tensor(7.0))


def test_area_keeps_the_mean_of_uint8():
    image = torch.randint(0, 256, (3, 120, 80), dtype=torch.uint8)
    resized = resize_longer_side(image, 60, 'area')
    assert torch.allclose(resized.mean((1, 2)), image.float().mean((1, 2)), atol=1e-3)


def crops_by_definition(height, width, L):
    """Walk over the image, shift inside, drop duplicates, chip."""
    crops, seen = [], set()
    for x in range(0, width + 1, L // 2 - 32):
        for y in range(0, height + 1, L // 2 - 32):
            bottom, right = min(y + L, height), min(x + L, width)
            top, left = max(bottom - L, 0), max(right - L, 0)
            if (top, left) in seen:
                continue
            seen.add((top, left))
            crops.append(
                (
                    (top, left, bottom, right),
                    (
                        top + 16 if top else 0,
                        left + 16 if left else 0,
                        bottom if bottom == height else bottom - 16,
                        right if right == width else right - 16,
                    ),
                )
            )
    return crops


@given(sides, sides, st.integers(70, 500))
@settings(max_examples=25, deadline=None)
def test_crop_grid_is_the_definition(height, width, L):
    authors = crops_by_definition(height, width, L)
    assert list(crop_grid(height, width, L, 'release')) == authors
    assert L < 128 or list(crop_grid(height, width, L)) == authors


@pytest.mark.parametrize(('L', 'few', 'authors'), [(66, 256, 55225), (90, 121, 324)])
def test_small_crops_advance_by_a_quarter(L, few, authors):
    """A photo has not as many crops as pixels, unless the authors' results are wanted."""
    assert len(list(crop_grid(300, 300, L))) == few
    assert crop_grid_size(300, L) ** 2 == authors


def crop_grid_size(side, L):
    return len(list(crop_grid(side, 1, L, 'release')))


@given(sides, crop_sizes)
@settings(max_examples=60, deadline=None)
def test_crops_cover_a_pixel_a_few_times(side, L):
    assert len(list(crop_grid(side, 1, L))) <= 4 * max(0, side - L) / (L - 3) + 2


@given(sides, sides, crop_sizes)
@settings(max_examples=60, deadline=None)
def test_inner_boxes_cover_every_pixel_and_outer_boxes_have_one_size(height, width, L):
    # The grid is a product of two axes: each is checked on its own.
    for axis, crops in ((0, crop_grid(height, 1, L)), (1, crop_grid(1, width, L))):
        side = (height, width)[axis]
        covered = np.zeros(side, bool)
        for outer, inner in crops:
            assert 0 <= outer[axis] <= inner[axis] < inner[axis + 2] <= outer[axis + 2] <= side
            assert outer[axis + 2] - outer[axis] == min(L, side)
            covered[inner[axis] : inner[axis + 2]] = True
        assert covered.all()
    if L >= 80:
        pairs = len(list(crop_grid(height, 1, L))) * len(list(crop_grid(1, width, L)))
        assert len(list(crop_grid(height, width, L))) == pairs


def test_box_coordinates():
    box, outer = Box(26, 40, 50, 60), Box(10, 20, 106, 116)
    array = np.arange(120 * 120).reshape(120, 120)
    assert np.array_equal(array[box.slices], array[outer.slices][box.relative_to(outer).slices])
    assert array[box.slices].shape == (24, 20)


def test_small_crop_size_is_told():
    with pytest.raises(ValueError, match=r'L must be at least 66.*got 65'):
        next(crop_grid(100, 100, 65))
    with pytest.raises(TypeError, match='L must be an integer.*got 900.0'):
        check_crop_size(900.0)
    assert check_crop_size(np.int64(66)) == 66 and math.prod(next(crop_grid(9, 9, 66)).outer) == 0


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 200),
    st.integers(1, 200),
    st.booleans(),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_a_window_of_a_resize_is_that_part_of_it(h, w, height, width, align_corners, data):
    value = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(h * w))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(
        top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    )
    expected = F.interpolate(
        value, size=(height, width), mode='bilinear', align_corners=align_corners
    )
    torch.testing.assert_close(
        resize_window(value, (height, width), box, align_corners),
        expected[0, 0][box.slices],
        rtol=0,
        atol=2e-6,
    )


def test_strips_cover_and_start_at_multiples():
    found = list(strips(0, 1000, 2**22 // 100))
    assert found[0][0] == 0 and found[-1][1] == 1000
    assert all(a[1] == b[0] and b[0] % 8 == 0 for a, b in zip(found, found[1:], strict=False))
