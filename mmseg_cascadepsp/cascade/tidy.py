"""What the network says against the coarse mask without evidence near its boundary is undone."""

import cv2
import numpy as np
import torch
from torch import Tensor

#: Logit above which a pixel belongs to a component: probabilities of 0.05 and more.
FAINT = -3.0
#: Most that the logits of a removed component may be: a probability of 0.002.
GONE = -6.0
#: Mean distance of a hole's pixels to the boundary of the coarse mask, as a share of the root of
#: the mask's area, above which the hole is filled.
DEEP = 0.2


def remove_detached(outputs: dict[int, Tensor], mask: Tensor) -> dict[int, Tensor]:
    """Remove connected components that do not touch the coarse mask.

    A network that has learnt to mend large errors now and then finds another object elsewhere,
    which is no part of this one.

    Args:
        outputs: stride -> logits (B, 1, H, W) of a pass. Components are those of the finest
            stride.
        mask: Coarse mask, (B, 1, H, W) in [-1, 1].

    Returns:
        stride -> logits, at most :data:`GONE` where a component was removed.

    Example:
        >>> logits = torch.tensor([[[[9.0, -9.0, 9.0]]]])
        >>> mask = torch.tensor([[[[1.0, -1.0, -1.0]]]])
        >>> remove_detached({1: logits}, mask)[1]
        tensor([[[[ 9., -9., -6.]]]])
    """
    finest = outputs[min(outputs)]
    logits, masks = (part.float().cpu().numpy()[:, 0] for part in (finest, mask))
    detached = np.zeros(logits.shape, bool)
    for logit, coarse, lost in zip(logits, masks, detached, strict=True):
        # Thin parts and small objects of a mask that was shrunk are faint.
        own = coarse > min(-0.9, (coarse.max() - 1) / 2)
        for level in (FAINT, 0.0):  # with its surroundings, and where a faint bridge leads to it
            pieces = ((logit > level) & ~lost).astype(np.uint8)
            count, labels = cv2.connectedComponents(pieces, connectivity=8)
            touching = np.zeros(count, bool)
            touching[labels[own]] = True
            touching[0] = True
            lost |= ~touching[labels]
    if not detached.any():
        return outputs
    lost = torch.from_numpy(detached)[:, None].to(finest.device)
    return {
        stride: torch.where(lost, value.clamp(max=GONE), value)
        for stride, value in outputs.items()
    }


def fill_deep_holes(outputs: dict[int, Tensor], mask: Tensor) -> dict[int, Tensor]:
    """Fill holes that open deep inside the coarse mask.

    A strong edge inside an object, such as a pattern of its clothes, looks like a boundary. Far
    from the boundary of the coarse mask it is more often the object's own.

    Args:
        outputs: stride -> logits (B, 1, H, W) of a pass over the whole object. Holes are those of
            the finest stride.
        mask: Coarse mask, (B, 1, H, W) in [-1, 1].

    Returns:
        stride -> logits, the sign of which is changed where a hole was filled.

    Example:
        >>> logits = torch.full((1, 1, 9, 9), 4.0)
        >>> logits[..., 4, 4] = -4
        >>> bool((fill_deep_holes({1: logits}, torch.ones(1, 1, 9, 9))[1] == 4).all())
        True
    """
    finest = outputs[min(outputs)]
    logits, masks = (part.float().cpu().numpy()[:, 0] for part in (finest, mask))
    filled = np.stack([_deep_holes(one <= 0, m > 0) for one, m in zip(logits, masks, strict=True)])
    if not filled.any():
        return outputs
    holes = torch.from_numpy(filled)[:, None].to(finest.device)
    return {stride: torch.where(holes, value.abs(), value) for stride, value in outputs.items()}


def _deep_holes(ground: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Holes that lie wholly and deep inside the old mask, bool."""
    count, labels = cv2.connectedComponents(ground.astype(np.uint8), connectivity=4)
    deep = np.ones(count, bool)
    deep[0] = False
    for other in (labels[ground & ~old], labels[[0, -1]], labels[:, [0, -1]]):
        deep[other] = False  # no hole, or not wholly inside
    if deep.any():
        # The border counts as boundary, whether the image was padded there or not.
        inside = np.pad(old.astype(np.uint8), 1)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1].ravel()
        means = np.bincount(labels.ravel(), depth, count) / np.bincount(labels.ravel())
        deep &= means > DEEP * np.sqrt(np.count_nonzero(old))
    return deep[labels]
