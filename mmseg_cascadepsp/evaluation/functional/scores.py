"""All scores of a set of masks or of label maps at once, from a few counts per image."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError

from ..functional.boundary_iou import (
    boundary_iou_update,
    multiclass_boundary_iou_update,
)
from ..functional.checks import check_binary, check_counts, check_labels, check_mask, together
from ..functional.iou import (
    iou_compute,
    iou_update,
    multiclass_iou_update,
    nan_mean,
)
from ..functional.mba import (
    NUM_RADII,
    mba_compute,
    mba_update,
    multiclass_mba_update,
)
from ..functional.speckles import count_speckles

MASK_SCORES = ('IoU', 'mBA', 'BoundaryIoU', 'IoU_per_image', 'BoundaryIoU_per_image')
LABEL_SCORES = ('mIoU', 'mBA', 'BoundaryIoU')
NUM_COUNTS = 5 + 2 * NUM_RADII


def mask_scores_update(
    pred: np.ndarray,
    target: np.ndarray,
    r0: int = 1,
    dilation_ratio: float = 0.02,
    void: np.ndarray | None = None,
) -> np.ndarray:
    """Count what :func:`mask_scores` and :func:`mask_harm` need to know of one image.

    Args:
        pred: One mask ``(H, W)`` or several ``(..., H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Width of Boundary IoU, see :func:`inner_boundary`.
        void: Pixels of which the truth says nothing, bool ``(H, W)``. They do not count, and are
            taken out of both masks before boundaries are drawn.

    Returns:
        int64 ``(..., 15)``: intersection, union, intersection and union of the inner boundaries,
        speckles, right pixels of the five boundary regions, all pixels of these regions.

    Raises:
        InvalidValueError: The sizes differ, a value is neither 0 nor 1, or ``r0`` is not between
            1 and 5.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import mask_scores_update
        >>> mask_scores_update(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]]))
        array([2, 3, 2, 3, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2])
    """
    pred, target = check_binary(pred, target, several=True)
    if void is not None:
        void = check_mask('void', void).astype(bool)
        if void.shape != target.shape:
            raise InvalidValueError(
                f'void must be of the size of target, {target.shape}, got {void.shape}.'
            )
        pred, target = pred * ~void, target * ~void
    right, near = mba_update(pred, target, r0, void)
    areas = [
        [
            *iou_update(mask, target),
            *boundary_iou_update(mask, target, dilation_ratio),
            count_speckles(mask, target),
        ]
        for mask in pred.reshape(-1, *target.shape)
    ]
    table = np.array(areas, np.int64).reshape(*pred.shape[:-2], 5)
    return np.concatenate((table, right, np.broadcast_to(near, right.shape)), axis=-1)


def mask_scores_compute(counts: np.ndarray) -> dict[str, float]:
    """Compute the scores of a set from the counts of its images.

    Args:
        counts: One row of :func:`mask_scores_update` for each image, ``(images, 15)``.

    Returns:
        See :func:`mask_scores`.

    Example:
        >>> from mmseg_cascadepsp.evaluation import mask_scores_compute
        >>> counts = [[3, 4, 1, 2, 0, *[1] * 5, *[2] * 5], [3, 8, 1, 2, 0, *[1] * 5, *[4] * 5]]
        >>> mask_scores_compute(counts)['IoU'], mask_scores_compute(counts)['mBA']
        (0.5, 0.375)
    """
    counts = check_counts('counts', counts, NUM_COUNTS)
    total = counts.sum(axis=0)
    accuracy = mba_compute(counts[:, 5 : 5 + NUM_RADII], counts[:, 5 + NUM_RADII :])
    return {
        'IoU': iou_compute(*total[:2]),
        'mBA': nan_mean(accuracy),
        'BoundaryIoU': iou_compute(*total[2:4]),
        'IoU_per_image': nan_mean(iou_compute(*counts[:, :2].T)),
        'BoundaryIoU_per_image': nan_mean(iou_compute(*counts[:, 2:4].T)),
    }


def mask_scores(
    preds: Iterable[np.ndarray],
    targets: Iterable[np.ndarray],
    r0: int = 1,
    dilation_ratio: float = 0.02,
) -> dict[str, float]:
    """Class-agnostic scores of a set of masks, as fractions.

    Args:
        preds: Masks ``(H, W)`` of bool or 0/1. They may differ in size.
        targets: The true masks, in the same order.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Width of Boundary IoU, see :func:`inner_boundary`.

    Returns:
        ``IoU`` and ``BoundaryIoU`` of the areas summed over the set, and ``IoU_per_image``,
        ``BoundaryIoU_per_image`` and ``mBA`` as means over images. What has no value is NaN.

    Raises:
        InvalidValueError: The sizes of a pair differ, a value is neither 0 nor 1, or ``r0`` is
            not between 1 and 5.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import mask_scores
        >>> scores = mask_scores([np.array([[0, 1, 1, 1]])], [np.array([[0, 0, 1, 1]])])
        >>> round(scores['IoU'], 4), scores['mBA']
        (0.6667, 0.5)
    """
    rows = [
        mask_scores_update(*check_binary(pred, target), r0, dilation_ratio)
        for pred, target in together(preds=preds, targets=targets)
    ]
    return mask_scores_compute(np.reshape(rows, (-1, NUM_COUNTS)))


def mask_harm_compute(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Compute the harm done to a set from the counts of its images.

    Args:
        before: Counts of the coarse masks, one row of :func:`mask_scores_update` for each image,
            ``(images, 15)``.
        after: Counts of the refined masks, ``(images, 15)``.

    Returns:
        See :func:`mask_harm`.

    Example:
        >>> from mmseg_cascadepsp.evaluation import mask_harm_compute
        >>> rest = [0] * 13
        >>> before = [[90, 100, *rest], [90, 100, *rest]]
        >>> after = [[96, 100, *rest], [89, 100, *rest]]
        >>> harm = mask_harm_compute(before, after)
        >>> harm['harmed_0.5'], harm['harmed_2'], round(harm['worst_tenth'], 3)
        (0.5, 0.0, -0.01)
    """
    before = check_counts('before', before, NUM_COUNTS)
    after = check_counts('after', after, NUM_COUNTS)
    if len(before) != len(after):
        raise InvalidValueError(
            f'before and after must be of the same images, got {len(before)} and {len(after)}.'
        )
    change = iou_compute(*after[:, :2].T) - iou_compute(*before[:, :2].T)
    change = np.sort(change[~np.isnan(change)])
    lost = -change - 1e-9  # half a point exactly, but for rounding, is not more than half a point
    return {
        'harmed_0.5': nan_mean(lost > 0.005),
        'harmed_2': nan_mean(lost > 0.02),
        'worst_tenth': nan_mean(change[: math.ceil(len(change) / 10)]),
        'speckles_before': nan_mean(before[:, 4]),
        'speckles': nan_mean(after[:, 4]),
    }


def mask_harm(
    coarse: Iterable[np.ndarray], refined: Iterable[np.ndarray], targets: Iterable[np.ndarray]
) -> dict[str, float]:
    """Measure the harm that refinement does to a set of masks.

    Mean gains hide the few masks that become worse. These scores show them.

    Args:
        coarse: Masks ``(H, W)`` before refinement, bool or 0/1. They may differ in size.
        refined: The same masks after refinement.
        targets: The true masks, in the same order.

    Returns:
        ``harmed_0.5`` and ``harmed_2``: the share of masks that lose more than 0.5 and more than
        2 points (hundredths) of IoU.
        ``worst_tenth``: the mean change in IoU of the tenth of the masks (at least one) that
        change for the worst, as a fraction.
        ``speckles_before`` and ``speckles``: mean number of speckles in a mask, see
        :func:`count_speckles`.
        Masks without an IoU, because truth and mask are empty, do not enter the first three. What
        has no value is NaN.

    Raises:
        InvalidValueError: The sizes of a triple differ, or a value is neither 0 nor 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import mask_harm
        >>> truth = np.array([[0, 0, 1, 1]])
        >>> coarse, refined = np.array([[0, 1, 1, 1]]), np.array([[1, 1, 1, 1]])
        >>> harm = mask_harm([coarse, coarse], [refined, truth], [truth, truth])
        >>> harm['harmed_0.5'], round(harm['worst_tenth'], 4), harm['speckles']
        (0.5, -0.1667, 0.0)
    """
    rows = [
        mask_scores_update(
            np.stack([check_binary(before, target)[0], check_binary(after, target)[0]]), target
        )
        for before, after, target in together(coarse=coarse, refined=refined, targets=targets)
    ]
    counts = np.reshape(rows, (-1, 2, NUM_COUNTS))
    return mask_harm_compute(counts[:, 0], counts[:, 1])


def percentages(
    after: Mapping[str, float], before: Mapping[str, float] | None, keys: Sequence[str]
) -> dict[str, float]:
    """Write scores down in per cent, with their change where there is a before.

    Args:
        after: Score -> fraction.
        before: The same before refinement, or None.
        keys: The scores to write down.

    Returns:
        ``KEY`` in per cent. With ``before`` also ``KEY_before``, and ``KEY_gain``, the difference.

    Example:
        >>> from mmseg_cascadepsp.evaluation import percentages
        >>> percentages({'IoU': 0.75}, {'IoU': 0.5}, ['IoU'])
        {'IoU': 75.0, 'IoU_before': 50.0, 'IoU_gain': 25.0}
    """
    metrics = {}
    for key in keys:
        metrics[key] = 100 * after[key]
        if before is not None:
            metrics[f'{key}_before'] = 100 * before[key]
            metrics[f'{key}_gain'] = 100 * (after[key] - before[key])
    return metrics


def mask_report(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Write down gains and harm of a set of refined masks, in per cent.

    Args:
        before: Counts of the coarse masks, one row of :func:`mask_scores_update` for each image,
            ``(images, 15)``.
        after: Counts of the refined masks, ``(images, 15)``.

    Returns:
        Every score of :func:`mask_scores` as ``KEY_before``, ``KEY`` and ``KEY_gain``, and those
        of :func:`mask_harm`. All are in per cent but the numbers of speckles.

    Example:
        >>> from mmseg_cascadepsp.evaluation import mask_report
        >>> report = mask_report([[50, 100, *[0] * 13]], [[75, 100, *[0] * 13]])
        >>> report['IoU_before'], report['IoU'], report['IoU_gain'], report['harmed_2']
        (50.0, 75.0, 25.0, 0.0)
    """
    harm = mask_harm_compute(before, after)
    return {
        **percentages(mask_scores_compute(after), mask_scores_compute(before), MASK_SCORES),
        **{key: value * (1 if 'speckles' in key else 100) for key, value in harm.items()},
    }


def label_scores_update(
    pred: np.ndarray,
    target: np.ndarray,
    num_classes: int,
    ignore_index: int = 255,
    r0: int = 1,
    dilation_ratio: float = 0.02,
    per_class: bool = False,
) -> dict[str, np.ndarray]:
    """Count what :func:`label_scores` needs to know of one image.

    Args:
        pred: One label map ``(H, W)`` or several ``(..., H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        num_classes: Number of classes.
        ignore_index: Void in the truth.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Width of Boundary IoU, see :func:`inner_boundary`.
        per_class: Also count for the mBA of every class.

    Returns:
        ``areas`` int64 ``(..., 4, num_classes)``: intersections, unions, and those of the inner
        boundaries. ``right`` ``(..., 5)`` and ``near`` ``(5,)``: right and all pixels of the
        boundary regions. With ``per_class`` also ``class_right`` ``(num_classes, ..., 5)`` and
        ``class_near`` ``(num_classes, 5)``.

    Raises:
        InvalidValueError: The sizes differ, or the truth holds an id that is no class.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import label_scores_update
        >>> counts = label_scores_update(np.array([[0, 1, 1]]), np.array([[0, 0, 1]]), 2)
        >>> counts['areas'].tolist()
        [[1, 1], [2, 2], [1, 1], [2, 2]]
    """
    pred, target = check_labels(pred, target, several=True)
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


def label_scores_compute(
    counts: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, float | np.ndarray]:
    """Compute the scores of a set from the counts of its images.

    Args:
        counts: What :func:`label_scores_update` returned for each image.

    Returns:
        See :func:`label_scores`. If the counts have those of single classes, also
        ``IoU_of_class``, ``mBA_of_class`` and ``BoundaryIoU_of_class``, float ``(num_classes,)``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import label_scores_compute, label_scores_update
        >>> counts = label_scores_update(np.array([[0, 1, 1]]), np.array([[0, 0, 1]]), 2)
        >>> label_scores_compute([counts, counts])
        {'mIoU': 0.5, 'mBA': 0.5, 'BoundaryIoU': 0.5}
    """
    if isinstance(counts, Mapping) or not isinstance(counts, Sequence) or not counts:
        raise InvalidValueError(
            'counts must be a list of what label_scores_update returned, of at least one image.'
        )
    keys = set(counts[0]) if isinstance(counts[0], Mapping) else set()
    if not {'areas', 'right', 'near'} <= keys or any(
        not isinstance(image, Mapping) or set(image) != keys for image in counts
    ):
        raise InvalidValueError(
            'counts must be what label_scores_update returned, of the same scores in each image.'
        )
    areas = np.stack([image['areas'] for image in counts]).sum(axis=0, dtype=np.int64)
    iou, boundary = iou_compute(*areas[:2]), iou_compute(*areas[2:])
    accuracy = [mba_compute(image['right'], image['near']) for image in counts]
    scores: dict[str, float | np.ndarray] = {
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
    preds: Iterable[np.ndarray],
    targets: Iterable[np.ndarray],
    num_classes: int,
    ignore_index: int = 255,
    r0: int = 1,
    dilation_ratio: float = 0.02,
) -> dict[str, float]:
    """mIoU, mBA and Boundary IoU of a set of label maps, as fractions.

    Args:
        preds: Label maps ``(H, W)`` of integers. They may differ in size.
        targets: The true label maps, in the same order.
        num_classes: Number of classes.
        ignore_index: Void in the truth. Its pixels do not count.
        r0: Smallest radius of mBA, see :func:`boundary_radii`.
        dilation_ratio: Width of Boundary IoU, see :func:`inner_boundary`.

    Returns:
        ``mIoU`` and ``BoundaryIoU`` as means over classes of the areas summed over the set, and
        ``mBA`` as a mean over images. What has no value is NaN.

    Raises:
        InvalidValueError: The sizes of a pair differ, or a truth holds an id that is no class.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import label_scores
        >>> label_scores([np.array([[0, 1, 1, 1]])], [np.array([[0, 0, 1, 255]])], num_classes=2)
        {'mIoU': 0.5, 'mBA': 0.5, 'BoundaryIoU': 0.5}
    """
    scores = label_scores_compute(
        [
            label_scores_update(
                *check_labels(pred, target), num_classes, ignore_index, r0, dilation_ratio
            )
            for pred, target in together(preds=preds, targets=targets)
        ]
    )
    return {name: float(score) for name, score in scores.items()}
