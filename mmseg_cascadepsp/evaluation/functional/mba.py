"""Mean boundary accuracy (mBA), section 4.1 of the paper: pixels right near the true boundary."""

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.evaluation.functional.checks import check_binary, check_labels, check_range

NUM_RADII = 5


def boundary_radii(height: int, width: int, r0: int = 1) -> list[int]:
    """The five radii of an image: from ``r0`` in equal steps towards ``(height + width) / 300``.

    Args:
        height: Of the image.
        width: Of the image.
        r0: The smallest radius: 1 in the authors' release and in the later papers that compare
            with it, 3 in the paper.

    Raises:
        ValueError: ``r0`` is not between 1 and 5 (a radius could become 0).

    >>> boundary_radii(1080, 1920), boundary_radii(1080, 1920, r0=3)
    ([1, 2, 4, 6, 8], [3, 4, 5, 7, 8])
    """
    if not 1 <= r0 <= 5:
        raise InvalidValueError(f'r0 must be between 1 and 5 (1: release, 3: paper), got {r0}.')
    largest = (width + height) / 300
    return [r0 + int((largest - r0) / NUM_RADII * i) for i in range(NUM_RADII)]


def boundary_region(mask: np.ndarray, radius: int) -> np.ndarray:
    """Where the elliptic kernel of size ``2 * radius + 1`` sees two values: bool ``(H, W)``.

    This is the morphological gradient, of a mask of 0/1 or a label map, uint8 or uint16.

    >>> boundary_region(np.array([[0, 0, 0, 1, 1]], np.uint8), 1).astype(int)
    array([[0, 0, 1, 1, 0]])
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel) > 0


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The object's bounding box grown by ``margin``: no boundary lies beyond it."""
    x, y, w, h = cv2.boundingRect(mask)
    return slice(max(y - margin, 0), y + h + margin), slice(max(x - margin, 0), x + w + margin)


def mba_update(pred: np.ndarray, target: np.ndarray, r0: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pixels near the true boundary and how many of them are right, for each of the five radii.

    Args:
        pred: One mask ``(H, W)`` or several ``(..., H, W)`` (before and after share the work),
            bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.
        r0: See :func:`boundary_radii`.

    Returns:
        Right pixels, int64 ``(..., 5)``, and pixels of the region, int64 ``(5,)``: 0 where the
        truth has no boundary. What the image's border cuts is no boundary.

    >>> mba_update(np.array([[0, 0, 1, 1, 1]]), np.array([[0, 0, 0, 1, 1]]))
    (array([1, 1, 1, 1, 1]), array([2, 2, 2, 2, 2]))
    """
    pred, target = check_binary(pred, target)
    radii = boundary_radii(*target.shape, r0)
    window = _window(target, max(radii))
    right = pred[(..., *window)] == target[window]
    correct, total = [], []
    for radius in radii:
        region = boundary_region(target[window], radius)
        correct.append(np.count_nonzero(right & region, axis=(-2, -1)))
        total.append(np.count_nonzero(region))
    return np.stack(correct, axis=-1), np.array(total)


def mba_compute(correct: np.ndarray, total: np.ndarray):
    """mBA of an image: the mean over the radii of ``correct / total``; NaN without boundary.

    The mBA of a set is the mean over its images (:func:`nan_mean`): images without boundary drop
    out of it, where the release divides 0 by 0.

    >>> float(mba_compute(np.array([1, 1, 2, 3, 4]), np.array([2, 2, 4, 4, 4])))
    0.65
    """
    correct, total = np.asarray(correct, float), np.asarray(total, float)
    accuracy = np.divide(correct, total, out=np.full(correct.shape, np.nan), where=total > 0)
    return accuracy.mean(axis=-1)


def mean_boundary_accuracy(pred: np.ndarray, target: np.ndarray, r0: int = 1) -> float:
    """mBA of a mask ``(H, W)`` of bool or 0/1 against the true one; NaN if that has no boundary.

    >>> truth = np.zeros((60, 60), bool)
    >>> truth[20:40, 20:40] = True
    >>> shifted = np.roll(truth, 1, axis=1)
    >>> mean_boundary_accuracy(truth, truth), round(mean_boundary_accuracy(shifted, truth), 4)
    (1.0, 0.7436)
    """
    return float(mba_compute(*mba_update(pred, target, r0)))


def multiclass_mba_update(
    pred: np.ndarray,
    target: np.ndarray,
    r0: int = 1,
    ignore_index: int = 255,
    num_classes: int | None = None,
):
    """As :func:`mba_update` for label maps, with the union of the regions of all true classes.

    Void has no region of its own and its pixels do not count; where a class meets void, the
    class's side counts.

    Args:
        pred: One label map ``(H, W)`` or several ``(..., H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        r0: See :func:`boundary_radii`.
        ignore_index: Void in the truth.
        num_classes: Also return the counts of each class, inside its own boundary region.

    Returns:
        Right pixels, int64 ``(..., 5)``, and pixels of the region, int64 ``(5,)``. With
        ``num_classes``, two more: int64 ``(num_classes, ..., 5)`` and ``(num_classes, 5)``.

    >>> multiclass_mba_update(np.array([[0, 2, 1, 1, 1]]), np.array([[0, 0, 1, 1, 255]]))
    (array([2, 2, 2, 2, 2]), array([3, 3, 3, 3, 3]))
    """
    pred, target = check_labels(pred, target)
    radii = boundary_radii(*target.shape, r0)
    valid = target != ignore_index
    right = (pred == target) & valid
    # A pixel is near a boundary of some class where the kernel sees two labels: one gradient of
    # the label map is the union of the gradients of all its classes.
    ids = np.unique(target, return_inverse=True)[1].reshape(target.shape).astype(np.uint16)
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
    """mBA of a label map ``(H, W)`` of integers against the true one.

    NaN if that has no boundary outside void.

    >>> truth = np.repeat([[0, 0, 1, 1, 2, 255]], 4, axis=0)
    >>> labels = np.repeat([[0, 0, 0, 1, 2, 2]], 4, axis=0)
    >>> multiclass_mean_boundary_accuracy(truth, truth)
    1.0
    >>> multiclass_mean_boundary_accuracy(labels, truth)
    0.75
    """
    return float(mba_compute(*multiclass_mba_update(pred, target, r0, ignore_index)))
