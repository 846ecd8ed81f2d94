"""One validator for the masks and label maps that the functions of this folder take."""

import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError


def check_binary(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``pred`` ``(..., H, W)`` and ``target`` ``(H, W)`` as uint8 arrays of 0 and 1.

    Raises:
        ValueError: the sizes differ, or a value is neither 0 nor 1.
    """
    pred, target = _check_shapes(pred, target)
    for name, mask in (('pred', pred), ('target', target)):
        if mask.dtype.kind not in 'biu' or mask.size and (mask.min() < 0 or mask.max() > 1):
            raise InvalidValueError(
                f'{name} must be a mask of bool or of integers 0 and 1, got '
                f'{mask.dtype} from {mask.min()} to {mask.max()}; threshold it '
                f'first, e.g. {name} > 127.'
            )
    return pred.astype(np.uint8, copy=False), target.astype(np.uint8, copy=False)


def check_labels(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``pred`` ``(..., H, W)`` and ``target`` ``(H, W)``, both of integers.

    Raises:
        ValueError: the sizes differ.
        TypeError: a label map does not hold integers.
    """
    pred, target = _check_shapes(pred, target)
    for name, labels in (('pred', pred), ('target', target)):
        if labels.dtype.kind not in 'iu':
            raise InvalidTypeError(
                f'{name} must hold class indices as integers, got {labels.dtype}.'
            )
    return pred, target


def check_range(target: np.ndarray, num_classes: int, ignore_index: int) -> None:
    """Raise ``ValueError`` where the truth holds an id that is neither a class nor void."""
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
