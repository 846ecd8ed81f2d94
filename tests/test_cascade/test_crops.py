"""Crops along the boundary."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import crop_grid
from mmseg_cascadepsp.cascade.crops import adaptive_crops, boundary_cells, context

from .test_steps import mask_as_logits
from .toy_refiner import normalize, refine, refine_pass, scene


def random_mask(height, width, blobs, seed):
    """Discs and strokes, some over the border; noise without any."""
    rng = np.random.default_rng(seed)
    if not blobs:
        return rng.random((height, width)) > 0.5
    mask = np.zeros((height, width), np.uint8)
    for _ in range(blobs):
        a, b = ((int(rng.integers(0, width)), int(rng.integers(0, height))) for _ in range(2))
        if rng.random() < 0.5:
            radius, stroke = int(rng.integers(1, max(height, width, 2))), int(rng.integers(-1, 6))
            cv2.circle(mask, a, radius, 1, stroke or 1)
        else:
            cv2.line(mask, a, b, 1, int(rng.integers(1, 9)))
    return mask > 0


def cells_of(mask):
    return boundary_cells(lambda start, stop: torch.from_numpy(mask[start:stop]), *mask.shape)


def boundary_by_definition(mask):
    """Pixels that differ from one of their four neighbours."""
    padded = np.pad(mask, 1, mode='edge')
    inner = padded[1:-1, 1:-1]
    return (
        sum(
            inner != other
            for other in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        )
        > 0
    )


masks = st.builds(
    random_mask, st.integers(1, 400), st.integers(1, 400), st.integers(0, 4), st.integers(0, 10**6)
)


@given(masks, st.integers(20, 10**5))
@settings(max_examples=25, deadline=None)
def test_cells_tell_where_the_boundary_is(mask, strip_pixels):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmseg_cascadepsp.cascade.geometry.STRIP_PIXELS', strip_pixels)
        cells = cells_of(mask)
    rows, columns = np.nonzero(boundary_by_definition(mask))
    expected = np.zeros_like(cells)
    expected[rows // 8, columns // 8] = True
    np.testing.assert_array_equal(cells, expected)


@given(masks, st.integers(66, 250))
@settings(max_examples=25, deadline=None)
def test_every_boundary_pixel_is_kept_by_a_crop_and_there_are_no_more_than_in_the_grid(mask, L):
    height, width = mask.shape
    crops = adaptive_crops(cells_of(mask), height, width, L)
    boundary = boundary_by_definition(mask)
    kept = np.zeros_like(mask)
    for crop in crops:
        top, left, bottom, right = crop.outer
        assert 0 <= top < bottom <= height and 0 <= left < right <= width
        assert (bottom - top, right - left) == (min(L, height), min(L, width))
        kept[crop.inner.slices] = True
    assert kept[boundary].all()
    assert bool(crops) == boundary.any()
    both = [crop for crop in crops if np.ptp(mask[crop.outer.slices].astype(int))]
    uniform = [
        crop for crop in crop_grid(height, width, L) if np.ptp(mask[crop.outer.slices].astype(int))
    ]
    assert len(both) <= len(uniform)
    assert adaptive_crops(cells_of(mask), height, width, L) == crops == sorted(crops)


def test_a_boundary_is_far_from_the_sides_of_its_crop():
    mask = random_mask(900, 1200, 3, 4)
    far = np.zeros_like(mask)
    L = 160
    crops = adaptive_crops(cells_of(mask), *mask.shape, L)
    for top, left, bottom, right in (crop.outer for crop in crops):
        far[
            top + context(L) * (top > 0) : bottom - context(L) * (bottom < 900),
            left + context(L) * (left > 0) : right - context(L) * (right < 1200),
        ] = True
    assert far[boundary_by_definition(mask)].all()


def test_an_outline_takes_a_few_crops():
    mask = np.zeros((1500, 2000), bool)
    mask[300:1200, 400:1700] = True
    crops = adaptive_crops(cells_of(mask), *mask.shape, 200)
    # 4400 pixels of outline, of which a crop has at most 150 along a side: 30 would be ideal.
    assert 26 <= len(crops) <= 40
    grid = [
        crop for crop in crop_grid(*mask.shape, 200) if np.ptp(mask[crop.outer.slices].astype(int))
    ]
    assert len(grid) > 5 * len(crops)


@pytest.mark.parametrize('value', [False, True])
def test_empty_and_full_masks_need_no_crop(value):
    mask = np.full((300, 200), value)
    assert adaptive_crops(cells_of(mask), 300, 200, 100) == []
    calls = []
    result = refine(
        mask_as_logits,
        torch.zeros(3, 300, 200),
        torch.from_numpy(mask)[None],
        L=100,
        crops='adaptive',
        progress=lambda *counts: calls.append(counts),
    )
    assert not calls and ((result > 0.5) == value).all()


@pytest.mark.parametrize('size', [(90, 96), (40, 70)])
def test_same_as_uniform_where_the_same_crop_sits(size):
    image, mask = scene(*size)
    expected = refine(refine_pass, image, mask, L=96, normalize=normalize)
    result = refine(refine_pass, image, mask, L=96, normalize=normalize, crops='adaptive')
    assert torch.equal(result, expected)


def test_pixels_in_no_crop_keep_the_binarised_mask_and_others_are_refined():
    image, mask = scene(260, 320)
    seen = []
    result = refine(
        refine_pass,
        image,
        mask,
        L=96,
        normalize=normalize,
        crops='adaptive',
        progress=lambda *counts: seen.append(counts),
    )
    uniform = refine(
        refine_pass,
        image,
        mask,
        L=96,
        normalize=normalize,
        progress=lambda *counts: seen.append(counts),
    )
    adaptive, grid = sorted({total for _, total in seen})
    assert adaptive < grid / 2
    soft = (result > 0) & (result < 1)
    assert 0 < soft.float().mean() < ((uniform > 0) & (uniform < 1)).float().mean()


def test_batches_and_levels_of_adaptive_crops():
    image, mask = scene(300, 260)
    settings_ = dict(L=96, normalize=normalize, crops='adaptive')
    expected = refine(refine_pass, image, mask, **settings_)
    torch.testing.assert_close(
        refine(refine_pass, image, mask, batch_size=5, **settings_), expected, rtol=0, atol=1e-6
    )
    assert refine(refine_pass, image, mask, levels=2, **settings_).shape == (300, 260)


@pytest.mark.parametrize('crop_filter', ['release', 'all'])
def test_filters_that_do_not_go_with_adaptive_crops(crop_filter):
    with pytest.raises(ValueError, match="crop_filter must be 'boundary', got "):
        refine(
            refine_pass,
            *scene(90, 90),
            normalize=normalize,
            crops='adaptive',
            crop_filter=crop_filter,
        )
    with pytest.raises(ValueError, match="crops must be one of 'uniform', 'adaptive', got 'x'"):
        refine(refine_pass, *scene(90, 90), normalize=normalize, crops='x')
