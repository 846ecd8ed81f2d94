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
    labels[y > .3 * height + 9 * np.sin(x / 17)] = 2
    labels[y > .66 * height + 5 * np.cos(x / 23)] = 7

    def ellipse(cy, cx, ry, rx):
        return ((y - cy * height) / ry)**2 + ((x - cx * width) / rx)**2 <= 1

    labels[ellipse(.7, .25, 21, 34)] = 21
    labels[ellipse(.74, .6, 24, 31)] = 21
    # The gap of three pixels is closed, the one of thirty is not.
    labels[:, int(.6 * width):int(.6 * width) + 3] = 13
    labels[ellipse(.55, .9, 32, 17)] = 13
    labels[ellipse(.98, .985, 30, 40)] = 21
    labels[:int(.8 * height), int(.42 * width):int(.42 * width) + 12] = 83
    labels[ellipse(.2, .12, 6, 6)] = 13
    return scene(height, width)[0], labels
