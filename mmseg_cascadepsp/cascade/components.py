"""Divide: the connected components of a label map and their regions (paper, section 4.3)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from .geometry import Box
from .settings import FusionSettings, check_ignore_index

#: Radius of the disc that closes small gaps between the parts of a component.
RADIUS = 5


class Component(NamedTuple):
    """A part of a class that is refined on its own.

    Attributes:
        label: Its class.
        area: Its number of pixels.
        box: The region that is refined: its bounding box and a margin.
        mask: (h, w) bool, its pixels inside ``box``.

    Example:
        See :func:`divide`.
    """

    label: int
    area: int
    box: Box
    mask: np.ndarray


def check_labels(
    labels: np.ndarray,
    size: Sequence[int] | None = None,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
) -> np.ndarray:
    """Check a label map.

    Args:
        labels: (H, W), integer.
        size: (H, W) of the image. None: not known.
        num_classes: All ids except ``ignore_index`` must be below it. None: not known.
        ignore_index: Id of void pixels. None: there are none.

    Returns:
        ``labels``.

    Raises:
        InvalidTypeError: Not an integer array, or ``ignore_index`` is no integer.
        InvalidValueError: The shape is not that of the image, an id is negative or out of range,
            or pixels are masked.

    Example:
        >>> check_labels(np.array([[0, 2, 255]]), num_classes=3)
        array([[  0,   2, 255]])
    """
    check_ignore_index(ignore_index)
    if not isinstance(labels, np.ndarray):
        raise InvalidTypeError(
            f'labels must be a numpy array (H, W), got {type(labels).__name__}.'
        )
    if np.ma.is_masked(labels):
        raise InvalidValueError(
            'labels is an array with masked pixels: give them the id of void, as '
            'labels.filled(255) does.'
        )
    if labels.dtype.kind not in 'iu':
        raise InvalidTypeError(
            f'labels must be an integer array of class ids, got {labels.dtype}; '
            'for a mask use labels.astype(np.uint8).'
        )
    if labels.ndim != 2 or not labels.size:
        raise InvalidValueError(
            f'labels must have the shape (H, W) with at least one pixel, got {labels.shape}.'
        )
    if size is not None and labels.shape != tuple(size):
        raise InvalidValueError(
            f'labels must have the size of the image, {tuple(size)} (H, W), got '
            f'{labels.shape}; resize them with nearest neighbours.'
        )
    ids = [int(value) for value in np.unique(labels) if value != ignore_index]
    wrong = [
        value for value in ids if value < 0 or (num_classes is not None and value >= num_classes)
    ]
    if wrong:
        top = 'up' if num_classes is None else f'to {num_classes - 1}'
        shown = ', '.join(map(str, wrong[:5])) + (', ...' if len(wrong) > 5 else '')
        raise InvalidValueError(
            f'labels must have ids from 0 {top}, or ignore_index {ignore_index}, '
            f'got {shown}; if they start at 1 reduce them by one, or set '
            'ignore_index.'
        )
    return labels


def disc(compat: str | None = None) -> np.ndarray:
    """The disc that closes small gaps.

    Args:
        compat: ``'release'``: the disc of the authors' script, which lacks the last row and
            column. Dilating and eroding with it shifts a mask by a pixel.

    Returns:
        uint8, 11 x 11 and symmetric, or 10 x 10.

    Example:
        >>> disc().shape, disc('release').shape
        ((11, 11), (10, 10))
    """
    y, x = np.ogrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    full = (x * x + y * y <= RADIUS**2).astype(np.uint8)
    return np.ascontiguousarray(full[:-1, :-1]) if compat == 'release' else full


def region(
    bounds: Box, height: int, width: int, padding: float = 0.25, compat: str | None = None
) -> Box:
    """The box refined around a component whose bounding box is ``bounds``.

    Args:
        bounds: The bounding box, inside the image.
        height, width: Size of the image.
        padding: Growth as a share of the bounding box, half on each side.
        compat: ``'release'``: the authors' arithmetic. They take the last row and column of the
            component for exclusive ends and clip to ``side - 1``. So the last row and column of
            the image are never inside, and a component of one row has an empty region.

    Returns:
        The box, inside the image.

    Example:
        >>> region(Box(10, 10, 50, 90), 100, 100)
        Box(top=5, left=0, bottom=55, right=100)
        >>> region(Box(10, 10, 50, 90), 100, 100, compat='release')
        Box(top=5, left=0, bottom=53, right=98)
    """
    ends = []
    for start, stop, side in (
        (bounds.top, bounds.bottom, height),
        (bounds.left, bounds.right, width),
    ):
        if compat == 'release':
            grow = padding * (stop - 1 - start) / 2
            first, last = int(max(0, start - grow)), int(min(side - 1, stop - 1 + grow))
            ends.append((first, max(first, last)))
        else:
            grow = padding * (stop - start) / 2
            ends.append((math.floor(max(0, start - grow)), math.ceil(min(side, stop + grow))))
    (top, bottom), (left, right) = ends
    return Box(top, left, bottom, right)


def _bounds(mask: np.ndarray, margin: int = 0) -> Box:
    """Bounding box of a uint8 mask, grown by ``margin`` inside the array."""
    left, top, width, height = cv2.boundingRect(mask)
    rows, columns = mask.shape
    return Box(
        max(0, top - margin),
        max(0, left - margin),
        min(rows, top + height + margin),
        min(columns, left + width + margin),
    )


def divide(labels: np.ndarray, settings: FusionSettings | None = None) -> list[Component]:
    """Connected components of every class (paper, section 4.3, and the release's script).

    Each class is dilated by the :func:`disc`. Each 8-connected component of that is eroded by the
    same disc and cut by the class, so that parts a few pixels apart stay together.

    Args:
        labels: (H, W) integer.
        settings: ``ignore_index``, ``min_area``, ``padding`` and ``compat`` are read.

    Returns:
        Components, the largest first. With ``compat='release'`` they are sorted by class, then as
        OpenCV counts them. The list is empty where nothing is large enough.

    Example:
        >>> labels = np.zeros((80, 80), np.uint8)
        >>> labels[20:60, 20:60] = 7
        >>> [(part.label, part.area) for part in divide(labels)]
        [(0, 4800), (7, 1600)]
    """
    settings = settings or FusionSettings()
    min_area, compat = settings.min_area, settings.compat
    kernel = disc(compat)
    found = []
    for label in np.unique(labels):
        if label == settings.ignore_index:
            continue
        whole = (labels == label).view(np.uint8)
        if cv2.countNonZero(whole) <= min_area:
            continue
        # Twice the radius: dilated inside, and eroded as it would be in the whole image.
        frame = _bounds(whole, 2 * RADIUS)
        of_class = np.ascontiguousarray(whole[frame.slices])
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            cv2.dilate(of_class, kernel), connectivity=8
        )
        for index in range(1, count):
            left, top, width, height, area = stats[index].tolist()
            if area <= min_area:
                continue
            window = (
                slice(max(0, top - RADIUS), top + height + RADIUS),
                slice(max(0, left - RADIUS), left + width + RADIUS),
            )
            part = cv2.erode((parts[window] == index).view(np.uint8), kernel)
            if cv2.countNonZero(part) <= min_area:
                continue
            part &= of_class[window]
            if not part.any():
                continue
            tight = _bounds(part)
            offset = (frame.top + window[0].start, frame.left + window[1].start)
            bounds = Box(
                tight.top + offset[0],
                tight.left + offset[1],
                tight.bottom + offset[0],
                tight.right + offset[1],
            )
            box = region(bounds, *labels.shape, settings.padding, compat)
            # A box of the release can end before its component does, or hold nothing at all.
            if box.top == box.bottom or box.left == box.right:
                continue
            mask = np.zeros((box.bottom - box.top, box.right - box.left), bool)
            rows = slice(bounds.top - box.top, bounds.bottom - box.top)
            columns = slice(bounds.left - box.left, bounds.right - box.left)
            kept = mask[rows, columns].shape
            mask[rows, columns] = part[tight.slices][: kept[0], : kept[1]]
            found.append(Component(int(label), cv2.countNonZero(part), box, mask))
    if compat is None:
        found.sort(key=lambda component: -component.area)
    return found
