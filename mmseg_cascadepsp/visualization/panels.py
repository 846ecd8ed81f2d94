"""Masks and label maps before and after, side by side, with the place of most change enlarged."""

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError

from .drawing import (
    CYAN,
    INK,
    ORANGE,
    WHITE,
    as_mask,
    blend,
    check_pair,
    outline,
    paint_labels,
    title_strip,
)

#: (photo, before, after, thickness of lines), all of one size -> the photo, painted.
Paint = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
#: (colour, text) of what stands above a column
Words = Sequence[tuple[tuple[int, int, int], str]]
#: top, left, bottom, right
Box = tuple[int, int, int, int]

ZOOM_SHARE = 0.22
"""Longer side of the enlarged part, as a share of the photo's."""


def most_changed(before: np.ndarray, after: np.ndarray, aspect: float = 1.0) -> Box:
    """Find the window in which most pixels differ.

    Args:
        before: Mask or label map ``(H, W)``.
        after: The same, refined.
        aspect: Width of the window over its height.

    Returns:
        Top, left, bottom, right (exclusive), inside the picture. If nothing differs, the window
        is in the middle.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import most_changed
        >>> before = np.zeros((200, 300), bool)
        >>> after = before.copy()
        >>> after[50:60, 200:210] = True
        >>> most_changed(before, after)
        (21, 171, 87, 237)
    """
    height, width = before.shape
    longer = max(min(32, height, width), ZOOM_SHARE * max(height, width))
    wide, high = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    shrink = min(1.0, width / wide, height / high)
    wide, high = max(1, round(wide * shrink)), max(1, round(high * shrink))
    changed = (before != after).astype(np.uint8)
    if not changed.any():
        top, left = (height - high) // 2, (width - wide) // 2
        return top, left, top + high, left + wide
    total = cv2.integral(changed)
    sums = (
        total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    )
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    # Among windows with the same pixels inside, the one that has them in its middle.
    rows, columns = np.nonzero(changed[top : top + high, left : left + wide])
    top = int(np.clip(top + round(rows.mean()) - high // 2, 0, height - high))
    left = int(np.clip(left + round(columns.mean()) - wide // 2, 0, width - wide))
    return top, left, top + high, left + wide


def _resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To ``size`` (width, height). Labels (int32) are not mixed, photos and masks (bool) are."""
    shrinks = size[0] < array.shape[1]
    if array.dtype == np.int32:
        return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST)
    if array.dtype == bool:
        mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(array.astype(np.float32), size, interpolation=mode) > 0.5
    return cv2.resize(array, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _pale(photo: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    return blend(grey, WHITE, np.ones(grey.shape[:2], bool), 0.45)


def _paint_mask(
    photo: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], thickness: int
) -> np.ndarray:
    """The photo, dimmed outside the mask, with the mask's outline."""
    canvas = blend(photo, INK, ~mask, 0.55)
    outline(canvas, mask, colour, thickness)
    return canvas


def _paint_before(photo, before, after, line):
    return _paint_mask(photo, before, ORANGE, line)


def _paint_after(photo, before, after, line):
    return _paint_mask(photo, after, CYAN, line)


def _paint_change(photo, before, after, line):
    """The photo in pale grey, with removed and added pixels in colour."""
    canvas = blend(_pale(photo), ORANGE, before & ~after, 0.9)
    return blend(canvas, CYAN, after & ~before, 0.9)


def _paint_labels_before(photo, before, after, line, palette):
    return paint_labels(photo, before, palette)


def _paint_labels_after(photo, before, after, line, palette):
    return paint_labels(photo, after, palette)


def _paint_labels_change(photo, before, after, line, palette):
    """The photo in pale grey, with the new labels of the changed pixels in colour."""
    changed = (before != after)[..., None]
    return np.where(changed, paint_labels(photo, after, palette, 0.9), _pale(photo))


def _layout(
    shape: tuple[int, ...], count: int, width: int, gap: int
) -> tuple[tuple[int, int], tuple[int, int], bool]:
    """Size (width, height) of a panel, size of an enlarged part, and where the parts stand.

    They stand in a column beside the panels if True (upright photos), else in a row below them.
    """
    height, across = shape[:2]
    if height <= 1.1 * across:
        side = (width - (count - 1) * gap) // count
        return (side, max(round(side * height / across), 8)), (side, round(side / 1.6)), False
    tall = round(min((width - count * gap) / (count * across / height + 1 / count), width))
    side = (tall - (count - 1) * gap) // count
    return (max(round(tall * across / height), 8), tall), (side, side), True


def _join(pictures: Sequence[np.ndarray], gap: int, axis: int) -> np.ndarray:
    """Pictures in a row (``axis`` 1) or a column (0) on white, ``gap`` pixels apart."""
    across = max(picture.shape[1 - axis] for picture in pictures)
    padded = []
    for index, picture in enumerate(pictures):
        margins = [(0, 0)] * 3
        margins[axis] = (gap if index else 0, 0)
        margins[1 - axis] = (0, across - picture.shape[1 - axis])
        padded.append(np.pad(picture, margins, constant_values=255))
    return np.concatenate(padded, axis)


def _compose(
    image: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    columns: Sequence[tuple[Words, Paint]],
    width: int,
) -> np.ndarray:
    """A column for each (words, paint): the whole photo, and its place of most change."""
    if width < 64 * len(columns):
        raise InvalidValueError(f'width must be at least {64 * len(columns)} pixels, got {width}.')
    gap = max(4, width // 130)
    panel, zoom, upright = _layout(image.shape, len(columns), width, gap)
    top, left, bottom, right = most_changed(before, after, zoom[0] / zoom[1])
    scale = np.array(panel) / image.shape[1::-1]
    corners = [
        np.round(np.multiply(xy, scale)).astype(int) for xy in ((left, top), (right, bottom))
    ]
    line = max(2, round(width / 700))

    def cut(part: tuple[slice, slice], size: tuple[int, int]) -> list[np.ndarray]:
        return [_resize(array[part], size) for array in (image, before, after)]

    whole, enlarged = cut(np.s_[:, :], panel), cut(np.s_[top:bottom, left:right], zoom)
    panels, parts = [], []
    for words, paint in columns:
        canvas = paint(*whole, line)
        for shade, thickness in ((INK, line + 2), (WHITE, line)):
            cv2.rectangle(canvas, corners[0].tolist(), (corners[1] - 1).tolist(), shade, thickness)
        strip = title_strip(canvas.shape[1], words, max(11, width // 62))
        panels.append(np.concatenate((strip, canvas)))
        parts.append(paint(*enlarged, line))
    if upright:
        parts[0] = np.pad(parts[0], ((len(strip), 0), (0, 0), (0, 0)), constant_values=255)
        return _join([*panels, _join(parts, gap, 0)], gap, 1)
    return _join([_join(panels, gap, 1), _join(parts, gap, 1)], gap, 0)


def before_after(
    image: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    titles: tuple[str, str] = ('before', 'after'),
    palette: np.ndarray | None = None,
    width: int = 1600,
) -> np.ndarray:
    """Draw a mask before and after refinement, with the place of most change enlarged.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        before: ``(H, W)``: a mask (bool, 0/1, fractions or 0..255), or labels with ``palette``.
        after: ``(H, W)``: the same, refined.
        titles: Words above the two panels.
        palette: RGB uint8 ``(n, 3)``. With it ``before`` and ``after`` are label maps.
        width: Width of the picture in pixels. It is a little less for very tall photos.

    Returns:
        RGB uint8 picture.

    Raises:
        InvalidValueError: A shape is wrong, or ``width`` is too small to show anything.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import before_after
        >>> image = np.zeros((60, 80, 3), np.uint8)
        >>> mask = np.zeros((60, 80), bool)
        >>> mask[20:40, 30:60] = True
        >>> before_after(image, np.roll(mask, 3, axis=1), mask, width=600).shape[1]
        600
    """
    before, after, columns = _prepare(image, before, after, titles, palette)
    return _compose(image, before, after, columns[:2], width)


def before_after_change(
    image: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    titles: tuple[str, str] = ('before', 'after'),
    palette: np.ndarray | None = None,
    width: int = 2000,
) -> np.ndarray:
    """Draw three panels: before, after, and what changed on a pale photo.

    For masks the third panel shows added and removed pixels. For label maps it shows the new label
    of each changed pixel.

    Args:
        image: See :func:`before_after`, as for all others.
        before: Mask or label map.
        after: The same, refined.
        titles: Words above the first two panels.
        palette: Says that ``before`` and ``after`` are label maps.
        width: Width of the picture in pixels.

    Returns:
        RGB uint8 picture.

    Raises:
        InvalidValueError: A shape is wrong, or ``width`` is too small to show anything.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import before_after_change
        >>> image = np.zeros((60, 80, 3), np.uint8)
        >>> mask = np.zeros((60, 80), bool)
        >>> mask[20:40, 30:60] = True
        >>> before_after_change(image, np.roll(mask, 3, axis=1), mask, width=600).shape[1]
        599
    """
    before, after, columns = _prepare(image, before, after, titles, palette)
    return _compose(image, before, after, columns, width)


def painted_pair(
    image: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    part: Box | None = None,
    palette: np.ndarray | None = None,
    longer: int = 1200,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a mask before and after on the photo, or on a part of it, as two pictures of one size,
    such as a slider shows.

    Args:
        image, before, after: See :func:`before_after`.
        part: Top, left, bottom, right (exclusive), such as of :func:`most_changed`. None: all.
        palette: Says that ``before`` and ``after`` are label maps.
        longer: Longer side of the pictures in pixels. The whole photo is not enlarged to it.

    Returns:
        Two RGB uint8 pictures.

    Raises:
        InvalidValueError: A shape is wrong.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import painted_pair
        >>> image = np.zeros((60, 80, 3), np.uint8)
        >>> mask = np.zeros((60, 80), bool)
        >>> mask[20:40, 30:60] = True
        >>> [x.shape for x in painted_pair(image, mask, mask, (20, 30, 40, 60), longer=300)]
        [(200, 300, 3), (200, 300, 3)]
    """
    before, after, columns = _prepare(image, before, after, ('', ''), palette)
    top, left, bottom, right = part or (0, 0, *image.shape[:2])
    shape = bottom - top, right - left
    scale = longer / max(shape) if part else min(1, longer / max(shape))
    size = max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))
    cut = [_resize(array[top:bottom, left:right], size) for array in (image, before, after)]
    line = max(2, round(max(size) / 400))
    return tuple(paint(*cut, line) for _, paint in columns[:2])


def _prepare(
    image: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    titles: tuple[str, str],
    palette: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, list[tuple[Words, Paint]]]:
    """Both maps checked, and the words and the painter of each of the three columns."""
    check_pair(image, before, after)
    if palette is None:
        before, after = as_mask(before), as_mask(after)
        paints = _paint_before, _paint_after, _paint_change
        change = [(CYAN, 'added'), (ORANGE, 'removed')]
    else:
        before, after = before.astype(np.int32), after.astype(np.int32)
        paints = (
            partial(paint, palette=palette)
            for paint in (_paint_labels_before, _paint_labels_after, _paint_labels_change)
        )
        change = [(INK, 'changed')]
    words = [(ORANGE, titles[0])], [(CYAN, titles[1])], change
    return before, after, list(zip(words, paints, strict=True))
