"""Whether a mask lies on the photo's edges already."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import edges, geometry
from mmseg_cascadepsp.cascade.edges import accurate_parts, edge_contrast


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


def stays(image, old, new):
    """'all', 'part' or 'none' of the old mask."""
    parts = accurate_parts(image, old, new)
    return 'all' if parts.all() else 'part' if parts.any() else 'none'


@pytest.mark.parametrize('blur', [0.5, 1])
def test_a_boundary_on_the_edges_is_told_from_one_beside_them(blur):
    image, mask = scene(blur=blur)
    assert stays(image, mask, mask) == 'all'
    for wrong in (np.roll(mask, 3, axis=1), scene(radius=22)[1], scene(radius=18)[1]):
        assert stays(image, wrong, mask) == 'none'
        assert stays(image, mask, wrong) == 'all'  # the refiner harmed it


def test_where_the_photo_has_no_edges_nothing_is_accurate():
    image, mask = scene()
    noise = np.random.RandomState(0).randint(0, 256, image.shape).astype(np.uint8)
    for photo in (noise, np.full_like(image, 90)):
        assert stays(photo, mask, mask) == stays(photo, mask, np.roll(mask, 5)) == 'none'
    assert edge_contrast(image, np.ones_like(mask)) == edge_contrast(image, ~mask & mask) == 1
    assert stays(image, ~mask & mask, ~mask & mask) == 'none'


def test_the_border_of_the_photo_is_no_boundary():
    """Half of a disc that the photo cuts is as accurate as the whole one."""
    image, mask = scene()
    assert edge_contrast(image[:, :50], mask[:, :50]) == pytest.approx(
        edge_contrast(image, mask), rel=0.15
    )


def with_limb(reach=40, row=36):
    """A body with an arm of ``reach`` pixels, and the body alone."""
    whole, body = np.zeros((2, 120, 160), np.uint8)
    for mask in (whole, body):
        cv2.rectangle(mask, (30, 20), (80, 100), 1, -1)
    cv2.rectangle(whole, (80, row), (80 + reach, row + 24), 1, -1)
    noise = np.random.RandomState(0).normal(0, 4, (*whole.shape, 3))
    sharp = np.where(whole[..., None] > 0, (150.0, 120, 60), (70, 100, 110))
    image = (cv2.GaussianBlur(sharp, (0, 0), 0.7) + noise).clip(0, 255).astype(np.uint8)
    return image, whole > 0, body > 0


def test_one_gross_error_is_mended_and_the_rest_stays():
    image, whole, body = with_limb()
    ragged = whole.copy()
    ragged[20:101, 30:32] = False  # the refiner's own outline is worse
    parts = accurate_parts(image, body, ragged)
    merged = np.where(parts, body, ragged)
    assert (merged != whole).sum() < 8 and (body != whole).sum() > 900
    # Too much, in the place of too little.
    image, _, _ = with_limb(reach=0)
    parts = accurate_parts(image, whole, body)
    assert (np.where(parts, whole, body) != body).sum() < 8


def test_a_gross_error_of_the_refiner_is_none_of_the_mask():
    image, whole, body = with_limb()
    assert stays(image, whole, body) == 'all'  # it lost the arm
    image, _, _ = with_limb(reach=0)
    assert stays(image, body, whole) == 'all'  # it saw one
    ring = body.copy()
    ring[40:80, 45:65] = False
    image[ring != body] = (70, 100, 110)
    assert stays(image, ring, body) == 'all'  # it filled a hole


def test_what_lacks_a_large_part_is_refined_however_sharp_the_rest():
    image, mask = scene()
    other = mask[:, 20:80]
    image, truth = np.hstack([image[:, 20:80]] * 2), np.hstack([other] * 2)
    lacks = truth.copy()
    lacks[:, 60:] = False
    assert edge_contrast(image, lacks) == pytest.approx(edge_contrast(image, truth), rel=0.1)
    assert stays(image, truth, truth) == 'all'
    assert (np.where(accurate_parts(image, lacks, truth), lacks, truth) == truth).all()


@pytest.mark.parametrize(
    ('before', 'after', 'shift', 'expected'),
    [
        (1.14, 1.14, 0, 'none'),  # no edges to speak of
        (1.16, 1.16, 0, 'all'),
        (1.4, 2.02, 0, 'none'),  # below 0.7 of the refined boundary's
        (1.4, 1.98, 0, 'all'),
        (1.8, 2.0, 2, 'all'),  # 0.7 + 0.8 * 0.24
        (1.7, 2.0, 2, 'none'),
    ],
)
def test_what_differs_much_is_given_up_for_less(monkeypatch, before, after, shift, expected):
    image, mask = scene(radius=10)
    moved = np.roll(mask, shift, axis=1)
    iou = (mask & moved).sum() / (mask | moved).sum()
    assert iou == pytest.approx(1 if not shift else 0.77, abs=0.01)
    contrasts = iter((before, after))
    monkeypatch.setattr(edges, 'edge_contrast', lambda *_: next(contrasts))
    assert stays(image, mask, moved) == expected


def test_a_small_object_that_would_change_much_stays_only_where_it_is_clearly_better():
    image, mask = scene(radius=5)
    assert stays(image, mask, np.roll(mask, 2, axis=1)) == 'all'
    assert stays(image, np.roll(mask, 2, axis=1), mask) == 'none'
