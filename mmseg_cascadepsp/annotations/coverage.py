"""The areas of a map of ids as polygons that share their edges."""

from array import array
from itertools import chain
from typing import NamedTuple

import numpy as np

from .masks import shapely

#: A line through the middles of edges cuts a corner by so much.
CUT = 0.125**0.5


class Coverage(NamedTuple):
    """Polygons without gaps and overlaps: where two touch, both have the same points.

    Attributes:
        polygons: ``(n,)`` of Shapely, x and y in pixels, (0, 0) being the map's corner.
        values: ``(n,)`` int, the id of each.
    """

    polygons: np.ndarray
    values: np.ndarray


def coverage_of(labels: np.ndarray, void: int | None = None, tolerance: float = 0) -> Coverage:
    """Trace a map along the edges of its pixels: a polygon for every connected area.

    Args:
        labels: ``(H, W)``, uint8, int16, uint16 or int32.
        void: Id without polygons.
        tolerance: How far a simplified outline may lie off the edges of the pixels, in pixels. 0:
            every corner. An edge between two areas is simplified once, for both.

    Returns:
        The areas, whose pixels are connected by their sides.

    Example:
        >>> found = coverage_of(np.array([[1, 1, 2], [1, 1, 255]], np.uint8), void=255)
        >>> found.values.tolist(), [polygon.area for polygon in found.polygons]
        ([2, 1], [1.0, 4.0])
    """
    edges, values = _traced(labels)
    found = exact = edges.corners()
    if tolerance >= CUT:
        # Stairs become straight lines first. Shapely's tolerance is the root of an area.
        smooth = edges.middles()
        for share in (1, 0.5, 0.25):
            found = shapely.coverage_simplify(smooth, tolerance * share, simplify_boundary=False)
            if _distance(exact, found) <= tolerance:
                break
        else:
            found = exact
    kept = values != void  # its edges are simplified, too, those of the map are not
    return Coverage(found[kept], values[kept])


def meetings(labels: np.ndarray) -> np.ndarray:
    """Corners of pixels where more than two areas meet, and those of the map.

    Args:
        labels: ``(H, W)``.

    Returns:
        ``(H + 1, W + 1)`` bool.

    Example:
        >>> meetings(np.array([[1, 1], [2, 3]])).astype(int).tolist()
        [[1, 0, 1], [1, 1, 1], [1, 1, 1]]
    """
    height, width = labels.shape
    across = np.zeros((height + 1, width + 2), np.uint8)
    across[[0, -1], 1:-1] = 1
    across[1:-1, 1:-1] = labels[1:] != labels[:-1]
    down = np.zeros((height + 2, width + 1), np.uint8)
    down[1:-1, [0, -1]] = 1
    down[1:-1, 1:-1] = labels[:, 1:] != labels[:, :-1]
    found = across[:, :-1] + across[:, 1:] + down[:-1] + down[1:] > 2
    found[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    return found


class _Edges(NamedTuple):
    """Edges of pixels along rings, in order.

    Attributes:
        starts, ways: ``(n, 2)`` x and y, where each begins and where it leads.
        meets: ``(n,)`` bool, whether several areas meet where it begins.
        ring: ``(n,)`` which ring it belongs to.
        owner: ``(rings,)`` which polygon a ring belongs to.
    """

    starts: np.ndarray
    ways: np.ndarray
    meets: np.ndarray
    ring: np.ndarray
    owner: np.ndarray

    def _turns(self) -> np.ndarray:
        """Whether a ring turns, or several areas meet, where an edge begins."""
        first = np.flatnonzero(np.diff(self.ring, prepend=-1))
        before = np.roll(self.ways, 1, axis=0)
        before[first] = self.ways[np.append(first[1:], len(self.ring)) - 1]
        return (before != self.ways).any(axis=1) | self.meets

    def corners(self) -> np.ndarray:
        """Polygons with a point wherever a ring turns or several areas meet."""
        kept = self._turns()
        return self._polygons(self.starts[kept], self.ring[kept])

    def middles(self) -> np.ndarray:
        """Polygons through the middles of the edges, and where several areas meet."""
        turns = self._turns()
        first = np.flatnonzero(np.diff(self.ring, prepend=-1))
        after = np.roll(turns, -1)
        after[np.append(first[1:], len(self.ring)) - 1] = turns[first]
        points = np.stack([self.starts, self.starts + self.ways / 2], axis=1).reshape(-1, 2)
        # Neighbours leave out the same points, whichever way round they go.
        kept = np.stack([self.meets, turns | after], axis=1).ravel()
        return self._polygons(points[kept], np.repeat(self.ring, 2)[kept])

    def _polygons(self, points: np.ndarray, ring: np.ndarray) -> np.ndarray:
        return shapely.polygons(shapely.linearrings(points, indices=ring), indices=self.owner)


def _traced(labels: np.ndarray) -> tuple[_Edges, np.ndarray]:
    """The rings of all areas, and the id of each area."""
    from rasterio.features import shapes

    points, ends, owner, values = array('d'), [], [], []
    for shape, value in shapes(labels, connectivity=4):
        for ring in shape['coordinates']:
            points.extend(chain.from_iterable(ring))
            ends.append(len(points) // 2)
            owner.append(len(values))
        values.append(int(value))
    corners = np.frombuffer(points, float).reshape(-1, 2).astype(np.int32)
    steps = np.diff(corners, axis=0, append=corners[-1:])
    steps[np.array(ends, int) - 1] = 0  # to the next ring
    lengths = np.abs(steps).sum(axis=1)
    ways = np.repeat(np.sign(steps), lengths, axis=0)
    along = np.arange(len(ways)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    starts = np.repeat(corners, lengths, axis=0) + ways * along[:, None]
    number = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    meets = meetings(labels)[starts[:, 1], starts[:, 0]]
    edges = _Edges(starts, ways, meets, np.repeat(number, lengths), np.array(owner, int))
    return edges, np.array(values, int)


def _distance(exact: np.ndarray, found: np.ndarray) -> float:
    """How far the points of polygons lie off the outlines of others, at most."""
    outlines = shapely.boundary(found)
    shapely.prepare(outlines)
    points, owner = shapely.get_coordinates(exact, return_index=True)
    return float(shapely.distance(outlines[owner], shapely.points(points)).max())
