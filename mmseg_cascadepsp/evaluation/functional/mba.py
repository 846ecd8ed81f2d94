"""Mean boundary accuracy (mBA) of the paper, section 4.1: accuracy near the true boundary."""

from typing import Any

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from ..functional.checks import (
    check_array,
    check_binary,
    check_labels,
    check_number,
    check_range,
)

NUM_RADII = 5
#: Of an image of a million pixels a side. Larger kernels are a mistake.
MAX_RADIUS = 10_000


def boundary_radii(height: int, width: int, r0: int = 1) -> list[int]:
    """Choose the five radii of an image: from ``r0`` in equal steps to ``(height + width) / 300``.

    Args:
        height: Height of the image.
        width: Width of the image.
        r0: The smallest radius. It is 1 in the authors' release and in the later papers that
            compare with it, and 3 in the paper.

    Returns:
        Five radii in pixels.

    Raises:
        InvalidTypeError: One of them is no integer.
        InvalidValueError: ``r0`` is not between 1 and 5, so a radius could become 0, or the image
            has no pixels.

    Example:
        >>> from mmseg_cascadepsp.evaluation import boundary_radii
        >>> boundary_radii(1080, 1920)
        [1, 2, 4, 6, 8]
        >>> boundary_radii(1080, 1920, r0=3)
        [3, 4, 5, 7, 8]
    """
    check_number('r0', r0, 1, 5, whole=True)
    for name, side in (('height', height), ('width', width)):
        check_number(name, side, 1, 100 * MAX_RADIUS, whole=True)
    largest = (width + height) / 300
    return [r0 + int((largest - r0) / NUM_RADII * i) for i in range(NUM_RADII)]


def boundary_region(mask: np.ndarray, radius: int) -> np.ndarray:
    """Find the pixels whose neighbourhood holds more than one value.

    The neighbourhood is the elliptic kernel of size ``2 * radius + 1``. This is the morphological
    gradient.

    Args:
        mask: A mask of bool or 0/1, or a label map ``(H, W)``, of integers from 0 to 65535.
        radius: Radius of the kernel in pixels, at least 1.

    Returns:
        bool ``(H, W)``.

    Raises:
        InvalidTypeError: ``mask`` is no array of integers, or ``radius`` no integer.
        InvalidValueError: ``mask`` has another shape or values, or ``radius`` is below 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import boundary_region
        >>> boundary_region(np.array([[0, 0, 0, 1, 1]], np.uint8), 1).astype(int)
        array([[0, 0, 1, 1, 0]])
    """
    mask = check_array('mask', mask)
    if mask.dtype.kind not in 'biu':
        raise InvalidTypeError(f'mask must hold integers, got {mask.dtype}.')
    if mask.ndim != 2 or not mask.size or mask.min() < 0 or mask.max() >= 2**16:
        raise InvalidValueError(
            'mask must be of shape (H, W) with at least one pixel and values from 0 to 65535, got '
            f'{mask.shape}{f" from {mask.min()} to {mask.max()}" if mask.size else ""}.'
        )
    check_number('radius', radius, 1, MAX_RADIUS, whole=True)
    if mask.dtype not in (np.uint8, np.uint16):
        mask = mask.astype(np.uint8 if mask.dtype == bool else np.uint16)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel) > 0


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The object's bounding box grown by ``margin``: no boundary lies beyond it."""
    x, y, w, h = cv2.boundingRect(mask)
    return slice(max(y - margin, 0), y + h + margin), slice(max(x - margin, 0), x + w + margin)


def mba_update(
    pred: np.ndarray, target: np.ndarray, r0: int = 1, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels near the true boundary, and those of them that are right, for five radii.

    The border of the image is no boundary.

    Args:
        pred: One mask ``(H, W)`` or several ``(..., H, W)``, bool or 0/1. Counting several at
            once, such as before and after, saves time.
        target: The true mask ``(H, W)``, bool or 0/1.
        r0: See :func:`boundary_radii`.
        void: Pixels that do not count, bool ``(H, W)``.

    Returns:
        Right pixels, int64 ``(..., 5)``, and all pixels of the region, int64 ``(5,)``. The latter
        are 0 where the truth has no boundary.

    Raises:
        InvalidValueError: The sizes differ, a value is neither 0 nor 1, or ``r0`` is not between
            1 and 5.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import mba_update
        >>> mba_update(np.array([[0, 0, 1, 1, 1]]), np.array([[0, 0, 0, 1, 1]]))
        (array([1, 1, 1, 1, 1]), array([2, 2, 2, 2, 2]))
    """
    pred, target = check_binary(pred, target, several=True)
    height, width = target.shape
    radii = boundary_radii(height, width, r0)
    window = _window(target, max(radii))
    right = pred[(..., *window)] == target[window]
    correct, total = [], []
    for radius in radii:
        region = boundary_region(target[window], radius)
        if void is not None:
            region = region & ~void[window]
        correct.append(np.count_nonzero(right & region, axis=(-2, -1)))
        total.append(np.count_nonzero(region))
    return np.stack(correct, axis=-1), np.array(total)


def mba_compute(correct: np.ndarray, total: np.ndarray) -> Any:
    """Average the accuracies of the five radii.

    The mBA of a set is the mean over its images (:func:`nan_mean`). Images without boundary do
    not enter it. (The release divides 0 by 0 there.)

    Args:
        correct: Right pixels, ``(..., 5)``.
        total: All pixels of the regions, ``(..., 5)``.

    Returns:
        mBA from 0 to 1, of shape ``(...)``. It is NaN without boundary.

    Raises:
        InvalidTypeError: One of them is no array of numbers.
        InvalidValueError: The shapes do not agree.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import mba_compute
        >>> float(mba_compute(np.array([1, 1, 2, 3, 4]), np.array([2, 2, 4, 4, 4])))
        0.65
    """
    correct = check_array('correct', correct).astype(float)
    total = check_array('total', total).astype(float)
    if not correct.ndim or total.shape not in (correct.shape, correct.shape[-1:]):
        raise InvalidValueError(
            f'correct and total must be of shape (..., {NUM_RADII}), or total ({NUM_RADII},), got '
            f'{correct.shape} and {total.shape}.'
        )
    total = np.broadcast_to(total, correct.shape)
    accuracy = np.divide(correct, total, out=np.full(correct.shape, np.nan), where=total > 0)
    return accuracy.mean(axis=-1)


def mean_boundary_accuracy(pred: np.ndarray, target: np.ndarray, r0: int = 1) -> float:
    """Mean boundary accuracy (mBA) of a mask.

    Args:
        pred: The mask ``(H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.
        r0: See :func:`boundary_radii`.

    Returns:
        mBA from 0 to 1. It is NaN if the truth has no boundary.

    Raises:
        InvalidValueError: The sizes differ, a value is neither 0 nor 1, or ``r0`` is not between
            1 and 5.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import mean_boundary_accuracy
        >>> truth = np.zeros((60, 60), bool)
        >>> truth[20:40, 20:40] = True
        >>> mean_boundary_accuracy(truth, truth)
        1.0
        >>> round(mean_boundary_accuracy(np.roll(truth, 1, axis=1), truth), 4)
        0.7436
    """
    return float(mba_compute(*mba_update(*check_binary(pred, target), r0)))


def multiclass_mba_update(
    pred: np.ndarray,
    target: np.ndarray,
    r0: int = 1,
    ignore_index: int = 255,
    num_classes: int | None = None,
) -> tuple[np.ndarray, ...]:
    """Count as :func:`mba_update` does, near the boundaries of all true classes together.

    Void has no boundary of its own and its pixels do not count. Where a class meets void, only
    the pixels of the class count.

    Args:
        pred: One label map ``(H, W)`` or several ``(..., H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        r0: See :func:`boundary_radii`.
        ignore_index: Void in the truth.
        num_classes: If given, also count for each class, near its own boundary.

    Returns:
        Right pixels, int64 ``(..., 5)``, and all pixels of the region, int64 ``(5,)``. With
        ``num_classes`` two more follow: int64 ``(num_classes, ..., 5)`` and
        ``(num_classes, 5)``.

    Raises:
        InvalidValueError: The sizes differ, or the truth holds an id that is no class.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import multiclass_mba_update
        >>> multiclass_mba_update(np.array([[0, 2, 1, 1, 1]]), np.array([[0, 0, 1, 1, 255]]))
        (array([2, 2, 2, 2, 2]), array([3, 3, 3, 3, 3]))
    """
    pred, target = check_labels(pred, target, several=True)
    check_number('ignore_index', ignore_index, -(2**63), 2**63, whole=True)
    height, width = target.shape
    radii = boundary_radii(height, width, r0)
    valid = target != ignore_index
    right = (pred == target) & valid
    # A pixel is near a boundary of some class where the kernel sees two labels: one gradient of
    # the label map is the union of the gradients of all its classes.
    present, ids = np.unique(target, return_inverse=True)
    if len(present) > 2**16:
        raise InvalidValueError(
            f'target holds {len(present)} different ids, which is no label map of classes.'
        )
    ids = ids.reshape(target.shape).astype(np.uint16)
    correct, total = [], []
    for radius in radii:
        near = boundary_region(ids, radius) & valid
        correct.append(np.count_nonzero(right & near, axis=(-2, -1)))
        total.append(np.count_nonzero(near))
    counts = np.stack(correct, axis=-1), np.array(total)
    if num_classes is None:
        return counts
    check_range(target, num_classes, ignore_index)
    class_correct = np.zeros((num_classes, *pred.shape[:-2], len(radii)), np.int64)
    class_total = np.zeros((num_classes, len(radii)), np.int64)
    for label in np.unique(target[valid]):
        mask = (target == label).astype(np.uint8)
        window = _window(mask, max(radii))
        for i, radius in enumerate(radii):
            near = boundary_region(mask[window], radius) & valid[window]
            hits = right[(..., *window)] & near
            class_correct[label, ..., i] = np.count_nonzero(hits, axis=(-2, -1))
            class_total[label, i] = np.count_nonzero(near)
    return (*counts, class_correct, class_total)


def multiclass_mean_boundary_accuracy(
    pred: np.ndarray, target: np.ndarray, r0: int = 1, ignore_index: int = 255
) -> float:
    """Mean boundary accuracy (mBA) of a label map.

    Args:
        pred: The label map ``(H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        r0: See :func:`boundary_radii`.
        ignore_index: Void in the truth.

    Returns:
        mBA from 0 to 1. It is NaN if the truth has no boundary outside void.

    Raises:
        InvalidValueError: The sizes differ, or ``r0`` is not between 1 and 5.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import multiclass_mean_boundary_accuracy
        >>> truth = np.repeat([[0, 0, 1, 1, 2, 255]], 4, axis=0)
        >>> labels = np.repeat([[0, 0, 0, 1, 2, 2]], 4, axis=0)
        >>> multiclass_mean_boundary_accuracy(labels, truth)
        0.75
    """
    pred, target = check_labels(pred, target)
    return float(mba_compute(*multiclass_mba_update(pred, target, r0, ignore_index)))
