"""Synthetic label maps with gaps, thin parts, objects at the border and small fragments."""

import numpy as np

from .toy_refiner import scene

#: (H, W) of the scenes -> L, so that regions are shrunk, enlarged and neither.
L_OF = {(180, 260): 224, (301, 413): 240, (97, 700): 500}


def street(height, width):
    """A photo of waves, (3, H, W) uint8 tensor, and labels, (H, W) int64, 1-based as ADE20K's.

    Sky (3, stuff), building (2, stuff), road (7, stuff), cars (21), a person (13) and a lamp (83).
    """
    y, x = np.mgrid[:height, :width]
    labels = np.full((height, width), 3)
    labels[y > 0.3 * height + 9 * np.sin(x / 17)] = 2
    labels[y > 0.66 * height + 5 * np.cos(x / 23)] = 7

    def ellipse(cy, cx, ry, rx):
        return ((y - cy * height) / ry) ** 2 + ((x - cx * width) / rx) ** 2 <= 1

    labels[ellipse(0.7, 0.25, 21, 34)] = 21
    labels[ellipse(0.74, 0.6, 24, 31)] = 21
    # The gap of three pixels is closed, the one of thirty is not.
    labels[:, int(0.6 * width) : int(0.6 * width) + 3] = 13
    labels[ellipse(0.55, 0.9, 32, 17)] = 13
    labels[ellipse(0.98, 0.985, 30, 40)] = 21
    labels[: int(0.8 * height), int(0.42 * width) : int(0.42 * width) + 12] = 83
    labels[ellipse(0.2, 0.12, 6, 6)] = 13
    return scene(height, width)[0], labels
