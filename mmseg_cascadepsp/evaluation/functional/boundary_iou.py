"""Boundary IoU (Cheng et al., CVPR 2021): IoU of the pixels near the contours of masks."""

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError

from ..functional.checks import (
    check_binary,
    check_labels,
    check_mask,
    check_number,
    check_range,
)
from ..functional.iou import iou_compute, nan_mean


def inner_boundary(mask: np.ndarray, dilation_ratio: float = 0.02) -> np.ndarray:
    """Find the pixels of a mask that are at most ``d`` away from its outside.

    ``d`` is ``dilation_ratio`` of the image's diagonal, and at least 1. The distance counts steps
    to any of the 8 neighbours. Everything beyond the image is outside, as in Cheng et al.

    Args:
        mask: The mask ``(H, W)``, bool or 0/1.
        dilation_ratio: Share of the diagonal, 0 to 1, 0.02 in Cheng et al.

    Returns:
        bool ``(H, W)``.

    Raises:
        InvalidTypeError: ``mask`` is no array of numbers, or ``dilation_ratio`` no number.
        InvalidValueError: ``mask`` is no mask of one image, or ``dilation_ratio`` out of range.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import inner_boundary
        >>> inner_boundary(np.array([[0, 1, 1, 1, 0]] * 5), dilation_ratio=0.1).astype(int)
        array([[0, 1, 1, 1, 0],
               [0, 1, 0, 1, 0],
               [0, 1, 0, 1, 0],
               [0, 1, 0, 1, 0],
               [0, 1, 1, 1, 0]])
    """
    mask = check_mask('mask', mask)
    if mask.ndim != 2 or not mask.size:
        raise InvalidValueError(
            f'mask must be of shape (H, W) with at least one pixel, got {mask.shape}.'
        )
    check_number('dilation_ratio', dilation_ratio, 0, 1)
    width = max(1, int(round(dilation_ratio * np.hypot(*mask.shape))))
    x, y, w, h = cv2.boundingRect(mask)
    window = slice(y, y + h), slice(x, x + w)
    boundary = np.zeros(mask.shape, bool)
    if w:
        # Chessboard distance to the outside: as many erosions by 3x3 as leave the pixel alive.
        depth = cv2.distanceTransform(np.pad(mask[window], 1), cv2.DIST_C, 3)[1:-1, 1:-1]
        boundary[window] = (depth > 0) & (depth <= width)
    return boundary


def boundary_iou_update(
    pred: np.ndarray, target: np.ndarray, dilation_ratio: float = 0.02
) -> tuple[int, int]:
    """Count the pixels in the intersection and in the union of the inner boundaries of two masks.

    Args:
        pred: The mask ``(H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.
        dilation_ratio: See :func:`inner_boundary`.

    Returns:
        Pixels in the intersection, and pixels in the union.

    Raises:
        InvalidValueError: The sizes differ, or a value is neither 0 nor 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import boundary_iou_update
        >>> truth = np.zeros((10, 10), bool)
        >>> truth[2:8, 2:8] = True
        >>> boundary_iou_update(np.ones((10, 10), bool), truth)
        (0, 56)
    """
    pred, target = (inner_boundary(mask, dilation_ratio) for mask in check_binary(pred, target))
    return int(np.count_nonzero(pred & target)), int(np.count_nonzero(pred | target))


def boundary_iou(pred: np.ndarray, target: np.ndarray, dilation_ratio: float = 0.02) -> float:
    """Boundary IoU of two masks.

    Args:
        pred: The mask ``(H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.
        dilation_ratio: See :func:`inner_boundary`.

    Returns:
        Boundary IoU from 0 to 1. It is NaN if both masks are empty.

    Raises:
        InvalidValueError: The sizes differ, or a value is neither 0 nor 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import boundary_iou
        >>> truth = np.zeros((60, 60), bool)
        >>> truth[20:40, 20:40] = True
        >>> boundary_iou(truth, truth)
        1.0
        >>> round(boundary_iou(np.roll(truth, 1, axis=1), truth), 4)
        0.6
    """
    return iou_compute(*boundary_iou_update(pred, target, dilation_ratio))


def multiclass_boundary_iou_update(
    pred: np.ndarray,
    target: np.ndarray,
    num_classes: int,
    ignore_index: int = 255,
    dilation_ratio: float = 0.02,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels in the intersection and in the union of every class's inner boundaries.

    Void pixels of the truth are taken out of both label maps before the boundaries are drawn. A
    prediction that continues into void is therefore not counted as wrong.

    Args:
        pred: The label map ``(H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        num_classes: Number of classes.
        ignore_index: Void in the truth.
        dilation_ratio: See :func:`inner_boundary`.

    Returns:
        Intersections and unions, each int64 ``(num_classes,)``.

    Raises:
        InvalidValueError: The sizes differ, or the truth holds an id that is no class.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import multiclass_boundary_iou_update
        >>> multiclass_boundary_iou_update(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]), 2)
        (array([1, 0]), array([2, 1]))
    """
    pred, target = check_labels(pred, target)
    check_range(target, num_classes, ignore_index)
    valid = target != ignore_index
    counts = np.zeros((2, num_classes), np.int64)
    for label in range(num_classes):
        masks = (pred == label) & valid, target == label
        if masks[0].any() or masks[1].any():
            counts[:, label] = boundary_iou_update(*masks, dilation_ratio)
    return counts[0], counts[1]


def multiclass_boundary_iou(
    pred: np.ndarray,
    target: np.ndarray,
    num_classes: int,
    ignore_index: int = 255,
    dilation_ratio: float = 0.02,
) -> float:
    """Boundary IoU of two label maps: the mean over the classes that either of them contains.

    Args:
        pred: The label map ``(H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        num_classes: Number of classes.
        ignore_index: Void in the truth.
        dilation_ratio: See :func:`inner_boundary`.

    Returns:
        Boundary IoU from 0 to 1. It is NaN if all is void.

    Raises:
        InvalidValueError: The sizes differ, or the truth holds an id that is no class.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import multiclass_boundary_iou
        >>> labels, truth = np.array([[0, 1, 1, 1, 1]]), np.array([[0, 0, 1, 1, 1]])
        >>> multiclass_boundary_iou(labels, truth, num_classes=3)
        0.625
    """
    counts = multiclass_boundary_iou_update(
        pred, target, num_classes, ignore_index, dilation_ratio
    )
    return nan_mean(iou_compute(*counts))
