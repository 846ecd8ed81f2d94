"""Checks of what the functions of this folder take: masks, label maps, counts and numbers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError, one_line

#: More classes than a label map of 16 bits can hold are a mistake, which would fill the memory.
MAX_CLASSES = 2**16


def check_binary(
    pred: np.ndarray, target: np.ndarray, several: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Check a predicted and a true mask.

    Args:
        pred: One mask ``(H, W)``, or with ``several`` also ``(..., H, W)``. Bool, or integers 0
            and 1.
        target: The true mask ``(H, W)``. Bool, or integers 0 and 1.
        several: Whether ``pred`` may be several masks.

    Returns:
        Both as uint8 arrays of 0 and 1.

    Raises:
        InvalidTypeError: One of them is no array of numbers.
        InvalidValueError: The sizes differ, a value is neither 0 nor 1, or it is hidden by
            ``numpy.ma``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.functional.checks import check_binary
        >>> check_binary(np.array([[True]]), np.array([[0]]))
        (array([[1]], dtype=uint8), array([[0]], dtype=uint8))
    """
    pred, target = _check_shapes(pred, target, several)
    return check_mask('pred', pred), check_mask('target', target)


def check_mask(name: str, mask: np.ndarray) -> np.ndarray:
    """Check the values of masks.

    Args:
        name: Of the argument, for the message.
        mask: ``(..., H, W)``, bool, or integers 0 and 1.

    Returns:
        uint8 of 0 and 1.

    Raises:
        InvalidTypeError: It is no array of numbers.
        InvalidValueError: A value is neither 0 nor 1, or hidden by ``numpy.ma``.

    Example:
        >>> check_mask('pred', [[True, False]])
        array([[1, 0]], dtype=uint8)
    """
    mask = check_array(name, mask)
    if mask.dtype.kind not in 'biu' or (mask.size and (mask.min() < 0 or mask.max() > 1)):
        held = f' from {mask.min()} to {mask.max()}' if mask.size else ''
        raise InvalidValueError(
            f'{name} must be a mask of bool or of integers 0 and 1, got {mask.dtype}{held}; '
            f'threshold it first, e.g. {name} > 127.'
        )
    return mask.astype(np.uint8, copy=False)


def check_labels(
    pred: np.ndarray, target: np.ndarray, several: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Check a predicted and a true label map.

    Args:
        pred: One label map ``(H, W)``, or with ``several`` also ``(..., H, W)``, integers.
        target: The true label map ``(H, W)``, integers.
        several: Whether ``pred`` may be several label maps.

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
        InvalidValueError: An id is neither, or ``num_classes`` is out of range.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.functional.checks import check_range
        >>> check_range(np.array([[0, 1, 255]]), num_classes=2, ignore_index=255)
    """
    check_number('num_classes', num_classes, 1, MAX_CLASSES, whole=True)
    check_number('ignore_index', ignore_index, -(2**63), 2**63, whole=True)
    strange = target[((target < 0) | (target >= num_classes)) & (target != ignore_index)]
    if strange.size:
        raise InvalidValueError(
            f'target holds the class {strange[0]}; expected 0 to {num_classes - 1}, '
            f'or {ignore_index} for void; set num_classes, ignore_index or '
            'reduce_zero_label as the dataset needs.'
        )


def check_number(name: str, value: float, low: float, high: float, whole: bool = False) -> float:
    """Check a number.

    Args:
        name: Of the argument, for the message.
        value: The number.
        low, high: The least and the largest that it may be.
        whole: Whether it must be an integer.

    Returns:
        The number.

    Raises:
        InvalidTypeError: It is no number, or no integer.
        InvalidValueError: It is out of range or NaN.

    Example:
        >>> check_number('dilation_ratio', 0.02, 0, 1)
        0.02
    """
    numbers = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers):
        kind = 'an integer' if whole else 'a number'
        raise InvalidTypeError(f'{name} must be {kind}, got {value!r}.')
    if not low <= value <= high:
        raise InvalidValueError(f'{name} must be from {low} to {high}, got {value}.')
    return value


def check_array(name: str, values: Any) -> np.ndarray:
    """Check that something is an array of numbers.

    Args:
        name: Of the argument, for the message.
        values: Array, or lists of equal lengths.

    Returns:
        A numpy array.

    Raises:
        InvalidTypeError: It holds no numbers.
        InvalidValueError: Lists are of different lengths, or values are hidden by ``numpy.ma``.

    Example:
        >>> check_array('pred', [[0, 1]])
        array([[0, 1]])
    """
    if np.ma.is_masked(values):
        raise InvalidValueError(
            f'{name} hides some of its values (numpy.ma): say what they are with '
            f'{name}.filled(value).'
        )
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors of GPUs
        raise InvalidValueError(
            f'{name} must be an array of numbers: {one_line(error)}'
        ) from error
    if array.dtype.kind not in 'biuf':
        raise InvalidTypeError(
            f'{name} must be an array of numbers, got {type(values).__name__} of {array.dtype}.'
        )
    return array


def check_counts(name: str, counts: Any, columns: int) -> np.ndarray:
    """Check counts of several images.

    Args:
        name: Of the argument, for the message.
        counts: ``(images, columns)``, at least 0. One row alone will do, too.
        columns: Numbers of each image.

    Returns:
        The array ``(images, columns)``.

    Raises:
        InvalidTypeError: It is no array of numbers.
        InvalidValueError: It has another shape, or negative counts.

    Example:
        >>> check_counts('counts', [[1, 2], [3, 4]], 2).shape
        (2, 2)
    """
    array = check_array(name, counts)
    if array.size == 0:
        return np.zeros((0, columns), np.int64)
    if array.ndim not in (1, 2) or array.shape[-1] != columns:
        raise InvalidValueError(f'{name} must be of shape (images, {columns}), got {array.shape}.')
    if not (array >= 0).all():
        raise InvalidValueError(f'{name} must be counts, which are at least 0.')
    return array.reshape(-1, columns)


def together(**lists: Iterable) -> Iterator[tuple]:
    """Go through several sequences of the same length.

    Args:
        lists: Name of the argument -> its sequence.

    Yields:
        One element of each.

    Raises:
        InvalidTypeError: One of them is no sequence.
        InvalidValueError: One of them is shorter than another.

    Example:
        >>> list(together(preds=[1, 2], targets=[3, 4]))
        [(1, 3), (2, 4)]
    """
    iterators = []
    for name, values in lists.items():
        try:
            iterators.append(iter(values))
        except TypeError:
            raise InvalidTypeError(
                f'{name} must be a sequence of arrays, got {type(values).__name__}.'
            ) from None
    try:
        yield from zip(*iterators, strict=True)
    except ValueError as error:
        if not str(error).startswith('zip()'):  # of a sequence itself
            raise
        raise InvalidValueError(
            f'{" and ".join(lists)} must have the same number of elements.'
        ) from None


def _check_shapes(pred: Any, target: Any, several: bool) -> Sequence[np.ndarray]:
    pred, target = check_array('pred', pred), check_array('target', target)
    if target.ndim != 2 or 0 in target.shape:
        raise InvalidValueError(
            f'target must be of shape (H, W) with at least one pixel, got {target.shape}.'
        )
    if pred.ndim < 2 or pred.shape[-2:] != target.shape or 0 in pred.shape:
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
