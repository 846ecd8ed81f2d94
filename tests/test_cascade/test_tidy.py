"""What the network says against the coarse mask far from its boundary is undone."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import CascadeSettings, padded_cascade
from mmseg_cascadepsp.cascade.tidy import tidy as tidied

from .toy_refiner import Toy


def reached(pieces, seeds):
    """Pixels of ``pieces`` from which a way over neighbours leads to ``seeds``, one by one."""
    todo, found = [*zip(*np.nonzero(pieces & seeds), strict=True)], np.zeros_like(pieces)
    while todo:
        y, x = todo.pop()
        if 0 <= y < pieces.shape[0] and 0 <= x < pieces.shape[1] and pieces[y, x]:
            if not found[y, x]:
                found[y, x] = True
                todo += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_what_does_not_touch_the_mask_goes(height, width, seed):
    random = np.random.RandomState(seed)
    smooth = cv2.GaussianBlur(
        random.normal(0, 30, (2, height, width)).astype(np.float32)[0], (0, 0), 1.5
    )
    logits = {
        4: torch.from_numpy(random.normal(0, 5, (1, 1, height, width))).float(),
        1: torch.from_numpy(smooth)[None, None],
    }
    mask = torch.from_numpy(random.choice([-1.0, 1.0], (height, width), p=[0.95, 0.05]))
    found = tidied(logits, mask[None, None], is_whole=False)
    own = mask.numpy() > 0
    around = reached(smooth > -3, own)
    kept = reached((smooth > 0) & around, own)
    gone = ((smooth > -3) & ~around) | ((smooth > 0) & ~kept)
    for stride, before in logits.items():
        logit = before[0, 0].numpy()
        expected = np.where(gone, np.minimum(logit, -6), logit)
        np.testing.assert_array_equal(found[stride][0, 0], expected)


def test_a_mask_that_was_shrunk_to_a_hint_is_still_touched():
    """A wire is a tenth of a pixel wide; of an object of one pixel less is left."""
    logits = torch.full((1, 1, 20, 20), -9.0)
    logits[..., 5, :] = 9
    for hint in (-0.8, -0.99):
        mask = torch.full((1, 1, 20, 20), -1.0)
        mask[..., 5, 3] = hint
        assert torch.equal(tidied({1: logits}, mask)[1], logits)
    gone = tidied({1: logits}, -torch.ones(1, 1, 20, 20))[1]
    assert gone.max() <= -6


def test_another_object_of_the_kind_is_not_taken_in():
    image, mask = -torch.ones(1, 3, 64, 256), -torch.ones(1, 1, 64, 256)
    image[..., 16:48, 16:80] = image[..., 16:48, 160:240] = 1
    mask[..., 20:48, 16:70] = 1

    def find(image, masks, strides):  # all that has the object's colour, wherever
        return dict.fromkeys(strides, image[:, :1] * 20)

    own = torch.zeros(1, 1, 64, 256, dtype=torch.bool)
    own[..., 16:48, 16:80] = True
    for share in (None, 0.5):
        for tidy, expected in ((True, own), (False, image[:, :1] > 0)):
            run = CascadeSettings(overview=share, tidy=tidy)
            found = padded_cascade(Toy(find, None), image, mask, run)[1]
            assert torch.equal(found > 0.5, expected)


def flood(mask, start):
    """The pixels of ``mask`` that ``start`` reaches over its 4 neighbours, one by one."""
    todo, found = [start], set()
    while todo:
        y, x = todo.pop()
        if (y, x) in found or not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]):
            continue
        if mask[y, x]:
            found.add((y, x))
            todo += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 20), st.integers(3, 20), st.integers(0, 2**32 - 1))
def test_holes_are_filled_where_they_are_deep(height, width, seed):
    random = np.random.RandomState(seed)
    new = random.rand(height, width) < random.choice([0.6, 0.8])
    old = np.zeros((height, width), bool)
    top, left = random.randint(height), random.randint(width)
    old[top : top + random.randint(1, 20), left : left + random.randint(1, 20)] = True
    new = reached(new, old)  # what does not touch the mask goes first
    logits = np.where(new, 3.0, -2.0).astype(np.float32)
    ground = np.argwhere(~old)
    expected = logits.copy()
    for place in zip(*np.nonzero(~new), strict=True):
        hole = np.array(sorted(flood(~new, place)))
        is_open = (hole == 0).any() or (hole == (height - 1, width - 1)).any()
        if is_open or not old[tuple(hole.T)].all() or not len(ground):
            continue
        far = [np.hypot(*(ground - one).T).min() for one in hole]
        if abs(np.mean(far) / np.sqrt(old.sum()) - 0.2) < 0.02:
            return  # OpenCV's distances are good to 2 %
        if np.mean(far) > 0.2 * np.sqrt(old.sum()):
            expected[place] = 2
    mask = torch.from_numpy(np.where(old, 1.0, -1.0))[None, None]
    outputs = {1: torch.from_numpy(logits)[None, None], 4: torch.ones(1, 1, height, width)}
    found = tidied(outputs, mask)
    np.testing.assert_array_equal(found[1][0, 0], expected)
    assert (found[4] == 1).all()


@pytest.mark.parametrize(('tidy', 'given_'), [(True, False), (True, True), (False, False)])
def test_the_global_step_fills_deep_holes_and_crops_do_not(tidy, given_):
    mask = -torch.ones(1, 1, 64, 64)
    mask[..., 8:56, 8:56] = 1
    says = mask.clone()
    says[..., 28:36, 28:36] = -1  # a pattern of a dress
    says[..., 10:12, 28:36] = -1  # a gap at its boundary

    def network(image, masks, strides):
        return dict.fromkeys(strides, says[..., : image.shape[2], : image.shape[3]] * 9)

    given = dict.fromkeys((8, 4), mask) if given_ else None
    run = CascadeSettings(tidy=tidy)
    found = padded_cascade(Toy(network, None), torch.zeros(1, 3, 64, 64), mask, run, given)[1]
    expected = says > 0
    if tidy and not given_:
        expected[..., 28:36, 28:36] = True
    assert torch.equal(found > 0.5, expected)


@pytest.mark.parametrize('height', [63, 64])  # with a row of padding, and without
def test_a_hole_near_the_border_is_as_deep_with_padding(height):
    mask = -torch.ones(1, 1, height, 64)
    mask[..., 20:, 8:56] = 1
    says = mask.clone()
    says[..., height - 9 : height - 3, 28:36] = -1

    def network(image, masks, strides):
        padded = -torch.ones_like(masks[:, :1])
        padded[..., :height, :64] = says
        return dict.fromkeys(strides, padded * 9)

    run = CascadeSettings(tidy=True)
    found = padded_cascade(Toy(network, None), torch.zeros(1, 3, height, 64), mask, run)[1]
    assert torch.equal(found > 0.5, says > 0)
