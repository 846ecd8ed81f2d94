"""Masks of objects, and how outlines and run lengths become masks and masks become them.

One outline gives other pixels in other readers. pycocotools takes the corners of a polygon as
corners of pixels (edges), OpenCV's ``fillPoly`` and Pillow's ``ImageDraw`` as centres of pixels
that belong to the object. :func:`outlines` traces for the reader that is named.
"""

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmseg_cascadepsp.cascade import Box
from mmseg_cascadepsp.errors import InvalidValueError, MissingPackageError

try:
    import shapely
    from pycocotools import mask as coco_masks
except ImportError:
    shapely = coco_masks = None

#: Who reads an outline: pycocotools (and CVAT), OpenCV (YOLO's trainers), Pillow (LabelMe).
READERS = ('pycocotools', 'opencv', 'pillow')
#: A simplified outline that costs more IoU than this is simplified less.
MAX_COST = 0.02


def require_packages() -> None:
    """Say what is missing before the work.

    Raises:
        MissingPackageError: pycocotools or shapely is not installed.

    Example:
        >>> require_packages()
    """
    if coco_masks is None:
        raise MissingPackageError(
            'annotation sets need pycocotools and shapely: '
            'pip install "mmseg_cascadepsp[annotations]" brings them.'
        )


class ObjectMask(NamedTuple):
    """The pixels of an object.

    Attributes:
        box: A part of the photo with all of them.
        mask: ``(h, w)`` bool inside ``box``.
    """

    box: Box
    mask: np.ndarray

    def inside(self, box: Box) -> np.ndarray:
        """The part of the object in another box, bool.

        Example:
            >>> ObjectMask(Box(1, 1, 2, 3), np.ones((1, 2), bool)).inside(Box(0, 0, 2, 2)).tolist()
            [[False, False], [False, True]]
        """
        result = np.zeros((box.bottom - box.top, box.right - box.left), bool)
        top, bottom = max(box.top, self.box.top), min(box.bottom, self.box.bottom)
        left, right = max(box.left, self.box.left), min(box.right, self.box.right)
        if top < bottom and left < right:
            own = self.mask[
                top - self.box.top : bottom - self.box.top,
                left - self.box.left : right - self.box.left,
            ]
            result[top - box.top : bottom - box.top, left - box.left : right - box.left] = own
        return result

    def whole(self, size: tuple[int, int]) -> np.ndarray:
        """The object in its photo of ``size`` (H, W), bool."""
        return self.inside(Box(0, 0, *size))


def cut_out(mask: np.ndarray, top: int = 0, left: int = 0) -> ObjectMask:
    """An object of a mask, in its bounding box.

    Args:
        mask: ``(H, W)``, bool or 0/1.
        top, left: Where the mask lies in the photo.

    Example:
        >>> cut_out(np.array([[0, 0], [0, 1]])).box
        Box(top=1, left=1, bottom=2, right=2)
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = mask[y : y + height, x : x + width] != 0
    return ObjectMask(Box(top + y, left + x, top + y + height, left + x + width), part)


def union(box: Box, other: Box) -> Box:
    """The box around two boxes.

    Example:
        >>> union(Box(0, 1, 2, 3), Box(1, 0, 4, 2))
        Box(top=0, left=0, bottom=4, right=3)
    """
    return Box(
        min(box.top, other.top),
        min(box.left, other.left),
        max(box.bottom, other.bottom),
        max(box.right, other.right),
    )


def encode_rle(mask: ObjectMask, size: tuple[int, int]) -> dict:
    """Compressed run lengths, as pycocotools writes them.

    Example:
        >>> encode_rle(cut_out(np.array([[0, 1]])), (1, 2))
        {'size': [1, 2], 'counts': '11'}
    """
    rle = coco_masks.encode(np.asfortranarray(mask.whole(size), np.uint8))
    return {'size': list(size), 'counts': rle['counts'].decode('ascii')}


def decode_rle(rle: dict) -> ObjectMask:
    """The mask of compressed or uncompressed run lengths.

    Raises:
        InvalidValueError: They are no run lengths of their size.

    Example:
        >>> decode_rle({'size': [1, 2], 'counts': [1, 1]}).box
        Box(top=0, left=1, bottom=1, right=2)
    """
    try:
        height, width = (int(side) for side in rle['size'])
        counts = rle['counts']
        if isinstance(counts, list):
            if min(counts, default=0) < 0 or sum(counts) != height * width:
                raise ValueError(f'the counts sum up to {sum(counts)}')
            rle = coco_masks.frPyObjects(
                {'size': [height, width], 'counts': counts}, height, width
            )
        return cut_out(coco_masks.decode(rle))
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        raise InvalidValueError(f'run lengths cannot be read: {error}.') from error


def run_lengths(flat: np.ndarray) -> list[int]:
    """Lengths of the runs of 0 and 1 in turn, zeros first.

    Example:
        >>> run_lengths(np.array([1, 1, 0]))
        [0, 2, 1]
    """
    flat = np.asarray(flat, np.int8)
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=2))
    return np.diff(ends, prepend=0).tolist()


def draw(rings: list[np.ndarray], size: tuple[int, int], reader: str) -> np.ndarray:
    """The pixels of polygons, by the rule of a reader.

    Args:
        rings: Each ``(n, 2)``, x and y. The object is their union.
        size: (H, W) of the photo.
        reader: One of :data:`READERS`.

    Returns:
        ``(H, W)`` bool.

    Raises:
        InvalidValueError: A ring has too few points, or a coordinate is no finite number.

    Example:
        >>> square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]])
        >>> [int(draw([square], (4, 4), reader).sum()) for reader in READERS]
        [4, 9, 9]
    """
    for ring in rings:
        if len(ring) < 3 or not np.isfinite(ring).all():
            raise InvalidValueError(
                f'a polygon needs three points of finite numbers, got {len(ring)} points.'
            )
        if np.abs(ring).max() > 10 * max(size) + 1000:  # pycocotools walks all the way
            raise InvalidValueError(f'a polygon has points far outside of its photo of {size}.')
    if reader == 'pycocotools':
        found = coco_masks.frPyObjects([np.ravel(ring).tolist() for ring in rings], *size)
        return coco_masks.decode(coco_masks.merge(found)).astype(bool)
    result = np.zeros(size, np.uint8)
    for ring in rings:
        if reader == 'opencv':  # as ultralytics: cut to integers
            cv2.fillPoly(result, [np.asarray(ring).astype(np.int32)], 1)
        else:  # as labelme.utils.shape_to_mask
            picture = Image.fromarray(result)
            ImageDraw.Draw(picture).polygon([tuple(p) for p in ring.tolist()], 1, 1)
            result = np.array(picture)
    return result.astype(bool)


def _edge_rings(mask: np.ndarray) -> list[list[np.ndarray]]:
    """Rings along the edges of pixels: of every part the outer one, then those of its holes."""
    padded = np.pad(mask.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    merged = shapely.union_all(shapely.box(starts, rows, ends, rows + 1))
    # Runs leave points on straight edges; a tolerance of 0 takes them away.
    merged = shapely.simplify(merged, 0)
    return [
        [np.asarray(ring.coords, float)[:-1] for ring in (part.exterior, *part.interiors)]
        for part in shapely.get_parts(merged)
    ]


def _centre_rings(mask: np.ndarray) -> list[list[np.ndarray]]:
    """As :func:`_edge_rings`, through the centres of the object's outermost pixels."""
    contours, tree = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    parts: dict[int, list[np.ndarray]] = {}
    for inner in (False, True):  # outer rings first
        for index, contour in enumerate(contours):
            above = int(tree[0, index, 3])
            if (above >= 0) == inner:
                parts.setdefault(above if inner else index, []).append(contour[:, 0].astype(float))
    return list(parts.values())


def joined(rings: list[np.ndarray]) -> np.ndarray:
    """Rings as one, joined by bridges without width there and back.

    The nearest ring is joined first, so a bridge to a hole runs inside the object.

    Args:
        rings: Each ``(n, 2)``. The largest part's outer ring is the first.

    Returns:
        ``(m, 2)``.

    Example:
        >>> joined([np.zeros((3, 2)), np.ones((3, 2))]).shape
        (8, 2)
    """
    whole, rest = rings[0], list(rings[1:])
    # Squared distances of every point of a ring to the nearest point of the whole.
    nearest = [_nearest(ring, whole) for ring in rest]
    while rest:
        index = min(range(len(rest)), key=lambda i: nearest[i][0])
        ring, (_, own, point) = rest.pop(index), nearest.pop(index)
        at = int(np.flatnonzero((whole == point).all(axis=1))[0])
        turned = np.roll(ring, -own, axis=0)
        whole = np.concatenate([whole[: at + 1], turned, turned[:1], whole[at:]])
        for i, other in enumerate(rest):
            nearest[i] = min(nearest[i], _nearest(other, ring), key=lambda found: found[0])
    return whole


def _nearest(ring: np.ndarray, whole: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Squared distance, index into ``ring`` and point of ``whole``, of the nearest two points."""
    squares = ((ring[:, None] - whole[None]) ** 2).sum(axis=-1)
    own, other = np.unravel_index(squares.argmin(), squares.shape)
    return float(squares[own, other]), int(own), whole[other]


def _midpoints(ring: np.ndarray) -> np.ndarray:
    """The middle of every pixel's edge along a ring: stairs become straight lines."""
    steps = np.roll(ring, -1, axis=0) - ring
    lengths = np.abs(steps).sum(axis=1).astype(int)
    places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 0.5
    ways = np.repeat(np.sign(steps), lengths, axis=0)
    return np.repeat(ring, lengths, axis=0) + ways * places[:, None]


def has_holes(mask: ObjectMask) -> bool:
    """Whether an object has a hole: background that its pixels keep from all other background.

    Example:
        >>> has_holes(cut_out(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])))
        True
    """
    ground = np.pad(~mask.mask, 1, constant_values=True).astype(np.uint8)
    return cv2.connectedComponents(ground, connectivity=4)[0] > 2


def outlines(mask: ObjectMask, reader: str) -> list[list[np.ndarray]]:
    """Trace a mask for the reader of a format, every corner of it.

    Args:
        mask: The object, not empty.
        reader: One of :data:`READERS`.

    Returns:
        A list of rings for every part of the object: the outer one, then those of its holes, each
        float ``(n, 2)``, x and y. The largest part is the first.

    Example:
        >>> square = cut_out(np.ones((2, 2)))
        >>> [float(outlines(square, reader)[0][0].max()) for reader in READERS]
        [2.0, 1.0, 1.0]
    """
    parts = (_edge_rings if reader == 'pycocotools' else _centre_rings)(mask.mask)
    offset = (mask.box.left, mask.box.top)
    parts = [
        # One or two pixels have a ring of so many centres, which no reader takes.
        [np.resize(ring, (max(len(ring), 3), 2)) + offset for ring in rings]
        for rings in parts
    ]
    return sorted(parts, key=lambda rings: -np.ptp(rings[0], axis=0).prod())


def _simplified(ring: np.ndarray, reader: str, tolerance: float) -> np.ndarray:
    """A ring with fewer points, at most ``tolerance`` pixels off."""
    if not tolerance or len(ring) < 4:
        return ring
    fine = _midpoints(ring) if reader == 'pycocotools' else ring
    short = cv2.approxPolyDP(fine.astype(np.float32)[:, None], tolerance, True)[:, 0]
    # The middles of a rectangle's edges are more points than its corners.
    return short.astype(float) if 3 <= len(short) < len(ring) else ring


def best_rings(
    mask: ObjectMask, size: tuple[int, int], reader: str, tolerance: float, single: bool
) -> tuple[list[np.ndarray], float]:
    """Rings that a reader turns back into a mask, as simple as ``tolerance`` allows.

    A tolerance that costs more than :data:`MAX_COST` of IoU, as for objects of a few pixels, is
    halved.

    Args:
        mask: The object, not empty.
        size: (H, W) of the photo.
        reader: One of :data:`READERS`.
        tolerance: In pixels.
        single: Whether the object must be one ring: holes and parts are joined to it. Without it
            there is one for every part, with its holes joined.

    Returns:
        The rings, and the IoU of what the reader makes of them with ``mask``.

    Example:
        >>> rings, iou = best_rings(cut_out(np.ones((9, 9))), (9, 9), 'opencv', 0.5, True)
        >>> len(rings), iou
        (1, 1.0)
    """
    wanted = mask.whole(size)
    best = None
    parts = outlines(mask, reader)
    if single:
        parts = [[ring for rings in parts for ring in rings]]
    for share in (1, 0.5, 0) if tolerance else (0,):
        rings = [
            joined([_simplified(ring, reader, tolerance * share) for ring in rings])
            for rings in parts
        ]
        found = draw(rings, size, reader)
        iou = np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted)
        if best is None or iou > best[1]:
            best = rings, float(iou)
        if iou >= 1 - MAX_COST:
            break
    return best
