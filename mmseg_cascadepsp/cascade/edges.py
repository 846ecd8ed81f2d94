"""Whether a mask follows the edges of its photo already."""

import cv2
import numpy as np

from .geometry import strips

#: Why a mask that is accurate stays as it was.
ACCURATE = "its boundary lies on the photo's edges already"
#: Least contrast of a boundary that lies on edges, see :func:`edge_contrast` ...
LEAST_CONTRAST = 1.15
#: ... and least share of the refined boundary's.
LEAST_SHARE = 0.74
#: Share of the object, 1 - IoU, above which a change is no matter of edges: a limb is missing.
MOST_CHANGE = 0.25
#: Added to differences of grey levels, so that flat photos have a contrast of 1.
NOISE = 0.5
#: How far from the boundary the photo's edges are compared with those on it, pixels.
REACH = 4
#: What gradients and their blur look at beside those pixels is in view, too.
MARGIN = REACH + 4


def is_accurate(image: np.ndarray, old: np.ndarray, new: np.ndarray) -> bool:
    """Whether the old boundary lies on the photo's edges about as well as the refined one.

    A refiner redraws every boundary, and loses a little where it was right. Boundaries that
    people drew to the pixel, or that were refined before, are told from those of networks by the
    photo itself.

    Args:
        image: RGB uint8 ``(h, w, 3)``.
        old, new: The coarse and the refined mask, ``(h, w)`` bool.

    Example:
        >>> image = np.zeros((40, 60, 3), np.uint8)
        >>> image[10:30, 10:50] = 255
        >>> mask = image[..., 0] > 0
        >>> is_accurate(image, mask, mask), is_accurate(image, np.roll(mask, 3), mask)
        (True, False)
    """
    if np.count_nonzero(old & new) < (1 - MOST_CHANGE) * np.count_nonzero(old | new):
        return False
    contrast = edge_contrast(image, old)
    return contrast >= LEAST_CONTRAST and contrast >= LEAST_SHARE * edge_contrast(image, new)


def edge_contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """How much stronger the photo's edges are on the boundary of a mask than beside it.

    Args:
        image: RGB uint8 ``(h, w, 3)``.
        mask: ``(h, w)`` bool.

    Returns:
        Mean gradient of the pixels either side of the boundary, divided by that of the pixels 3
        and 4 away. 1 where the boundary lies anywhere, or where there is none.

    Example:
        >>> image = np.zeros((40, 60, 3), np.uint8)
        >>> image[10:30, 10:50] = 255
        >>> edge_contrast(image, image[..., 0] > 0) > 10
        True
    """
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    columns = slice(max(left - MARGIN, 0), left + width + MARGIN)
    sums = np.zeros((2, 2))
    bottom = min(top + height + REACH, len(mask))
    for first, last in strips(max(top - REACH, 0), bottom, columns.stop - columns.start):
        rows = slice(max(first - MARGIN, 0), last + MARGIN)
        here = slice(first - rows.start, last - rows.start)
        sums += _edges(image[rows, columns], mask[rows, columns].astype(np.uint8), here)
    (on, count), (beside, others) = sums
    if not count or not others:
        return 1.0
    return float((on / count + NOISE) / (beside / others + NOISE))


def _edges(image: np.ndarray, mask: np.ndarray, rows: slice) -> np.ndarray:
    """Sum of the gradients on the boundary and its pixels, and the same of those beside it."""
    square = np.ones((3, 3), np.uint8)
    # What lies outside of the photo is neither inside nor outside of the mask.
    smaller, larger = (
        [change(mask, square, iterations=count)[rows] for count in (1, 2, REACH)]
        for change in (cv2.erode, cv2.dilate)
    )
    on = larger[0] != smaller[0]
    beside = (larger[2] != larger[1]) | (smaller[2] != smaller[1])
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.array([_gradients(smooth, pixels, rows.start) for pixels in (on, beside)])


def _gradients(image: np.ndarray, pixels: np.ndarray, top: int) -> tuple[float, int]:
    """Sum of the lengths of the gradients of all colours, in grey levels per pixel, and count.

    ``pixels`` begin ``top`` rows below the image's first.
    """
    y, x = np.nonzero(pixels)
    y += top
    total = np.zeros(len(y), np.float32)
    for rows, columns in ((1, 0), (0, 1)):
        ends = [
            image[
                np.clip(y + step * rows, 0, image.shape[0] - 1),
                np.clip(x + step * columns, 0, image.shape[1] - 1),
            ].astype(np.float32)
            for step in (-1, 1)
        ]
        total += ((ends[1] - ends[0]) ** 2).sum(-1) / 4
    return float(np.sqrt(total).sum(dtype=np.float64)), len(y)
