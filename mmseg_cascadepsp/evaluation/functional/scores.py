"""All scores of a set of masks or of label maps at once, from a few counts per image."""

import numpy as np

from mmseg_cascadepsp.evaluation.functional.boundary_iou import (
    boundary_iou_update,
    multiclass_boundary_iou_update,
)
from mmseg_cascadepsp.evaluation.functional.checks import check_binary, check_labels
from mmseg_cascadepsp.evaluation.functional.iou import (
    iou_compute,
    iou_update,
    multiclass_iou_update,
    nan_mean,
)
from mmseg_cascadepsp.evaluation.functional.mba import (
    NUM_RADII,
    mba_compute,
    mba_update,
    multiclass_mba_update,
)

MASK_SCORES = ('IoU', 'mBA', 'BoundaryIoU', 'IoU_per_image', 'BoundaryIoU_per_image')
LABEL_SCORES = ('mIoU', 'mBA', 'BoundaryIoU')


def mask_scores_update(
    pred: np.ndarray, target: np.ndarray, r0: int = 1, dilation_ratio: float = 0.02
) -> np.ndarray:
    """Counts of one image for :func:`mask_scores`.

    Args:
        pred: One mask ``(H, W)`` or several ``(..., H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Of Boundary IoU, see :func:`inner_boundary`.

    Returns:
        int64 ``(..., 14)``: intersection, union, those of the inner boundaries, right pixels of
        the five boundary regions, all pixels of them.
    """
    pred, target = check_binary(pred, target)
    right, near = mba_update(pred, target, r0)
    areas = [
        [*iou_update(mask, target), *boundary_iou_update(mask, target, dilation_ratio)]
        for mask in pred.reshape(-1, *target.shape)
    ]
    areas = np.array(areas, np.int64).reshape(*pred.shape[:-2], 4)
    return np.concatenate((areas, right, np.broadcast_to(near, right.shape)), axis=-1)


def mask_scores_compute(counts: np.ndarray) -> dict[str, float]:
    """Scores of a set from the counts of its images, ``(images, 14)``; see :func:`mask_scores`."""
    counts = np.asarray(counts).reshape(-1, 4 + 2 * NUM_RADII)
    total = counts.sum(axis=0)
    accuracy = mba_compute(counts[:, 4 : 4 + NUM_RADII], counts[:, 4 + NUM_RADII :])
    return {
        'IoU': iou_compute(*total[:2]),
        'mBA': nan_mean(accuracy),
        'BoundaryIoU': iou_compute(*total[2:4]),
        'IoU_per_image': nan_mean(iou_compute(*counts[:, :2].T)),
        'BoundaryIoU_per_image': nan_mean(iou_compute(*counts[:, 2:4].T)),
    }


def mask_scores(preds, targets, r0: int = 1, dilation_ratio: float = 0.02) -> dict[str, float]:
    """Class-agnostic scores of masks, as fractions.

    Args:
        preds: Masks ``(H, W)`` of bool or 0/1, each of its own size.
        targets: The true masks, in the same order.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Of Boundary IoU, see :func:`inner_boundary`.

    Returns:
        ``IoU`` and ``BoundaryIoU`` from areas summed over the set, ``IoU_per_image``,
        ``BoundaryIoU_per_image`` and ``mBA`` as means over images. What has no value is NaN.

    >>> scores = mask_scores([np.array([[0, 1, 1, 1]])], [np.array([[0, 0, 1, 1]])])
    >>> round(scores['IoU'], 4), scores['mBA']
    (0.6667, 0.5)
    """
    return mask_scores_compute(
        [
            mask_scores_update(pred, target, r0, dilation_ratio)
            for pred, target in zip(preds, targets, strict=True)
        ]
    )


def label_scores_update(
    pred: np.ndarray,
    target: np.ndarray,
    num_classes: int,
    ignore_index: int = 255,
    r0: int = 1,
    dilation_ratio: float = 0.02,
    per_class: bool = False,
) -> dict[str, np.ndarray]:
    """Counts of one image for :func:`label_scores`.

    Args:
        pred: One label map ``(H, W)`` or several ``(..., H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        num_classes: Number of classes.
        ignore_index: Void in the truth.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Of Boundary IoU, see :func:`inner_boundary`.
        per_class: Count for the mBA of every class, too.

    Returns:
        ``areas`` int64 ``(..., 4, num_classes)``: intersections, unions, those of the inner
        boundaries; ``right`` ``(..., 5)`` and ``near`` ``(5,)`` of the boundary regions; with
        ``per_class`` also ``class_right`` ``(num_classes, ..., 5)`` and ``class_near``
        ``(num_classes, 5)``.
    """
    pred, target = check_labels(pred, target)
    areas = [
        [
            *multiclass_iou_update(labels, target, num_classes, ignore_index),
            *multiclass_boundary_iou_update(
                labels, target, num_classes, ignore_index, dilation_ratio
            ),
        ]
        for labels in pred.reshape(-1, *target.shape)
    ]
    regions = multiclass_mba_update(
        pred, target, r0, ignore_index, num_classes if per_class else None
    )
    return dict(
        zip(('right', 'near', 'class_right', 'class_near'), regions, strict=False),
        areas=np.array(areas).reshape(*pred.shape[:-2], 4, num_classes),
    )


def label_scores_compute(counts: list[dict[str, np.ndarray]]) -> dict[str, float | np.ndarray]:
    """Scores of a set from the counts of its images; see :func:`label_scores`.

    With the counts of single classes, also ``IoU_of_class``, ``mBA_of_class`` and
    ``BoundaryIoU_of_class``, float ``(num_classes,)``.
    """
    areas = np.sum([image['areas'] for image in counts], axis=0, dtype=np.int64)
    iou, boundary = iou_compute(*areas[:2]), iou_compute(*areas[2:])
    accuracy = [mba_compute(image['right'], image['near']) for image in counts]
    scores = {
        'mIoU': nan_mean(iou),
        'mBA': nan_mean(accuracy),
        'BoundaryIoU': nan_mean(boundary),
    }
    if 'class_right' in counts[0]:
        accuracy = [mba_compute(image['class_right'], image['class_near']) for image in counts]
        mba = np.array([nan_mean(of_class) for of_class in np.transpose(accuracy)])
        scores.update(IoU_of_class=iou, mBA_of_class=mba, BoundaryIoU_of_class=boundary)
    return scores


def label_scores(
    preds,
    targets,
    num_classes: int,
    ignore_index: int = 255,
    r0: int = 1,
    dilation_ratio: float = 0.02,
) -> dict[str, float]:
    """mIoU, mBA and Boundary IoU of label maps, as fractions.

    mIoU and Boundary IoU are means over classes of areas summed over the set, mBA is a mean over
    images. Void pixels of the truth do not count.

    Args:
        preds: Label maps ``(H, W)`` of integers, each of its own size.
        targets: The true label maps, in the same order.
        num_classes: Number of classes.
        ignore_index: Void in the truth.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Of Boundary IoU, see :func:`inner_boundary`.

    >>> label_scores([np.array([[0, 1, 1, 1]])], [np.array([[0, 0, 1, 255]])], num_classes=2)
    {'mIoU': 0.5, 'mBA': 0.5, 'BoundaryIoU': 0.5}
    """
    return label_scores_compute(
        [
            label_scores_update(pred, target, num_classes, ignore_index, r0, dilation_ratio)
            for pred, target in zip(preds, targets, strict=True)
        ]
    )
