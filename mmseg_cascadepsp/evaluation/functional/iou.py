"""Intersection over union of masks and of label maps."""

import numpy as np

from mmseg_cascadepsp.evaluation.functional.checks import check_binary, check_labels, check_range


def iou_update(pred: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Pixels in the intersection and in the union of two masks ``(H, W)`` of bool or 0/1.

    >>> iou_update(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
    (1, 3)
    """
    pred, target = check_binary(pred, target)
    return int(np.count_nonzero(pred & target)), int(np.count_nonzero(pred | target))


def iou_compute(intersection, union):
    """Intersection over union, elementwise; NaN where the union is empty.

    Sums over a whole set give the class-agnostic IoU of the paper, section 4.1. Single images
    give the IoU of each, whose mean (:func:`nan_mean`) weighs small objects like large ones; an
    image without object in truth and prediction is no evidence and drops out of that mean.

    >>> iou_compute(1, 4)
    0.25
    >>> iou_compute([1, 0], [4, 0]).tolist()
    [0.25, nan]
    """
    intersection, union = np.asarray(intersection, float), np.asarray(union, float)
    iou = np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)
    return iou if iou.ndim else float(iou)


def nan_mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN, without a warning, when nothing is left.

    >>> nan_mean([0.5, float('nan')]), nan_mean([])
    (0.5, nan)
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')


def binary_iou(pred: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of two masks ``(H, W)`` of bool or 0/1; NaN if both are empty.

    >>> round(binary_iou(np.array([[1, 1, 0]]), np.array([[0, 1, 1]])), 4)
    0.3333
    """
    return iou_compute(*iou_update(pred, target))


def multiclass_iou_update(
    pred: np.ndarray, target: np.ndarray, num_classes: int, ignore_index: int = 255
) -> tuple[np.ndarray, np.ndarray]:
    """Intersection and union of every class, int64 ``(num_classes,)``, void in the truth left out.

    A predicted id outside ``0..num_classes-1`` is wrong and belongs to no class.

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
    """mIoU of two label maps ``(H, W)``: the mean over the classes that either contains.

    NaN if all is void. Over a set, sum what :func:`multiclass_iou_update` gives and take
    ``nan_mean(iou_compute(...))``. As in MMSegmentation, a class that never occurs has no IoU.
    (The release's ``eval_post_ade.py`` counts it as 0, and leaves out a real class of every image
    that has no void.)

    >>> mean_iou(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]]), num_classes=3)
    0.5833333333333333
    """
    return nan_mean(iou_compute(*multiclass_iou_update(pred, target, num_classes, ignore_index)))
