"""Removal of connected components that do not touch the coarse mask."""

import cv2
import numpy as np
import torch
from torch import Tensor

#: Logit above which a pixel belongs to a component: probabilities of 0.05 and more.
FAINT = -3.0
#: Most that the logits of a removed component may be: a probability of 0.002.
GONE = -6.0


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
