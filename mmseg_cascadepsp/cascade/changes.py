"""How much a refined mask changed, and specks that only the refiner sees."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

#: Pieces and holes that only the refiner sees are specks below this share of the object ...
SPECK_SHARE = 0.0005
#: ... or below so many pixels.
SPECK_PIXELS = 8
#: How it begins that a mask stays as it was because of ``max_change``.
TOO_MUCH = 'it would change by '
#: Objects of fewer pixels are lost where the refiner leaves ...
FEW_PIXELS = 100
#: ... less than this share of them: it can hardly see them.
LEAST_LEFT = 0.6


class Change(NamedTuple):
    """The change of an object.

    Attributes:
        iou: IoU of the old and the new mask, 0 to 1.
        shift: How far a pixel that was lost or won lies from the other mask, at most, in pixels.
        parts: Connected parts before and after.
        sureness: Mean of ``|2p - 1|`` over the pixels that were lost or won, 0 to 1: how sure the
            refiner is of the change. 1 without a change.
    """

    iou: float
    shift: float
    parts: tuple[int, int]
    sureness: float


@dataclass(frozen=True)
class RefinementReport:
    """What became of a mask.

    Attributes:
        change: What the refiner would change.
        kept: Why the mask stays as it was. Empty where it was refined.
    """

    change: Change
    kept: str = ''


def change_of(old: np.ndarray, new: np.ndarray, sureness: float = 1.0) -> Change:
    """Compare two masks of an object.

    Args:
        old, new: The masks, ``(h, w)`` bool.
        sureness: See :func:`sureness_of`.

    Example:
        >>> old, new = np.array([[1, 1, 0, 0]], bool), np.array([[1, 1, 1, 1]], bool)
        >>> change_of(old, new)
        Change(iou=0.5, shift=2.0, parts=(1, 1), sureness=1.0)
    """
    area = np.count_nonzero(old | new)
    iou = np.count_nonzero(old & new) / area if area else 1.0
    shift = max(_farthest(new & ~old, old), _farthest(old & ~new, new))
    parts = tuple(
        cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
        for mask in (old, new)
    )
    return Change(float(iou), round(shift, 2), parts, sureness)


def sureness_of(old: np.ndarray, new: np.ndarray, probability: np.ndarray) -> float:
    """How sure the refiner is of a change, see :class:`Change`.

    Args:
        old, new: The masks, ``(h, w)`` bool.
        probability: The refiner's, ``(h, w)``, 0 to 1.

    Example:
        >>> old, new = np.array([[1, 0]], bool), np.array([[1, 1]], bool)
        >>> sureness_of(old, new, np.array([[1.0, 0.75]]))
        0.5
    """
    changed = old != new
    return float(np.abs(2 * probability[changed] - 1).mean()) if changed.any() else 1.0


def lost_object(before: int, after: int) -> str:
    """Why a mask stays as it was that would lose its object, or nothing.

    Args:
        before, after: Pixels of the coarse and the refined mask. ``before`` is not 0.

    Example:
        >>> lost_object(40, 0)
        'the refiner would lose an object of 40 pixels altogether'
        >>> lost_object(40, 20)
        'the refiner would leave 20 of 40 pixels of an object'
        >>> lost_object(400, 200)
        ''
    """
    if not after:
        return f'the refiner would lose an object of {before} pixels altogether'
    if before < FEW_PIXELS and after < LEAST_LEFT * before:
        return f'the refiner would leave {after} of {before} pixels of an object'
    return ''


def reason_to_keep(old: np.ndarray, new: np.ndarray, max_change: float | None = None) -> str:
    """Why a refined mask is not taken, or nothing.

    Args:
        old, new: The masks, ``(h, w)`` bool. ``old`` is not empty.
        max_change: See :class:`~mmseg_cascadepsp.cascade.CascadeSettings`.

    Example:
        >>> reason_to_keep(np.array([[1, 0]], bool), np.array([[1, 1]], bool), max_change=0.4)
        'it would change by 0.5, more than max_change=0.4 allows'
    """
    lost = lost_object(np.count_nonzero(old), np.count_nonzero(new))
    if lost or max_change is None:
        return lost
    change = 1 - np.count_nonzero(old & new) / np.count_nonzero(old | new)
    if change <= max_change:
        return ''
    return f'{TOO_MUCH}{change:.3g}, more than max_change={max_change:g} allows'


def _farthest(pixels: np.ndarray, mask: np.ndarray) -> float:
    """The largest distance of the pixels to the mask; the longest side where it is empty."""
    if not pixels.any():
        return 0.0
    if not mask.any():
        return float(max(mask.shape))
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return float(distance[pixels].max())


def without_specks(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Take away tiny pieces and fill tiny holes that the old mask does not have.

    They are tiny below 0.05 % of the object's area, or below 8 pixels. What is left of a tiny or
    thin part of the old mask stays, a splinter of a larger one does not.

    Args:
        old: The old mask, ``(h, w)`` bool.
        new: The new mask, ``(h, w)`` bool.

    Returns:
        ``(h, w)`` bool.

    Example:
        >>> new = np.ones((20, 20), bool)
        >>> new[5, 5] = False
        >>> bool(without_specks(np.ones((20, 20), bool), new).all())
        True
    """
    result = new.copy()
    if not new.any():
        return result
    left, top, width, height = cv2.boundingRect((old | new).view(np.uint8))
    window = slice(top, top + height), slice(left, left + width)
    old, seen = old[window], result[window]
    limit = max(SPECK_PIXELS, SPECK_SHARE * np.count_nonzero(new))
    pieces = _small(seen, 8, limit, old)
    if (seen & ~pieces).any():  # they are not all that there is
        seen &= ~pieces
    seen |= _small(_holes(seen), 4, limit, _holes(old))
    return result


def _holes(mask: np.ndarray) -> np.ndarray:
    """Background that is cut off from the outside, bool."""
    ground = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, places = cv2.connectedComponents(ground, connectivity=4)
    return ((ground > 0) & (places != places[0, 0]))[1:-1, 1:-1]


def _small(mask: np.ndarray, connectivity: int, limit: float, known: np.ndarray) -> np.ndarray:
    """The connected parts below ``limit`` pixels, bool, but for the largest of a known part."""
    _, places, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=connectivity
    )
    areas = stats[:, cv2.CC_STAT_AREA]
    small = areas < limit
    small[0] = False
    touched = small[places] & known
    if touched.any():
        count, parts = cv2.connectedComponents(known.view(np.uint8), connectivity=connectivity)
        both = known & mask
        largest = np.zeros(count, areas.dtype)
        np.maximum.at(largest, parts[both], areas[places[both]])
        own = places[touched]
        small[own[areas[own] == largest[parts[touched]]]] = False
    return small[places]
