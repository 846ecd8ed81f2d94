"""Checks of the masks and label maps that the functions of this folder take."""

import math
from numbers import Integral, Real

import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError


def check_binary(
    pred: np.ndarray, target: np.ndarray, several: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Check a predicted and a true mask.

    Args:
        pred: The mask ``(H, W)``. Bool, or integers 0 and 1.
        target: The true mask ``(H, W)``. Bool, or integers 0 and 1.
        several: Whether ``pred`` may be several masks ``(..., H, W)``.

    Returns:
        Both as uint8 arrays of 0 and 1.

    Raises:
        InvalidValueError: The sizes differ, a value is neither 0 nor 1, or it is hidden by
            ``numpy.ma``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.functional.checks import check_binary
        >>> check_binary(np.array([[True]]), np.array([[0]]))
        (array([[1]], dtype=uint8), array([[0]], dtype=uint8))
    """
    pred, target = _check_shapes(pred, target, several)
    for name, mask in (('pred', pred), ('target', target)):
        numbers = mask.dtype.kind in 'biuf'
        if (
            not numbers
            or mask.dtype.kind == 'f'
            or mask.size
            and (mask.min() < 0 or mask.max() > 1)
        ):
            found = f' from {mask.min()} to {mask.max()}' if numbers and mask.size else ''
            raise InvalidValueError(
                f'{name} must be a mask of bool or of integers 0 and 1, got {mask.dtype}{found}; '
                f'threshold it first, e.g. {name} > 127.'
            )
    return pred.astype(np.uint8, copy=False), target.astype(np.uint8, copy=False)


def check_labels(
    pred: np.ndarray, target: np.ndarray, several: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Check a predicted and a true label map.

    Args:
        pred: The label map ``(H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        several: Whether ``pred`` may be several label maps ``(..., H, W)``.

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
    pred, target = _check_shapes(pred, target, several)
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
        InvalidTypeError: ``num_classes`` or ``ignore_index`` is no integer.
        InvalidValueError: An id is neither, or there is no class.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.functional.checks import check_range
        >>> check_range(np.array([[0, 1, 255]]), num_classes=2, ignore_index=255)
    """
    check_integer('num_classes', num_classes)
    check_integer('ignore_index', ignore_index)
    if num_classes < 1:
        raise InvalidValueError(f'num_classes must be at least 1, got {num_classes}.')
    strange = target[((target < 0) | (target >= num_classes)) & (target != ignore_index)]
    if strange.size:
        raise InvalidValueError(
            f'target holds the class {strange[0]}; expected 0 to {num_classes - 1}, '
            f'or {ignore_index} for void; set num_classes, ignore_index or '
            'reduce_zero_label as the dataset needs.'
        )


def check_integer(name: str, value: int) -> None:
    """Check that an argument is an integer.

    Args:
        name: Of the argument, for the message.
        value: The argument.

    Raises:
        InvalidTypeError: It is none.

    Example:
        >>> check_integer('ignore_index', 255)
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f'{name} must be an integer, got {value!r}.')


def check_share(name: str, value: float) -> None:
    """Check that an argument is a number from 0 to 1.

    Args:
        name: Of the argument, for the message.
        value: The argument.

    Raises:
        InvalidTypeError: It is no number.
        InvalidValueError: It is out of range.

    Example:
        >>> check_share('dilation_ratio', 0.02)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f'{name} must be a number, got {value!r}.')
    if not 0 <= value <= 1 or math.isnan(value):
        raise InvalidValueError(f'{name} must be from 0 to 1, got {value}.')


def _as_array(name: str, value: object) -> np.ndarray:
    if np.ma.is_masked(value):
        raise InvalidValueError(
            f'{name} hides some of its values (numpy.ma): say what they are with '
            f'{name}.filled(value).'
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InvalidValueError(f'{name} must be an array (H, W): {error}.') from error


def _check_shapes(pred, target, several: bool) -> tuple[np.ndarray, np.ndarray]:
    pred, target = _as_array('pred', pred), _as_array('target', target)
    if target.ndim != 2 or 0 in target.shape:
        raise InvalidValueError(
            f'target must be of shape (H, W) with at least one pixel, got {target.shape}.'
        )
    if pred.ndim < 2 or pred.shape[-2:] != target.shape:
        raise InvalidValueError(
            f'pred must be of the size of target, {target.shape}, got {pred.shape}; '
            'resize the prediction to the size of the truth.'
        )
    if pred.ndim > 2 and not several:
        raise InvalidValueError(
            f'pred must be one picture of shape {target.shape}, got {pred.shape}; give one after '
            'the other.'
        )
    return pred, target
