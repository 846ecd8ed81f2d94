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


def tidy(outputs: dict[int, Tensor], mask: Tensor, is_whole: bool = True) -> dict[int, Tensor]:
    """Remove components that do not touch the coarse mask, and fill holes deep inside it.

    A network that has learnt to mend large errors now and then finds another object elsewhere,
    which is no part of this one. A strong edge inside an object, such as a pattern of its clothes,
    looks like a boundary. Far from the boundary of the coarse mask it is more often the object's
    own.

    Args:
        outputs: stride -> logits (B, 1, H, W) of a pass. Components and holes are those of the
            finest stride.
        mask: Coarse mask, (B, 1, H, W) in [-1, 1].
        is_whole: Whether the whole object is seen. A crop does not tell how deep a hole lies.

    Returns:
        stride -> logits, at most :data:`GONE` where a component was removed, and of the other
        sign where a hole was filled.

    Example:
        >>> logits = torch.tensor([[[[9.0, -9.0, 9.0]]]])
        >>> mask = torch.tensor([[[[1.0, -1.0, -1.0]]]])
        >>> tidy({1: logits}, mask)[1]
        tensor([[[[ 9., -9., -6.]]]])
        >>> logits = torch.full((1, 1, 9, 9), 4.0)
        >>> logits[..., 4, 4] = -4
        >>> bool((tidy({1: logits}, torch.ones(1, 1, 9, 9))[1] == 4).all())
        True
    """
    finest = outputs[min(outputs)]
    pairs = zip(*(part.float().cpu().numpy()[:, 0] for part in (finest, mask)), strict=True)
    found = []
    for logit, coarse in pairs:
        lost = _detached(logit, coarse)
        holes = _deep_holes((logit <= 0) | lost, coarse > 0) if is_whole else lost & False
        found.append((lost, holes))
    lost, filled = (np.stack(parts) for parts in zip(*found, strict=True))
    if lost.any():
        gone = torch.from_numpy(lost)[:, None].to(finest.device)
        outputs = {
            stride: torch.where(gone, value.clamp(max=GONE), value)
            for stride, value in outputs.items()
        }
    if filled.any():
        full = torch.from_numpy(filled)[:, None].to(finest.device)
        outputs = {
            stride: torch.where(full, value.abs(), value) for stride, value in outputs.items()
        }
    return outputs


def _detached(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Components of the logits that do not touch the coarse mask in [-1, 1], bool."""
    # Thin parts and small objects of a mask that was shrunk are faint.
    own = mask > min(-0.9, (mask.max() - 1) / 2)
    lost = np.zeros(logits.shape, bool)
    for level in (FAINT, 0.0):  # with its surroundings, and where a faint bridge leads to it
        pieces = ((logits > level) & ~lost).astype(np.uint8)
        count, labels = cv2.connectedComponents(pieces, connectivity=8)
        touching = np.zeros(count, bool)
        touching[labels[own]] = True
        touching[0] = True
        lost |= ~touching[labels]
    return lost


def _deep_holes(ground: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Holes, parts of the ground that lie wholly and deep inside the old mask, bool."""
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
