"""Objects that claim the same pixels after they were refined."""

import cv2
import numpy as np

from .masks import ObjectMask, cut_out, union

#: Where two objects claim the same pixels, who is surer is seen over so many pixels (sigma).
SMOOTH = 2.0


def settle_overlaps(
    olds: list[ObjectMask], news: list[ObjectMask], probabilities: list[np.ndarray]
) -> list[ObjectMask]:
    """Where two refined objects claim a pixel that neither had before, the surer one takes it.

    Objects of which one lay in the other before, such as a wheel and its car, share pixels.

    Args:
        olds: The masks before.
        news: The masks after.
        probabilities: Of every object, ``(h, w)`` in the box of its new mask.

    Returns:
        The new masks, changed where needed. None becomes empty.

    Example:
        >>> olds = [cut_out(np.array([[1, 0, 0]])), cut_out(np.array([[0, 0, 1]]))]
        >>> news = [cut_out(np.array([[1, 1, 0]])), cut_out(np.array([[0, 1, 1]]))]
        >>> first, second = settle_overlaps(
        ...     olds, news, [np.array([[1, 0.6]]), np.array([[0.9, 1]])]
        ... )
        >>> first.mask.tolist(), second.mask.tolist()
        ([[True, False]], [[True, True]])
    """
    masks = [new.mask.copy() for new in news]
    boxes = np.array([new.box for new in news]).reshape(-1, 4)
    for i, box in enumerate(boxes):
        low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
        for j in np.flatnonzero((low < high).all(axis=1)):
            if j <= i or _nested(olds[i], olds[j]):
                continue
            shared = type(news[i].box)(*low[j].tolist(), *high[j].tolist())
            own, other = (tuple(s for s in shared.relative_to(news[k].box).slices) for k in (i, j))
            claimed = masks[i][own] & masks[j][other]
            claimed &= ~olds[i].inside(shared) & ~olds[j].inside(shared)
            if not claimed.any():
                continue
            # Smooth, or two that are equally sure would share the pixels as salt and pepper.
            lead = probabilities[i][own].astype(np.float32) - probabilities[j][other]
            surer = cv2.GaussianBlur(lead, (0, 0), SMOOTH) >= 0
            masks[i][own] &= ~(claimed & ~surer)
            masks[j][other] &= ~(claimed & surer)
    return [
        ObjectMask(new.box, mask) if mask.any() else new
        for new, mask in zip(news, masks, strict=True)
    ]


def _nested(old: ObjectMask, other: ObjectMask) -> bool:
    """Whether at least half of the smaller one lies in the larger one."""
    smaller, larger = sorted((old, other), key=lambda mask: np.count_nonzero(mask.mask))
    inside = smaller.mask & larger.inside(smaller.box)
    return 2 * np.count_nonzero(inside) >= np.count_nonzero(smaller.mask)


def give_way(
    olds: list[ObjectMask],
    news: list[ObjectMask],
    probabilities: list[np.ndarray],
    refined: list[bool],
    free: np.ndarray,
    complete: bool = False,
) -> list[ObjectMask]:
    """For maps, in which a pixel belongs to one object: who takes what another one had.

    On a ground, a pixel that an object had and still has stays its own. Where several claim what
    is free or was given up, the surer one takes it. Without a ground, the surest one takes a
    pixel, and what no refined object claims stays as it was (paper, section 4.3).

    Args:
        olds, news, probabilities: See :func:`settle_overlaps`.
        refined: Whether an object was refined. If not, its new mask is its old one.
        free: ``(H, W)`` bool, pixels of no object that everyone may take.
        complete: Whether there is no ground.

    Returns:
        The new masks. Those of refined objects overlap no other's. None becomes empty.

    Example:
        >>> olds = [cut_out(np.array([[1, 0, 0]])), cut_out(np.array([[0, 1, 1]]))]
        >>> news = [cut_out(np.array([[1, 1, 0]])), olds[1]]
        >>> sure = [np.ones((1, 2)), np.ones((1, 2))]
        >>> free = np.zeros((1, 3), bool)
        >>> give_way(olds, news, sure, [True, False], free)[0].mask.tolist()
        [[True]]
        >>> give_way(olds, news, sure, [True, False], free, complete=True)[0].mask.tolist()
        [[True, True]]
    """
    boxes = [union(old.box, new.box) for old, new in zip(olds, news, strict=True)]
    refined, kept = list(refined), set()
    while True:
        best = np.zeros(free.shape, np.float32)
        owner = np.full(free.shape, -1, np.int32)
        allowed = free.copy()
        for index, (old, new) in enumerate(zip(olds, news, strict=True)):
            held = old.mask
            if refined[index] and not complete:
                held = held & new.inside(old.box)
            allowed[old.box.slices] |= old.mask
            best[old.box.slices][held] = 0.5 if complete and index not in kept else np.inf
            owner[old.box.slices][held] = index
        for index, (new, probability) in enumerate(zip(news, probabilities, strict=True)):
            if refined[index]:
                place = new.box.slices
                takes = new.mask & allowed[place] & (probability > best[place])
                best[place][takes] = probability[takes]
                owner[place][takes] = index
        masks = [owner[box.slices] == index for index, box in enumerate(boxes)]
        lost = {i for i, mask in enumerate(masks) if olds[i].mask.any() and not mask.any()} - kept
        if not lost:
            break
        kept.add(min(lost))  # swallowed: it stays as it was
        refined[min(lost)] = False
    return [
        cut_out(mask, box.top, box.left) if own else old
        for mask, box, own, old in zip(masks, boxes, refined, olds, strict=True)
    ]
