import numpy as np
import pytest

from mmseg_cascadepsp.visualization import (
    before_after,
    before_after_change,
    default_palette,
    most_changed,
)
from mmseg_cascadepsp.visualization.drawing import CYAN, ORANGE


def scene(height, width):
    photo = np.random.default_rng(0).integers(90, 150, (height, width, 3), np.uint8)
    rows, columns = np.ogrid[:height, :width]
    after = ((rows / height - 0.5) ** 2 + (columns / width - 0.5) ** 2) < 0.1
    return photo, np.roll(after, max(1, width // 20), axis=1), after


def has(picture, colour):
    return (np.abs(picture.astype(int) - colour).max(-1) < 40).any()


@pytest.mark.parametrize('size', [(1, 1), (1, 400), (400, 1), (30, 40), (300, 200), (900, 1200)])
@pytest.mark.parametrize('make', [before_after, before_after_change])
def test_any_size(size, make):
    picture = make(*scene(*size), width=600)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert picture.shape[1] <= 600


def test_both_outlines_and_the_changes_are_seen():
    photo, before, after = scene(200, 300)
    picture = before_after(photo, before, after, width=800)
    assert has(picture[:, :390], ORANGE) and not has(picture[:, :390], CYAN)
    assert has(picture[:, 410:], CYAN) and not has(picture[:, 410:], ORANGE)
    change = before_after_change(photo, before, after, width=900)[40:, 610:]
    assert has(change, ORANGE) and has(change, CYAN)
    same = before_after_change(photo, after, after, width=900)[40:, 610:]
    assert not has(same, ORANGE) and not has(same, CYAN)


def test_masks_of_all_kinds_give_the_same_picture():
    photo, before, after = scene(100, 150)
    expected = before_after(photo, before, after, width=400)
    picture = before_after(photo, before * np.uint8(255), after * 1.0, width=400)
    np.testing.assert_array_equal(picture, expected)


def test_label_maps():
    photo, before, after = scene(100, 150)
    palette = default_palette()
    picture = before_after_change(photo, before * 5, after * 7, palette=palette, width=900)
    assert has(picture[40:, 610:], palette[7])
    assert not has(picture[40:, 610:], CYAN)
    assert before_after(photo, before * 5, after * 7, palette=palette, width=400).shape[1] == 400


@pytest.mark.parametrize('aspect', [0.3, 1, 1.6])
@pytest.mark.parametrize('place', [(3, 5), (95, 190), (50, 100), (0, 199)])
def test_the_window_holds_what_changed(aspect, place):
    before = np.zeros((100, 200), bool)
    after = before.copy()
    after[max(0, place[0] - 2) : place[0] + 3, max(0, place[1] - 2) : place[1] + 3] = True
    after[60, 20] = True  # a smaller change elsewhere
    top, left, bottom, right = most_changed(before, after, aspect)
    assert 0 <= top < bottom <= 100 and 0 <= left < right <= 200
    assert after[top:bottom, left:right].sum() >= after.sum() - 1
    if place == (50, 100):  # in the middle of the window
        assert abs((top + bottom) / 2 - 50) <= 2 and abs((left + right) / 2 - 100) <= 2


def test_without_a_change_the_window_is_in_the_middle():
    same = np.zeros((100, 200), bool)
    top, left, bottom, right = most_changed(same, same)
    assert (top + bottom, left + right) == (100, 200)


def test_bad_input():
    photo, before, after = scene(30, 40)
    with pytest.raises(ValueError, match='size of the image'):
        before_after(photo, before, after[:-1])
    with pytest.raises(ValueError, match='width must be at least 128'):
        before_after(photo, before, after, width=100)
