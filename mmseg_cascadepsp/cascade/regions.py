"""Regions around an object: what the cascade looks at where the object is small in its photo."""

import cv2
import numpy as np

from .geometry import Box

#: A region is the bounding box grown by this share of its longer side, half on each side.
PADDING = 0.5
#: Pixels that a region grows by at least on each side.
MIN_MARGIN = 4
#: Regions are looked at where the longest is at most this share of the photo's longer side. Larger
#: objects are mended further where the whole photo is seen. A single object pays for that once,
#: the many objects of a set each time: they have regions up to the second share.
SHARE, SHARE_OF_MANY = 0.25, 0.5
#: More parts than this are speckles of one object, which is looked at as a whole.
MAX_REGIONS = 16
#: Longer side that smaller regions are enlarged to.
MIN_SIDE = 448


def object_regions(mask: np.ndarray) -> list[Box]:
    """The regions around the parts of a mask.

    Every connected component has a region. Those that overlap become one.

    Args:
        mask: (H, W) bool.

    Returns:
        Boxes that do not overlap, in no order. An empty list for an empty mask.

    Example:
        >>> mask = np.zeros((100, 200), bool)
        >>> mask[40:60, 20:40] = mask[45:50, 150:160] = True
        >>> object_regions(mask)
        [Box(top=35, left=15, bottom=65, right=45), Box(top=41, left=146, bottom=54, right=164)]
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    height, width = mask.shape
    boxes = []
    for left, top, across, down, _ in stats[1:].tolist():
        grow = max(round(PADDING / 2 * max(across, down)), MIN_MARGIN)
        boxes.append(
            Box(
                max(0, top - grow),
                max(0, left - grow),
                min(height, top + down + grow),
                min(width, left + across + grow),
            )
        )
    return _merged(boxes)


def _merged(boxes: list[Box]) -> list[Box]:
    """Boxes that overlap joined, until none do."""
    found: list[Box] = []
    while boxes:
        box = boxes.pop(0)
        for other in found:
            if (
                box.top < other.bottom
                and other.top < box.bottom
                and box.left < other.right
                and other.left < box.right
            ):
                found.remove(other)
                joined = Box(
                    min(box.top, other.top),
                    min(box.left, other.left),
                    max(box.bottom, other.bottom),
                    max(box.right, other.right),
                )
                boxes.insert(0, joined)
                break
        else:
            found.append(box)
    return found


def are_small(boxes: list[Box], size: tuple[int, int], L: int, share: float = SHARE) -> bool:
    """Whether an object with these regions is small enough in its photo to be looked at in them.

    A photo that the network sees at full resolution is looked at as a whole: there a coarse mask
    that lacks parts of its object is mended further.

    Args:
        boxes: What :func:`object_regions` gives.
        size: (H, W) of the photo.
        L: Longer side that the network sees.
        share: Most that the longest region may have of the photo's longer side.

    Example:
        >>> are_small([Box(0, 0, 50, 50)], (100, 200), 90)
        True
        >>> are_small([Box(0, 0, 50, 150)], (100, 200), 90)
        False
    """
    if not boxes or len(boxes) > MAX_REGIONS or max(size) <= L:
        return False
    longest = max(max(box.bottom - box.top, box.right - box.left) for box in boxes)
    return longest <= share * max(size)
