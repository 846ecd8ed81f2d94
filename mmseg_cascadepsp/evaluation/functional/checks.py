"""Checks of the masks and label maps that the functions of this folder take."""

import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError


def check_binary(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check a predicted and a true mask.

    Args:
        pred: One mask ``(H, W)`` or several ``(..., H, W)``. Bool, or integers 0 and 1.
        target: The true mask ``(H, W)``. Bool, or integers 0 and 1.

    Returns:
        Both as uint8 arrays of 0 and 1.

    Raises:
        InvalidValueError: The sizes differ, or a value is neither 0 nor 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.functional.checks import check_binary
        >>> check_binary(np.array([[True]]), np.array([[0]]))
        (array([[1]], dtype=uint8), array([[0]], dtype=uint8))
    """
    pred, target = _check_shapes(pred, target)
    for name, mask in (('pred', pred), ('target', target)):
        if mask.dtype.kind not in 'biu' or mask.size and (mask.min() < 0 or mask.max() > 1):
            raise InvalidValueError(
                f'{name} must be a mask of bool or of integers 0 and 1, got {mask.dtype} '
                f'from {mask.min()} to {mask.max()}; threshold it first, e.g. {name} > 127.'
            )
    return pred.astype(np.uint8, copy=False), target.astype(np.uint8, copy=False)


def check_labels(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check a predicted and a true label map.

    Args:
        pred: One label map ``(H, W)`` or several ``(..., H, W)``, integers.
        target: The true label map ``(H, W)``, integers.

    Returns:
        Both as numpy arrays.

    Raises:
        InvalidValueError: The sizes differ.
        InvalidTypeError: A label map does not hold integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.functional.checks import check_labels
        >>> check_labels([[3]], [[255]])
        (array([[3]]), array([[255]]))
    """
    pred, target = _check_shapes(pred, target)
    for name, labels in (('pred', pred), ('target', target)):
        if labels.dtype.kind not in 'iu':
            raise InvalidTypeError(
                f'{name} must hold class indices as integers, got {labels.dtype}.'
            )
    return pred, target


def check_range(target: np.ndarray, num_classes: int, ignore_index: int) -> None:
    """Check that every id of a true label map is a class or void.

    Args:
        target: The true label map, integers.
        num_classes: Classes are 0 to ``num_classes - 1``.
        ignore_index: The id of void.

    Raises:
        InvalidValueError: An id is neither.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.functional.checks import check_range
        >>> check_range(np.array([[0, 1, 255]]), num_classes=2, ignore_index=255)
    """
    strange = target[((target < 0) | (target >= num_classes)) & (target != ignore_index)]
    if strange.size:
        raise InvalidValueError(
            f'target holds the class {strange[0]}; expected 0 to {num_classes - 1}, '
            f'or {ignore_index} for void; set num_classes, ignore_index or '
            'reduce_zero_label as the dataset needs.'
        )


def _check_shapes(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pred, target = np.asarray(pred), np.asarray(target)
    if target.ndim != 2 or 0 in target.shape:
        raise InvalidValueError(
            f'target must be of shape (H, W) with at least one pixel, got {target.shape}.'
        )
    if pred.ndim < 2 or pred.shape[-2:] != target.shape:
        raise InvalidValueError(
            f'pred must be of the size of target, {target.shape}, got {pred.shape}; '
            'resize the prediction to the size of the truth.'
        )
    return pred, target
