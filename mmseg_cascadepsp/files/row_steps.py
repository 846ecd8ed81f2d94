"""Global and Local step of a photo that is read by rows and never whole in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.cascade import (
    Box,
    CascadeSettings,
    Crop,
    Network,
    Progress,
    average,
    global_step,
    local_crops,
    refine,
    refine_crops,
    resize_window,
    resized_sides,
    run_global,
)
from mmseg_cascadepsp.cascade.geometry import STRIP_PIXELS, strips
from mmseg_cascadepsp.errors import InvalidValueError

from .arrays import check_turned
from .rows import ImageRows, MaskRows, row_ranges


def global_outputs(
    network: Network,
    photo: ImageRows,
    mask: MaskRows,
    settings: CascadeSettings,
    strides: Sequence[int],
) -> dict[int, Tensor]:
    """Global step of a photo.

    Args:
        network: The refiner.
        photo, mask: The photo and its coarse mask.
        settings: How the cascade runs.
        strides: Those wanted. They are the finest ones, and the finest alone if no Local step
            follows.

    Returns:
        stride -> (1, 1, h, w) float32 probability. If no Local step follows, the finest one has
        its final values. It has the size that the network saw, or that of the photo if that is
        smaller.

    Raises:
        InvalidValueError: The settings have no Global step, which a large photo needs.

    Example:
        See :func:`~mmseg_cascadepsp.apis.refine_file`.
    """
    last = not settings.with_local_step(photo.shape)
    if max(photo.shape) <= settings.L:  # small enough for the core
        image, whole = _whole(photo), _whole(mask)
        if last:
            probability = refine(network, image, whole, settings)
            return {network.strides[-1]: probability[None, None]}
        return global_step(network, image, whole, settings, final=strides)
    if settings.steps == 'local':
        raise InvalidValueError(
            "steps must not be 'local' for a photo refined by rows: its Local step starts "
            'from what the Global step found.'
        )
    image, whole = shrink(photo, settings.L), shrink(mask, settings.L) * 2 - 1
    return run_global(network, image, whole, settings, final=strides, last=last)


def enlarged_rows(
    probability: Tensor, shape: tuple[int, int], settings: CascadeSettings, start: int
) -> Iterator[Tensor]:
    """The result of a Global step alone, at the size of the photo.

    Args:
        probability: (1, 1, h, w), of :func:`global_outputs`.
        shape: (H, W) of the photo.
        settings: How the cascade runs.
        start: The first row that is wanted.

    Yields:
        Rows, (n, W) float32 probability.

    Example:
        See :func:`~mmseg_cascadepsp.apis.refine_file`.
    """
    if tuple(probability.shape[-2:]) == tuple(shape):
        yield probability[0, 0, start:]
        return
    corners = settings.compat == 'release'
    for top, bottom in row_ranges(shape, 4):
        if bottom > start:
            box = Box(max(top, start), 0, bottom, shape[1])
            yield resize_window(probability, shape, box, corners)


def local_rows(
    network: Network,
    photo: ImageRows,
    coarse: dict[int, Tensor],
    settings: CascadeSettings,
    start: int,
    progress: Progress,
) -> Iterator[Tensor]:
    """Local step from top to bottom.

    Args:
        network: The refiner.
        photo: The photo.
        coarse: What :func:`global_outputs` gave.
        settings: How the cascade runs.
        start: The first row that is wanted.
        progress: Called with (crops done, crops to do).

    Yields:
        Rows, (n, W) float32 probability, as soon as no crop changes them any more.

    Example:
        See :func:`~mmseg_cascadepsp.apis.refine_file`.
    """
    size = height, width = photo.shape
    finest = network.strides[-1]
    crops = local_crops(coarse, size, settings)
    todo = [crop for crop in crops if crop.inner.bottom > start]
    sums, window = _Sums(start, width), _Window(photo)

    def finished(bottom: int) -> Iterator[Tensor]:
        for top, stop in strips(sums.first, bottom, width):
            values, weight = sums.pop(stop)
            average(values, weight, coarse[finest], size, Box(top, 0, stop, width), True)
            yield values

    refined = refine_crops(network, window.cut, coarse, size, settings, todo, last=True)
    for done, (crop, outputs) in enumerate(refined, len(crops) - len(todo) + 1):
        # Few rows at a time would be copied often.
        if crop.inner.top - sums.first >= settings.L // 8:
            yield from finished(crop.inner.top)
        sums.add(crop, outputs[finest])
        progress(done, len(crops))
    yield from finished(height)


class _Sums:
    """Sums over the crops, of the rows that are not finished: a window that moves down."""

    def __init__(self, first: int, width: int) -> None:
        self.first = first
        self.values = torch.zeros(0, width)
        self.weight = torch.zeros(0, width, dtype=torch.int16)

    def _grow(self, bottom: int) -> None:
        more = (0, 0, 0, bottom - self.first - len(self.weight))
        if more[-1] > 0:
            self.values, self.weight = F.pad(self.values, more), F.pad(self.weight, more)

    def add(self, crop: Crop, output: Tensor) -> None:
        """Add the output of a crop's inner box. Rows that are finished are left out."""
        top, left, bottom, right = crop.inner
        kept = max(top, self.first)
        if kept >= bottom:
            return
        self._grow(bottom)
        where = slice(kept - self.first, bottom - self.first), slice(left, right)
        self.values[where] += output[kept - top :]
        self.weight[where] += 1

    def pop(self, bottom: int) -> tuple[Tensor, Tensor]:
        """Sums and weights of the rows up to ``bottom``, which are then finished."""
        self._grow(bottom)
        rows = bottom - self.first
        done = self.values[:rows], self.weight[:rows]
        self.values, self.weight = self.values[rows:].clone(), self.weight[rows:].clone()
        self.first = bottom
        return done


class EnlargedMask:
    """A mask that is enlarged to the size of its photo, by rows, as
    :func:`~mmseg_cascadepsp.files.arrays.resized_mask` enlarges it.

    Args:
        mask: The mask, which is read whole.
        shape: (H, W) of the photo.

    Raises:
        InvalidValueError: The mask is larger than the photo, or seems to be turned.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/mask.npy'
        >>> np.save(path, np.array([[False, True]]))
        >>> with MaskRows(path) as mask:
        ...     EnlargedMask(mask, (1, 4)).read(0, 1).tolist()
        [[False, False, True, True]]
    """

    def __init__(self, mask: MaskRows, shape: tuple[int, int]) -> None:
        name = f'mask {mask.path}'
        check_turned(name, mask.shape, shape)
        if mask.shape[0] > shape[0] or mask.shape[1] > shape[1]:
            raise InvalidValueError(
                f'{name} of {mask.shape[0]} x {mask.shape[1]} (H x W) is larger than its photo of '
                f'{shape[0]} x {shape[1]}, which is refined by rows: shrink it first.'
            )
        self.shape, self.is_empty, self.is_full = shape, mask.is_empty, mask.is_full
        self._values = torch.from_numpy(mask.soft()).float()[None, None]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows, bool ``(n, W)``."""
        box = Box(start, 0, stop, self.shape[1])
        return (resize_window(self._values, self.shape, box) > 127.5).numpy()


class _Window:
    """The rows of a photo that the last cut needed: cuts from top to bottom read each row once."""

    def __init__(self, photo: ImageRows) -> None:
        self.photo = photo
        self.first, self.rows = 0, np.empty((0, *photo.read(0, 1).shape[1:]), np.uint8)

    def cut(self, box: Box) -> Tensor:
        """(3, h, w) uint8."""
        end = self.first + len(self.rows)
        if not self.first <= box.top <= end:
            self.first, self.rows, end = box.top, self.rows[:0], box.top
        if box.bottom > end:
            new = self.photo.read(end, box.bottom)
            self.rows = np.concatenate([self.rows[box.top - self.first :], new])
            self.first = box.top
        part = self.rows[box.top - self.first : box.bottom - self.first, box.left : box.right]
        return torch.from_numpy(part).permute(2, 0, 1)


def _whole(rows: ImageRows | MaskRows) -> Tensor:
    values = torch.from_numpy(np.require(rows.read(0, rows.shape[0]), None, ['C', 'W']))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def shrink(rows: ImageRows | MaskRows, side: int) -> Tensor:
    """Shrink a photo or mask that is read by rows, by the means of areas.

    Args:
        rows: The photo or mask.
        side: The longer side that is wanted, at most that of ``rows``.

    Returns:
        (C, h, w) float32, equal to
        :func:`~mmseg_cascadepsp.cascade.resize_longer_side` with ``area`` but for rounding.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/mask.npy'
        >>> np.save(path, np.array([[False, True, True, True]]))
        >>> with MaskRows(path) as mask:
        ...     shrink(mask, 2).tolist()
        [[[0.5, 1.0]]]
    """
    (height, width), (new_height, new_width) = rows.shape, resized_sides(*rows.shape, side)
    # Output row i averages the rows from floor(i H / h) to ceil((i + 1) H / h).
    ends = [
        (i * height // new_height, -(-(i + 1) * height // new_height)) for i in range(new_height)
    ]
    parts = []
    per_read = max(1, STRIP_PIXELS * new_height // (width * height))
    for first in range(0, new_height, per_read):
        group = ends[first : first + per_read]
        values = torch.from_numpy(np.require(rows.read(group[0][0], group[-1][1]), None, 'W'))
        values = values[None] if values.ndim == 2 else values.permute(2, 0, 1)
        means = [
            values[:, start - group[0][0] : stop - group[0][0]].float().mean(1)
            for start, stop in group
        ]
        parts.append(F.adaptive_avg_pool2d(torch.stack(means, dim=1), (len(group), new_width)))
    return torch.cat(parts, dim=1)
