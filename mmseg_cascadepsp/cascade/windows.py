"""Pictures that are read by rows, and resizing of a part of what is never there as a whole."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.cascade.geometry import Box, resize_longer_side, resized_sides

#: Pixels of a strip of rows: what is made at full width is made in strips of about so many.
STRIP_PIXELS = 2**22


class RowReader(Protocol):
    """A picture on a disk, or anywhere: rows come when they are asked for.

    Rows are asked for from top to bottom, first for the Global step and then for the Local step;
    a few are asked for twice.

    Attributes:
        shape: (H, W).
    """

    shape: tuple[int, int]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` (exclusive): (n, W, 3) RGB uint8 of a photo, (n, W) bool of a
        mask."""


def strips(start: int, stop: int, width: int, multiple: int = 8) -> Iterator[tuple[int, int]]:
    """Ranges of rows that cover ``start`` to ``stop``, of :data:`STRIP_PIXELS` each.

    Example:
        >>> list(strips(0, 20, STRIP_PIXELS // 8))
        [(0, 8), (8, 16), (16, 20)]
    """
    step = max(1, STRIP_PIXELS // width // multiple) * multiple
    for top in range(start, stop, step):
        yield top, min(top + step, stop)


class Picture:
    """A photo or a mask, in memory or behind a :class:`RowReader`.

    Args:
        source: (C, H, W) tensor, or a reader. Of a reader the rows that the last cut needed are
            kept, so cuts from top to bottom read each row once.
    """

    def __init__(self, source: Tensor | RowReader) -> None:
        self.source, self.in_memory = source, isinstance(source, Tensor)
        self.size: tuple[int, int] = tuple(source.shape[-2:])
        self._first, self._rows = 0, None

    def _read(self, start: int, stop: int) -> Tensor:
        rows = self.source.read(start, stop)
        rows = torch.from_numpy(rows if rows.flags.writeable else rows.copy())
        return rows[None] if rows.ndim == 2 else rows.permute(2, 0, 1)

    def cut(self, box: Box) -> Tensor:
        """(C, h, w), a view."""
        if self.in_memory:
            return self.source[(..., *box.slices)]
        if self._rows is None or not self._first <= box.top <= self._first + self._rows.shape[1]:
            self._first, self._rows = box.top, self._read(box.top, box.bottom)
        end = self._first + self._rows.shape[1]
        if end < box.bottom:  # the rows are stored as (n, W, C)
            kept, new = self._rows[:, box.top - self._first :], self._read(end, box.bottom)
            joined = torch.cat([kept.permute(1, 2, 0), new.permute(1, 2, 0)])
            self._first, self._rows = box.top, joined.permute(2, 0, 1)
        return self._rows[(..., *box.relative_to(Box(self._first, 0, 0, 0)).slices)]

    def shrink(self, side: int) -> Tensor:
        """(C, h, w) float, its longer side ``side``, by areas; equal to
        :func:`~mmseg_cascadepsp.cascade.geometry.resize_longer_side` but for rounding."""
        if self.in_memory:
            return resize_longer_side(self.source, side, 'area')
        (height, width), (new_height, new_width) = self.size, resized_sides(*self.size, side)
        # Output row i averages the rows from floor(i H / h) to ceil((i + 1) H / h).
        ends = [
            (i * height // new_height, -(-(i + 1) * height // new_height))
            for i in range(new_height)
        ]
        parts = []
        per_read = max(1, STRIP_PIXELS * new_height // (width * height))
        for first in range(0, new_height, per_read):
            group = ends[first : first + per_read]
            rows = self._read(group[0][0], group[-1][1])
            means = [
                rows[:, start - group[0][0] : stop - group[0][0]].float().mean(1)
                for start, stop in group
            ]
            averaged = torch.stack(means, dim=1)
            parts.append(F.adaptive_avg_pool2d(averaged, (len(group), new_width)))
        return torch.cat(parts, dim=1)

    def whole(self) -> Tensor:
        """(C, H, W)."""
        return self.source if self.in_memory else self._read(0, self.size[0]).contiguous()


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
        box: inside it.
        align_corners: as of ``F.interpolate``.

    Returns:
        (box height, box width) float32, equal but for rounding.
    """
    top, below, down = _taps(value.shape[-2], size[0], box.top, box.bottom, align_corners)
    left, right, across = _taps(value.shape[-1], size[1], box.left, box.right, align_corners)
    first = int(top[0])
    rows = value[0, 0, first : int(below[-1]) + 1]
    rows = rows[:, left] * (1 - across) + rows[:, right] * across
    down = down[:, None]
    return rows[top - first].mul_(1 - down).add_(rows[below - first].mul_(down))
