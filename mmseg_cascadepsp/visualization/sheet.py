"""Many small pictures on one sheet."""

from collections.abc import Sequence

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError

from .drawing import INK, title_strip


def contact_sheet(tiles: Sequence[tuple[str, np.ndarray]], width: int = 2000) -> np.ndarray:
    """Lay pictures out in rows, from left to right, each with its name above.

    Args:
        tiles: (name, RGB uint8 ``(h, w, 3)``) of each, of any sizes up to ``width``.
        width: Width of the sheet in pixels.

    Returns:
        RGB uint8 ``(H, width, 3)``.

    Raises:
        InvalidValueError: There are no tiles, or one is wider than the sheet.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import contact_sheet
        >>> tile = np.zeros((50, 80, 3), np.uint8)
        >>> contact_sheet([('a', tile), ('b', tile), ('c', tile)], width=200).shape
        (170, 200, 3)
    """
    widest = max((tile.shape[1] for _, tile in tiles), default=0)
    if not 0 < widest <= width:
        raise InvalidValueError(
            f'tiles must be one or more pictures of at most {width} pixels in width, got '
            f'{len(tiles)} of up to {widest}.'
        )
    gap, rows, left = 8, [[]], 0
    for name, tile in tiles:
        tile = np.concatenate((title_strip(tile.shape[1], [(INK, name)], 14), tile))
        if rows[-1] and left + tile.shape[1] > width:
            rows.append([])
            left = 0
        rows[-1].append((left, tile))
        left += tile.shape[1] + gap
    strips = []
    for row in rows:
        strip = np.full((max(tile.shape[0] for _, tile in row) + gap, width, 3), 255, np.uint8)
        for left, tile in row:
            strip[: tile.shape[0], left : left + tile.shape[1]] = tile
        strips.append(strip)
    return np.concatenate(strips)
