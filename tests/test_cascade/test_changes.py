"""How much a mask changed, and specks."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from mmseg_cascadepsp.cascade.changes import change_of, sureness_of, without_specks


def disc(row, column, radius, size=(100, 130)):
    return cv2.circle(np.zeros(size, np.uint8), (column, row), radius, 1, -1).astype(bool)


def test_change_of_known_shapes():
    old, new = disc(40, 40, 10), disc(40, 40, 15) | disc(80, 100, 4)
    change = change_of(old, new, 0.5)
    assert change.iou == pytest.approx(old.sum() / new.sum())
    assert change.parts == (1, 2) and change.sureness == 0.5
    assert change.shift == pytest.approx(np.hypot(40, 60) - 10 + 4, abs=2)


def test_sureness_is_of_what_changed_alone():
    old, new = disc(40, 40, 10), disc(40, 40, 15)
    probability = np.full(old.shape, 0.9)
    probability[new & ~old] = 0.6
    assert sureness_of(old, new, probability) == pytest.approx(0.2)
    assert sureness_of(old, old, probability) == 1


def test_specks_go_and_what_was_there_stays():
    old = disc(50, 60, 30) | disc(10, 10, 1)
    old[50, 60] = False
    new = old.copy()
    new[90, 120] = True  # a piece, and a hole, of one pixel
    new[40, 60] = False
    assert (without_specks(old, new) == old).all()
    new[70:90, 100:120] = True  # large enough to be meant
    assert without_specks(old, new)[75, 110]


def test_what_a_speck_is_goes_with_the_size_of_the_object():
    old = np.zeros((260, 260), bool)
    old[10:210, 10:210] = True  # 40,000 pixels: specks are below 20
    new = old.copy()
    new[230, 20:39] = new[240, 20:40] = True  # 19 and 20 pixels
    new[50, 20:39] = new[60, 20:40] = False
    clean = without_specks(old, new)
    assert not clean[230].any() and clean[240].sum() == 20
    assert clean[50].sum() == 200 and clean[60].sum() == 180


def test_splinters_go_and_what_is_left_of_a_thin_part_stays():
    old = disc(50, 60, 20)
    old[10, 10:40] = True  # thin
    new = disc(50, 60, 15)
    new[50, 78] = True  # a splinter of the disc
    new[10, 20:23] = new[10, 30] = True  # what is left of the thin part, in two
    expected = disc(50, 60, 15)
    expected[10, 20:23] = True
    assert (without_specks(old, new) == expected).all()


@settings(max_examples=50, deadline=None)
@given(*[arrays(bool, (9, 11)) for _ in range(2)])
def test_a_mask_without_specks_has_none_and_is_not_empty(old, new):
    clean = without_specks(old, new)
    assert clean.any() == new.any()
    assert (without_specks(old, clean) == clean).all() or not old.any()
    # Of 99 pixels a piece below 8 is a speck, unless there are no larger ones or it was there.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(clean.view(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    for label, area in enumerate(areas, 1):
        assert area >= 8 or areas.max() < 8 or (old & (labels == label)).any()
