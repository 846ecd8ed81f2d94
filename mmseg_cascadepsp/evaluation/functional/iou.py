"""Intersection over union (IoU) of masks and of label maps."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mmseg_cascadepsp.errors import InvalidValueError

from ..functional.checks import check_array, check_binary, check_labels, check_range


def iou_update(pred: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Count the pixels in the intersection and in the union of two masks.

    Args:
        pred: The mask ``(H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.

    Returns:
        Pixels in the intersection, and pixels in the union.

    Raises:
        InvalidValueError: The sizes differ, or a value is neither 0 nor 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import iou_update
        >>> iou_update(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
        (1, 3)
    """
    pred, target = check_binary(pred, target)
    return int(np.count_nonzero(pred & target)), int(np.count_nonzero(pred | target))


def iou_compute(intersection: ArrayLike, union: ArrayLike) -> Any:
    """Divide intersections by unions, element by element.

    Sums over a whole set give the class-agnostic IoU of the paper, section 4.1. Counts of single
    images give the IoU of each image. The mean of these (:func:`nan_mean`) gives small objects
    the same weight as large ones.

    Args:
        intersection: Pixels, a number or an array.
        union: Pixels, of the same shape.

    Returns:
        IoU from 0 to 1, a float or an array. It is NaN where the union is empty.

    Raises:
        InvalidTypeError: One of them is no number and no array of numbers.
        InvalidValueError: The shapes differ.

    Example:
        >>> from mmseg_cascadepsp.evaluation import iou_compute
        >>> iou_compute(1, 4)
        0.25
        >>> iou_compute([1, 0], [4, 0]).tolist()
        [0.25, nan]
    """
    intersection = check_array('intersection', intersection).astype(float)
    union = check_array('union', union).astype(float)
    if intersection.shape != union.shape:
        raise InvalidValueError(
            f'intersection and union must be of the same shape, got {intersection.shape} and '
            f'{union.shape}.'
        )
    iou = np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)
    return iou if iou.ndim else float(iou)


def nan_mean(values: ArrayLike) -> float:
    """Average the values that are not NaN.

    Args:
        values: Numbers, an array or a list.

    Returns:
        Their mean. It is NaN, without a warning, when nothing is left.

    Raises:
        InvalidTypeError: They are no numbers.

    Example:
        >>> from mmseg_cascadepsp.evaluation import nan_mean
        >>> nan_mean([0.5, float('nan')]), nan_mean([])
        (0.5, nan)
    """
    numbers = check_array('values', values).astype(float)
    numbers = numbers[~np.isnan(numbers)]
    return float(numbers.mean()) if numbers.size else float('nan')


def binary_iou(pred: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of two masks.

    Args:
        pred: The mask ``(H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.

    Returns:
        IoU from 0 to 1. It is NaN if both masks are empty.

    Raises:
        InvalidValueError: The sizes differ, or a value is neither 0 nor 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import binary_iou
        >>> binary_iou(np.array([[1, 1, 1, 0]]), np.array([[0, 1, 1, 1]]))
        0.5
    """
    return iou_compute(*iou_update(pred, target))


def multiclass_iou_update(
    pred: np.ndarray, target: np.ndarray, num_classes: int, ignore_index: int = 255
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels in the intersection and in the union of every class.

    A predicted id outside ``0..num_classes-1`` is wrong and belongs to no class.

    Args:
        pred: The label map ``(H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        num_classes: Number of classes.
        ignore_index: Void in the truth. Its pixels do not count.

    Returns:
        Intersections and unions, each int64 ``(num_classes,)``.

    Raises:
        InvalidValueError: The sizes differ, or the truth holds an id that is no class.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import multiclass_iou_update
        >>> multiclass_iou_update(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]), num_classes=2)
        (array([1, 0]), array([2, 1]))
    """
    pred, target = check_labels(pred, target)
    check_range(target, num_classes, ignore_index)
    valid = target != ignore_index
    pred, target = pred[valid].astype(np.int64), target[valid].astype(np.int64)
    known = pred[(pred >= 0) & (pred < num_classes)]
    intersection, in_target, in_pred = (
        np.bincount(ids, minlength=num_classes) for ids in (target[pred == target], target, known)
    )
    return intersection, in_target + in_pred - intersection


def mean_iou(
    pred: np.ndarray, target: np.ndarray, num_classes: int, ignore_index: int = 255
) -> float:
    """Mean IoU (mIoU) of two label maps: the mean over the classes that either of them contains.

    For a set of images, add up what :func:`multiclass_iou_update` returns and take
    ``nan_mean(iou_compute(...))`` of the sums. A class that never occurs has no IoU, as in
    MMSegmentation. The release's ``eval_post_ade.py`` differs: it counts such a class as 0, and
    it leaves out a real class of every image that has no void.

    Args:
        pred: The label map ``(H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        num_classes: Number of classes.
        ignore_index: Void in the truth. Its pixels do not count.

    Returns:
        mIoU from 0 to 1. It is NaN if all is void.

    Raises:
        InvalidValueError: The sizes differ, or the truth holds an id that is no class.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import mean_iou
        >>> labels, truth = np.array([[0, 1, 1, 1, 1]]), np.array([[0, 0, 1, 1, 1]])
        >>> mean_iou(labels, truth, num_classes=3)
        0.625
    """
    return nan_mean(iou_compute(*multiclass_iou_update(pred, target, num_classes, ignore_index)))
