"""Sizes and boxes: padding, resizing and the crop grid. Each rule is written here alone."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

#: Pixels dropped from each side of a crop's result, but at image borders (paper, section 3.2.2).
CHIP = 16
#: Smallest crop whose grid still moves in the authors' code: by ``L // 2 - 2 * CHIP`` pixels.
MIN_L = 2 * (2 * CHIP + 1)


class Box(NamedTuple):
    """A rectangle of pixels. ``bottom`` and ``right`` are exclusive.

    Example:
        >>> Box(1, 2, 4, 6).slices
        (slice(1, 4, None), slice(2, 6, None))
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns: ``array[box.slices]`` cuts the box out of (H, W)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def relative_to(self, other: 'Box') -> 'Box':
        """The same rectangle in coordinates that start at ``other``'s upper left corner."""
        return Box(
            self.top - other.top,
            self.left - other.left,
            self.bottom - other.top,
            self.right - other.left,
        )


class Crop(NamedTuple):
    """A crop of the Local step.

    Attributes:
        outer: What the network sees of the image.
        inner: The part of it whose result is kept.

    Example:
        See :func:`crop_at`.
    """

    outer: Box
    inner: Box


def check_crop_size(L: int) -> int:
    """Check the side of the crops.

    Args:
        L: The side.

    Returns:
        ``L`` as an int.

    Raises:
        InvalidTypeError: ``L`` is no integer.
        InvalidValueError: ``L`` is below 66, where the crop grid could not move.

    Example:
        >>> check_crop_size(900)
        900
    """
    if isinstance(L, bool) or not hasattr(L, '__index__'):
        raise InvalidTypeError(
            'L must be an integer (the longer side that the network sees, 900 in the '
            f'paper), got {L!r}'
        )
    if L < MIN_L:
        raise InvalidValueError(
            f'L must be at least {MIN_L} (crops lose {CHIP} pixels at each side), got {L}'
        )
    return int(L)


def padded_size(height: int, width: int, divisor: int = 8) -> tuple[int, int]:
    """The authors' padding rule.

    If either side is not a multiple of ``divisor``, both grow to
    ``(side // divisor + 1) * divisor``. A side that is a multiple already grows then, too. The
    pyramid pooling sees the padding, so another rule would give other masks.

    Example:
        >>> padded_size(64, 64), padded_size(64, 61)
        ((64, 64), (72, 64))
    """
    if height % divisor == 0 and width % divisor == 0:
        return height, width
    return (height // divisor + 1) * divisor, (width // divisor + 1) * divisor


def pad(tensor: Tensor, value: float = 0.0, divisor: int = 8) -> Tensor:
    """Pad at the right and at the bottom to :func:`padded_size`.

    Args:
        tensor: (..., H, W).
        value: Of the new pixels: 0 for a normalised image, -1 for masks in [-1, 1].
        divisor: See :func:`padded_size`.

    Returns:
        (..., H', W').

    Example:
        >>> pad(torch.ones(1, 1, 2), -1, 2).tolist()
        [[[1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0]]]
    """
    height, width = tensor.shape[-2:]
    new_height, new_width = padded_size(height, width, divisor)
    return F.pad(tensor, (0, new_width - width, 0, new_height - height), value=value)


def resized_sides(height: int, width: int, size: int) -> tuple[int, int]:
    """Sides after :func:`resize_longer_side`: ``floor(side * factor)``, never below 1.

    Example:
        >>> resized_sides(300, 400, 200)
        (150, 200)
    """
    factor = size / max(height, width)
    return max(1, math.floor(height * factor)), max(1, math.floor(width * factor))


def resize_longer_side(tensor: Tensor, size: int, mode: str) -> Tensor:
    """Resize (C, H, W) so that its longer side is about ``size``, keeping the aspect ratio.

    Resizing goes by a scale factor, as the authors do it. Sides are ``floor(side * factor)``, so
    the longer one may miss ``size`` by one. The samples of ``bilinear`` and ``bicubic`` are placed
    by the factor, not by the ratio of the integer sides. Channels go one by one, so that a large
    uint8 photo never exists as a whole in float.

    Args:
        tensor: (C, H, W), uint8 or float.
        size: The longer side that is wanted.
        mode: ``area`` to shrink, ``bilinear`` or ``bicubic`` (not clamped) to enlarge.

    Returns:
        (C, H', W') float, values as in the input. No side is below 1, however thin the image.

    Example:
        >>> resize_longer_side(torch.tensor([[[0, 4], [0, 8]]]), 1, 'area')
        tensor([[[3.]]])
    """
    factor = size / max(tensor.shape[-2:])
    # A side that would vanish (1 x 5000 shrunk to L) can only be asked for by size.
    if min(tensor.shape[-2:]) * factor >= 1:
        target = {'scale_factor': factor}
    else:
        target = {'size': resized_sides(*tensor.shape[-2:], size)}
    if mode != 'area':
        target['align_corners'] = False
    dtype = tensor.dtype if tensor.is_floating_point() else torch.float32
    return torch.cat(
        [
            F.interpolate(channel[None, None].to(dtype), mode=mode, **target)[0]
            for channel in tensor
        ]
    )


def crop_starts(side: int, L: int, compat: str | None = None) -> tuple[int, ...]:
    """First pixels of the crops along one side of the image.

    A crop starts every ``L // 2 - 32`` pixels. The last one is shifted to lie inside, and there
    are no duplicates. Crops of less than 128 pixels would hardly advance by that (by one pixel for
    L = 66). They advance by ``L // 4``, as a crop of 128 does, except with ``compat='release'``.

    Example:
        >>> crop_starts(100, 66), len(crop_starts(100, 66, 'release'))
        ((0, 16, 32, 34), 35)
    """
    step = check_crop_size(L) // 2 - 2 * CHIP
    if compat != 'release':
        step = max(step, L // 4)
    starts = (max(0, min(index * step, side - L)) for index in range(side // step + 1))
    return tuple(dict.fromkeys(starts))


def crop_at(top: int, left: int, height: int, width: int, L: int) -> Crop:
    """The crop with this upper left corner, see :func:`crop_grid`.

    Example:
        >>> crop_at(0, 100, 300, 300, 100).inner
        Box(top=0, left=116, bottom=84, right=184)
    """
    outer = Box(top, left, min(top + L, height), min(left + L, width))
    return Crop(
        outer,
        Box(
            outer.top + CHIP * (outer.top > 0),
            outer.left + CHIP * (outer.left > 0),
            outer.bottom - CHIP * (outer.bottom < height),
            outer.right - CHIP * (outer.right < width),
        ),
    )


def crop_grid(height: int, width: int, L: int, compat: str | None = None) -> Iterator[Crop]:
    """The crops of the Local step (paper, section 3.2.2), column by column.

    All crops have the same size, L x L, or that of the image where it is smaller. From each side
    that is not a border of the image 16 pixels are chipped, and ``inner`` is the rest. The inner
    boxes cover the image.

    Args:
        height, width: Size of the image, at least 1.
        L: Side of a crop, at least 66.
        compat: ``'release'``: the authors' grid for ``L`` below 128, too, see
            :func:`crop_starts`.

    Yields:
        :class:`Crop`.

    Raises:
        InvalidValueError: ``L`` is below 66.

    Example:
        >>> [crop.outer.left for crop in crop_grid(100, 300, 100)]
        [0, 25, 50, 75, 100, 125, 150, 175, 200]
    """
    tops, lefts = (crop_starts(side, L, compat) for side in (height, width))
    for left in lefts:
        for top in tops:
            yield crop_at(top, left, height, width, L)


#: Pixels of a strip of rows. What is made at full width is made in strips of about so many.
STRIP_PIXELS = 2**22


def strips(start: int, stop: int, width: int, multiple: int = 8) -> Iterator[tuple[int, int]]:
    """Ranges of rows that cover ``start`` to ``stop``, of :data:`STRIP_PIXELS` pixels each.

    Args:
        start, stop: First row, and the row after the last.
        width: Pixels of a row.
        multiple: All ranges but the last have a multiple of so many rows.

    Yields:
        (first row, row after the last).

    Example:
        >>> list(strips(0, 20, STRIP_PIXELS // 8))
        [(0, 8), (8, 16), (16, 20)]
    """
    step = max(1, STRIP_PIXELS // width // multiple) * multiple
    for top in range(start, stop, step):
        yield top, min(top + step, stop)


def _taps(
    length: int, size: int, start: int, stop: int, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper neighbours of the samples ``start`` to ``stop``, and the upper's weight."""
    samples = torch.arange(start, stop, dtype=torch.float32)
    if align_corners:
        position = samples * ((length - 1) / (size - 1) if size > 1 else 0.0)
    else:
        position = ((samples + 0.5) * (torch.tensor(float(length)) / size) - 0.5).clamp_(min=0)
    lower = position.long().clamp_(max=length - 1)
    return lower, (lower + 1).clamp_(max=length - 1), (position - lower).clamp_(0, 1)


def resize_window(
    value: Tensor, size: tuple[int, int], box: Box, align_corners: bool = False
) -> Tensor:
    """The part ``box`` of ``F.interpolate(value, size, mode='bilinear')``, without the rest.

    Args:
        value: (1, 1, h, w) float32.
        size: (H, W) of the whole result.
        box: The part wanted, inside it.
        align_corners: As of ``F.interpolate``.

    Returns:
        (box height, box width) float32, equal but for rounding.

    Example:
        >>> resize_window(torch.tensor([[[[0.0, 1.0]]]]), (1, 4), Box(0, 1, 1, 3))
        tensor([[0.2500, 0.7500]])
    """
    top, below, down = _taps(value.shape[-2], size[0], box.top, box.bottom, align_corners)
    left, right, across = _taps(value.shape[-1], size[1], box.left, box.right, align_corners)
    first = int(top[0])
    rows = value[0, 0, first : int(below[-1]) + 1]
    rows = rows[:, left] * (1 - across) + rows[:, right] * across
    down = down[:, None]
    return rows[top - first].mul_(1 - down).add_(rows[below - first].mul_(down))
