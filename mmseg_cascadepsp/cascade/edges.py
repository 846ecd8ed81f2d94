"""Where a mask follows the edges of its photo already."""

import cv2
import numpy as np

from .geometry import strips

#: Why a mask that is accurate stays as it was.
ACCURATE = "its boundary lies on the photo's edges already"
#: Least contrast of a boundary that lies on edges, see :func:`edge_contrast` ...
LEAST_CONTRAST = 1.15
#: ... and least share of the refined boundary's, where both are nearly the same ...
LEAST_SHARE = 0.7
#: ... and how much more for each 1 of 1 - IoU: what differs much is given up for less.
SHARE_PER_CHANGE = 0.8
#: A change into which a square of so many pixels fits is judged by itself: a limb is missing.
WIDE = 17
#: Share of the refined boundary's edges there below which the old one gives way.
WIDE_SHARE = 0.8
#: Added to differences of grey levels, so that flat photos have a contrast of 1.
NOISE = 0.5
#: How far from the boundary the photo's edges are compared with those on it, pixels.
REACH = 4
#: What gradients and their blur look at beside those pixels is in view, too.
MARGIN = REACH + 4

_NEIGHBOURS = np.ones((3, 3), np.uint8)


def accurate_parts(image: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Where the old mask stays, since its boundary is as accurate as the refined one's.

    A refiner redraws every boundary, and loses a little where it was right. Boundaries that
    people drew to the pixel, or that were refined before, are told from those of networks by the
    photo itself: its edges lie on them. One gross error on such a mask, as a lost limb, is told
    by the edges there.

    Args:
        image: RGB uint8 ``(h, w, 3)``.
        old, new: The coarse and the refined mask, ``(h, w)`` bool.

    Returns:
        ``(h, w)`` bool: all False where the old boundary as a whole is not accurate. Otherwise
        True but for wide changes to which the photo's edges lead.

    Example:
        >>> image = np.zeros((40, 60, 3), np.uint8)
        >>> image[10:30, 10:50] = 255
        >>> mask = image[..., 0] > 0
        >>> bool(accurate_parts(image, mask, mask).all())
        True
        >>> bool(accurate_parts(image, np.roll(mask, 3), mask).any())
        False
    """
    stays = np.zeros(old.shape, bool)
    window = _window(old | new)
    image, old, new = image[window], old[window], new[window]
    square = np.ones((WIDE, WIDE), np.uint8)
    core = cv2.erode((old != new).view(np.uint8), square, borderValue=0)
    wide = cv2.dilate(core, np.ones((WIDE + REACH, WIDE + REACH), np.uint8))
    union = np.count_nonzero(old | new)
    change = np.count_nonzero((old != new) & (wide == 0)) / union if union else 0.0
    contrast = edge_contrast(image, old, wide)
    share = LEAST_SHARE + SHARE_PER_CHANGE * change
    if contrast >= LEAST_CONTRAST and contrast >= share * edge_contrast(image, new, wide):
        stays[:] = True
        if wide.any():
            stays[window] = ~_mended(image, old, new, wide)
    return stays


def edge_contrast(image: np.ndarray, mask: np.ndarray, without: np.ndarray | None = None) -> float:
    """How much stronger the photo's edges are on the boundary of a mask than beside it.

    Args:
        image: RGB uint8 ``(h, w, 3)``.
        mask: ``(h, w)`` bool.
        without: ``(h, w)`` uint8: what is above 0 is left out. None: nothing is.

    Returns:
        Mean gradient of the pixels either side of the boundary, divided by that of the pixels 3
        and 4 away. 1 where the boundary lies anywhere, or where there is none.

    Example:
        >>> image = np.zeros((40, 60, 3), np.uint8)
        >>> image[10:30, 10:50] = 255
        >>> edge_contrast(image, image[..., 0] > 0) > 10
        True
    """
    window = _window(mask)
    image, mask = image[window], mask[window].view(np.uint8)
    sums = np.zeros((2, 2))
    for first, last in strips(0, *mask.shape):
        rows = slice(max(first - MARGIN, 0), last + MARGIN)
        here = slice(first - rows.start, last - rows.start)
        smooth = cv2.GaussianBlur(image[rows], (0, 0), 0.8)
        # What lies outside of the photo is neither inside nor outside of the mask.
        smaller, larger = (
            [change(mask[rows], _NEIGHBOURS, iterations=count)[here] for count in (1, 2, REACH)]
            for change in (cv2.erode, cv2.dilate)
        )
        on = larger[0] != smaller[0]
        beside = (larger[2] != larger[1]) | (smaller[2] != smaller[1])
        for place, pixels in enumerate((on, beside)):
            if without is not None:
                pixels &= without[window][first:last] == 0
            y, x = np.nonzero(pixels)
            sums[place] += _gradients(smooth, y + here.start, x).sum(dtype=np.float64), len(y)
    (on, count), (beside, others) = sums
    if not count or not others:
        return 1.0
    return float((on / count + NOISE) / (beside / others + NOISE))


def _mended(image: np.ndarray, old: np.ndarray, new: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """The parts of ``wide`` (uint8) in which the refined boundary has the stronger edges, bool."""
    count, parts = cv2.connectedComponents(wide, connectivity=8)
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    ours, theirs = (
        cv2.dilate(mask.view(np.uint8), _NEIGHBOURS) != cv2.erode(mask.view(np.uint8), _NEIGHBOURS)
        for mask in (old, new)
    )

    def means(pixels: np.ndarray) -> np.ndarray:
        y, x = np.nonzero(pixels)
        numbers = np.bincount(parts[y, x], minlength=count)
        sums = np.bincount(parts[y, x], _gradients(smooth, y, x), count)
        return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)

    before, after = means(ours & ~theirs), means(theirs & ~ours)
    # What vanishes has no boundary any more: it is held against the rest.
    after[np.isnan(after)] = np.append(_gradients(smooth, *np.nonzero(theirs)), 0).mean()
    mended = ~(before >= WIDE_SHARE * after)  # nor has what is new an old one
    mended[0] = False
    return mended[parts]


def _gradients(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Lengths of the gradients of all colours at some pixels, in grey levels per pixel."""
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
    return np.sqrt(total)


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a mask and what is compared around it. All of it, where it is empty."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return slice(None), slice(None)
    rows, columns = (
        slice(max(start - MARGIN, 0), start + length + MARGIN)
        for start, length in ((top, height), (left, width))
    )
    return rows, columns
