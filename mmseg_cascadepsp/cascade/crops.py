"""Crops that follow the boundary, in place of the grid over the whole image.

The grid of the paper covers most pixels four times. Only pixels near the boundary of the mask need
the Local step. Here a few crops are laid so that each boundary pixel is well inside one of them.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from .geometry import CHIP, Box, Crop, crop_at, crop_grid, strips

#: Side of the squares in which the boundary is marked.
CELL = 8


def context(L: int) -> int:
    """The least distance of a boundary pixel to those sides of its crop that are no image border.

    The refined boundary can move by so much, and the network sees what is there.

    Args:
        L: Side of the crop.

    Returns:
        Pixels.

    Example:
        >>> context(900)
        112
    """
    return max(CHIP, L // 8)


def boundary_cells(hard: Callable[[int, int], Tensor], height: int, width: int) -> np.ndarray:
    """Where the boundary of a mask is.

    Args:
        hard: Gives rows of the mask: (first row, row after the last) -> (n, width) bool.
        height, width: Size of the mask.

    Returns:
        (ceil(height / 8), ceil(width / 8)) bool. A cell of 8 x 8 pixels is True if one of its
        pixels differs from a neighbour above, below, left or right.

    Example:
        >>> import torch
        >>> mask = torch.zeros(16, 16, dtype=torch.bool)
        >>> mask[10:, 10:] = True
        >>> boundary_cells(lambda first, after: mask[first:after], 16, 16)
        array([[False, False],
               [False,  True]])
    """
    cells = np.zeros((-(-height // CELL), -(-width // CELL)), bool)
    for start, stop in strips(0, height, width, CELL):
        rows = hard(start, min(stop + 1, height)).numpy()  # one more: the next strip's first
        marked = np.zeros(rows.shape, bool)
        down, right = rows[1:] != rows[:-1], rows[:, 1:] != rows[:, :-1]
        marked[1:] |= down
        marked[:-1] |= down
        marked[:, 1:] |= right
        marked[:, :-1] |= right
        found = np.logical_or.reduceat(marked, np.arange(0, len(rows), CELL), axis=0)
        found = np.logical_or.reduceat(found, np.arange(0, width, CELL), axis=1)
        cells[start // CELL : start // CELL + len(found)] |= found
    return cells


def _range(first: np.ndarray, last: np.ndarray, side: int, L: int, margin: int) -> tuple:
    """Lowest and highest start of a crop along an axis whose core holds ``first`` to ``last``."""
    most = side - min(L, side)
    return np.clip(last + margin - L, 0, most), np.clip(first - margin, 0, most)


def _core(start: np.ndarray, side: int, L: int, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of a crop along an axis that is far enough from its ends."""
    lower = np.where(start == 0, 0, start + margin)
    return lower, np.where(start + L >= side, side, start + L - margin)


def _sweep(
    first: np.ndarray, last: np.ndarray, size: np.ndarray, L: int, margin: int
) -> list[np.ndarray]:
    """Cover cells from top to bottom.

    The topmost cell that is not covered yet lies at the top of the next crop's core. The core is
    moved sideways to where it covers most cells.

    Args:
        first, last: (n, 2), top left and bottom right of the cells.
        size: (2,), size of the image.
        L: Side of the crops.
        margin: See :func:`context`.

    Returns:
        For each crop, the indices of the cells that it covers first.
    """
    left = np.lexsort((first[:, 1], first[:, 0]))
    groups = []
    while len(left):
        top = _range(*(value[left[0], 0] for value in (first, last)), size[0], L, margin)[1]
        band = left[last[left, 0] <= _core(top, size[0], L, margin)[1]]
        x0, x1 = first[band, 1], last[band, 1]
        lowest, highest = _range(x0[0], x1[0], size[1], L, margin)
        starts = np.unique(np.append(np.clip(x0 - margin, lowest, highest), (lowest, highest)))
        lower, upper = _core(starts, size[1], L, margin)
        covered = np.searchsorted(np.sort(x1), upper, 'right')
        covered -= np.searchsorted(np.sort(x0), lower, 'left')
        lower, upper = (ends[covered.argmax()] for ends in (lower, upper))
        own = band[(x0 >= lower) & (x1 <= upper)]
        groups.append(own)
        left = np.setdiff1d(left, own, assume_unique=True)
        left = left[np.lexsort((first[left, 1], first[left, 0]))]
    return groups


def adaptive_crops(cells: np.ndarray, height: int, width: int, L: int) -> list[Crop]:
    """A few crops that cover the boundary of a mask.

    Greedy sweeps start from each of the four sides of the image. The one of fewest crops is taken,
    and each crop is centred on what it covers.

    Args:
        cells: See :func:`boundary_cells`.
        height, width: Size of the image.
        L: Side of a crop, at least 66.

    Returns:
        Crops as of :func:`~mmseg_cascadepsp.cascade.geometry.crop_grid`, from top to bottom. Each
        cell of the boundary is inside one and :func:`context` away from its sides. Where that
        takes more crops than the grid has on the boundary, it is the whole grid.

    Example:
        >>> cells = np.zeros((100, 100), bool)
        >>> cells[50, 40:60] = True
        >>> [crop.outer for crop in adaptive_crops(cells, 800, 800, 400)]
        [Box(top=204, left=200, bottom=604, right=600)]
    """
    size, margin = np.array((height, width)), context(L)
    first = np.argwhere(cells) * CELL
    last = np.minimum(first + CELL, size)
    best = None
    for flip in (False, True):
        for axes in ((0, 1), (1, 0)):
            lower, upper = (size - last, size - first) if flip else (first, last)
            found = _sweep(lower[:, axes], upper[:, axes], size[list(axes)], L, margin)
            if best is None or len(found) < len(best):
                best = found
    grid = list(crop_grid(height, width, L))
    if len(best) > sum(_holds_boundary(cells, crop.outer, height, width) for crop in grid):
        return sorted(grid)
    crops = []
    for own in best:
        starts = [
            sum(_range(first[own, axis].min(), last[own, axis].max(), size[axis], L, margin)) // 2
            for axis in (0, 1)
        ]
        crops.append(crop_at(int(starts[0]), int(starts[1]), height, width, L))
    return sorted(crops)


def _holds_boundary(cells: np.ndarray, box: Box, height: int, width: int) -> bool:
    """Whether a marked cell and the pixels around it are in the box: both values then are."""
    ranges = []
    for start, stop, side in ((box.top, box.bottom, height), (box.left, box.right, width)):
        first = 0 if start == 0 else -(-(start + 1) // CELL)
        ranges.append(slice(first, -(-stop // CELL) if stop == side else (stop - 1) // CELL))
    return bool(cells[tuple(ranges)].any())
