"""Pictures read by rows, and the cascade over them: equal to what is whole in memory."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import Box, Refinement, refine, resize_longer_side
from mmseg_cascadepsp.cascade.windows import Picture, resize_window, strips

from .toy_refiner import normalize, refine_pass, scene


class Rows:
    """A reader of an array that keeps what was read."""

    def __init__(self, array):
        self.array, self.shape, self.reads = array, array.shape[:2], []

    def read(self, start, stop):
        assert 0 <= start < stop <= len(self.array)
        self.reads.append((start, stop))
        return self.array[start:stop]


@pytest.fixture
def few_rows(monkeypatch):
    """Strips of a few rows."""
    monkeypatch.setattr('mmseg_cascadepsp.cascade.windows.STRIP_PIXELS', 3000)


def readers(image, mask):
    return Rows(np.ascontiguousarray(image.permute(1, 2, 0).numpy())), Rows(mask[0].numpy())


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120), st.integers(200, 9000))
@settings(max_examples=40, deadline=None)
def test_areas_by_rows_equal_the_area_resize(height, width, side, strip_pixels):
    side = min(side, max(height, width))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmseg_cascadepsp.cascade.windows.STRIP_PIXELS', strip_pixels)
        result = Picture(Rows(image)).shrink(side)
    expected = resize_longer_side(torch.from_numpy(image.transpose(2, 0, 1).copy()), side, 'area')
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-3)


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


def test_cuts_from_top_to_bottom_read_each_row_once():
    array = np.random.default_rng(0).integers(0, 256, (50, 7, 3), np.uint8)
    reader = Rows(array)
    picture = Picture(reader)
    for top, bottom in ((3, 9), (3, 9), (5, 20), (6, 11), (20, 22), (30, 50)):
        part = picture.cut(Box(top, 2, bottom, 6))
        np.testing.assert_array_equal(part.permute(1, 2, 0), array[top:bottom, 2:6])
    assert reader.reads == [(3, 9), (9, 20), (20, 22), (30, 50)]


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'fast': True},
        {'crops': 'adaptive'},
        {'crop_filter': 'all', 'batch_size': 4},
        {'levels': 2},
        {'crop_filter': 'release', 'strides': (8, 1)},
    ],
)
@pytest.mark.parametrize('size', [(350, 281), (70, 96), (60, 40)])
def test_rows_give_what_the_whole_image_gives(few_rows, options, size):
    image, mask = scene(*size)
    expected = refine(refine_pass, image, mask, L=96, normalize=normalize, **options)
    job = Refinement(refine_pass=refine_pass, L=96, normalize=normalize, **options)
    sources = readers(image, mask)
    parts, next_row = [], 0
    for top, rows in job.last_step(sources[0], job.first_steps(*sources)):
        assert top == next_row
        next_row += len(rows)
        parts.append(rows)
    result = torch.cat(parts)
    assert result.shape == size
    # Averages that differ by rounding may fall on the other side of the threshold of M1.
    assert ((result - expected).abs() < 1e-4).float().mean() > 0.999


@pytest.mark.parametrize(
    'options', [{'crop_filter': 'all'}, {'crops': 'adaptive'}, {'fast': True}]
)
@pytest.mark.parametrize('start', [1, 77, 200, 349])
def test_a_later_start_gives_the_same_rows_for_less(few_rows, options, start):
    image, mask = scene(350, 200)
    calls = []

    def network(*args):
        calls.append(1)
        return refine_pass(*args)

    job = Refinement(refine_pass=network, L=96, normalize=normalize, **options)
    coarse = job.first_steps(image, mask)
    calls.clear()
    whole = torch.cat([rows for _, rows in job.last_step(image, coarse)])
    complete = len(calls)
    calls.clear()
    parts = list(job.last_step(image, coarse, start))
    assert parts[0][0] == start
    torch.testing.assert_close(
        torch.cat([rows for _, rows in parts]), whole[start:], rtol=0, atol=1e-6
    )
    assert len(calls) <= complete and (start < 200 or not calls or len(calls) < complete)


def test_rows_come_before_the_last_crop_is_read(few_rows):
    image, mask = scene(900, 120)
    sources = readers(image, mask)
    job = Refinement(refine_pass=refine_pass, L=96, normalize=normalize, crop_filter='all')
    coarse = job.first_steps(*sources)
    sources[0].reads.clear()
    rows = job.last_step(sources[0], coarse)
    while next(rows)[0] < 300:
        pass
    assert max(stop for _, stop in sources[0].reads) < 600


def test_strips_cover_and_start_at_multiples():
    found = list(strips(0, 1000, 2**22 // 100))
    assert found[0][0] == 0 and found[-1][1] == 1000
    assert all(a[1] == b[0] and b[0] % 8 == 0 for a, b in zip(found, found[1:], strict=False))
