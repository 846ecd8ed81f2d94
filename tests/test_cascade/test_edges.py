"""Whether a mask lies on the photo's edges already."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import geometry
from mmseg_cascadepsp.cascade.edges import edge_contrast, is_accurate


def scene(radius=20, blur=0.7, size=(80, 100)):
    """A disc on ground of another colour, both noisy, as a lens draws it."""
    mask = cv2.circle(np.zeros(size, np.uint8), (50, 40), radius, 1, -1).astype(bool)
    noise = np.random.RandomState(0).normal(0, 4, (*size, 3))
    sharp = np.where(mask[..., None], (150.0, 120, 60), (70, 100, 110))
    image = cv2.GaussianBlur(sharp, (0, 0), blur) + noise
    return image.clip(0, 255).astype(np.uint8), mask


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_contrast_is_what_it_says(height, width, seed):
    """Pixel by pixel: those next to the other side, and those 3 and 4 away from it."""
    random = np.random.RandomState(seed)
    image = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
    mask = np.zeros((height, width), bool)
    top, left = random.randint(height), random.randint(width)
    mask[top : top + random.randint(1, 20), left : left + random.randint(1, 20)] = True
    sides = {side: np.argwhere(mask == side) for side in (False, True)}
    smooth = np.pad(cv2.GaussianBlur(image, (0, 0), 0.8), ((1, 1), (1, 1), (0, 0)), 'edge')
    smooth = smooth.astype(float)
    gradients = {True: [], False: []}
    for y in range(height):
        for x in range(width):
            others = sides[not mask[y, x]]
            if not len(others):
                continue
            far = np.abs(others - (y, x)).max(1).min()
            near = smooth[y : y + 3, x : x + 3]
            ends = near[2, 1] - near[0, 1], near[1, 2] - near[1, 0]
            length = np.linalg.norm(ends) / 2
            if far == 1 or far in (3, 4):
                gradients[far == 1].append(length)
    expected = 1.0
    if all(gradients.values()):
        on, beside = (np.mean(gradients[key]) + 0.5 for key in (True, False))
        expected = on / beside
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, 'STRIP_PIXELS', random.choice([1, 1000]))  # rows by rows
        assert edge_contrast(image, mask) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('blur', [0.5, 1])
def test_a_boundary_on_the_edges_is_told_from_one_beside_them(blur):
    image, mask = scene(blur=blur)
    assert is_accurate(image, mask, mask)
    wrong = [np.roll(mask, 3, axis=1), scene(radius=22)[1], scene(radius=18)[1]]
    assert not any(is_accurate(image, one, mask) for one in wrong)
    assert all(is_accurate(image, mask, one) for one in wrong)  # the refiner harmed it


def test_where_the_photo_has_no_edges_nothing_is_accurate():
    image, mask = scene()
    noise = np.random.RandomState(0).randint(0, 256, image.shape).astype(np.uint8)
    for photo in (noise, np.full_like(image, 90)):
        assert not is_accurate(photo, mask, mask)
        assert not is_accurate(photo, mask, np.roll(mask, 5))
    assert edge_contrast(image, np.ones_like(mask)) == edge_contrast(image, ~mask & mask) == 1


def test_the_border_of_the_photo_is_no_boundary():
    """Half of a disc that the photo cuts is as accurate as the whole one."""
    image, mask = scene()
    assert edge_contrast(image[:, :50], mask[:, :50]) == pytest.approx(
        edge_contrast(image, mask), rel=0.15
    )


def test_what_lacks_a_large_part_is_refined_however_sharp_the_rest():
    image, mask = scene()
    other = mask[:, 20:80]
    image, truth = np.hstack([image[:, 20:80]] * 2), np.hstack([other] * 2)
    lacks = truth.copy()
    lacks[:, 60:] = False
    assert edge_contrast(image, lacks) == pytest.approx(edge_contrast(image, truth), rel=0.1)
    assert is_accurate(image, truth, truth) and not is_accurate(image, lacks, truth)
