"""The border: what users hand in is checked here, once, and is sound behind it."""

from numbers import Real
from typing import Any

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from .mask_values import Meaning, Reading, Seen, meaning_of


def check_image(image: Any) -> np.ndarray:
    """Check a photo.

    Args:
        image: RGB uint8 ``(H, W, 3)``.

    Returns:
        ``image``.

    Raises:
        InvalidTypeError: No array, or not uint8.
        InvalidValueError: Another shape, or no pixels.

    Example:
        >>> check_image(np.zeros((2, 3, 3), np.uint8)).shape
        (2, 3, 3)
    """
    if not isinstance(image, np.ndarray):
        raise InvalidTypeError(
            'image must be a numpy array, RGB uint8 (H, W, 3), got '
            f'{type(image).__name__}; for a PIL image use '
            'np.asarray(image.convert("RGB")).'
        )
    if image.ndim != 3 or image.shape[2] != 3:
        alpha = '; drop the alpha channel' if image.ndim == 3 and image.shape[2] == 4 else ''
        raise InvalidValueError(
            f'image must have the shape (H, W, 3), RGB, got {image.shape}{alpha}.'
        )
    if isinstance(image, np.ma.MaskedArray):
        raise InvalidTypeError(
            'image must be a plain array, got a masked array; give image.data, or fill it '
            '(image.filled(0)).'
        )
    if image.dtype != np.uint8:
        raise InvalidTypeError(f'image must be uint8, 0 to 255, got {image.dtype}.')
    if not image.size:
        raise InvalidValueError(
            f'image must have at least one pixel, got the shape {image.shape}.'
        )
    return image


def check_mask(
    mask: Any, shape: tuple[int, int] | None = None, reading: Reading | None = None
) -> np.ndarray:
    """Check a mask and binarise it.

    Args:
        mask: ``(H, W)`` or ``(H, W, 1)``: bool, integers of 0 and 1, 0 to 255 or 0 to 65535, or
            floats from 0 to 1. What is above half is object, see
            :func:`~mmseg_cascadepsp.files.mask_values.meaning_of`. What a masked array masks is
            background.
        shape: ``(H, W)`` of the image that it belongs to.
        reading: How to read it where its values do not say it.

    Returns:
        Bool ``(H, W)``.

    Raises:
        InvalidTypeError: No array, or a dtype that is no number.
        InvalidValueError: Another shape than the image, NaN, values out of range, or values that
            can be read in two ways, such as 0, 1 and 255.

    Example:
        >>> check_mask(np.array([[0, 127, 128, 255]], np.uint8), reading=Reading('soft')).tolist()
        [[False, False, True, True]]
    """
    mask = _plane(mask)
    if shape is not None:
        check_size('mask', mask.shape, 'image', shape)
    return mask if mask.dtype == bool else _meaning(mask, reading).is_object(mask)


def soft_mask(mask: Any, reading: Reading | None = None) -> np.ndarray:
    """A mask as uint8 ``(H, W)``, 0 to 255, whose soft values stay soft.

    Args:
        mask, reading: See :func:`check_mask`.

    Returns:
        Above 127 where :func:`check_mask` is true.

    Raises:
        InvalidTypeError, InvalidValueError: As :func:`check_mask`.

    Example:
        >>> soft_mask(np.array([[0, 0.5, 1]])).tolist()
        [[0, 127, 255]]
    """
    mask = _plane(mask)
    return mask * np.uint8(255) if mask.dtype == bool else _meaning(mask, reading).soft(mask)


def _plane(mask: Any) -> np.ndarray:
    """A mask's values, ``(H, W)``."""
    if not isinstance(mask, np.ndarray):
        raise InvalidTypeError(f'mask must be a numpy array (H, W), got {type(mask).__name__}.')
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim != 2 or not mask.size:
        raise InvalidValueError(
            f'mask must have the shape (H, W) or (H, W, 1), got {mask.shape}; one '
            'object or class at a time.'
        )
    if mask.dtype.kind not in 'biuf':
        raise InvalidTypeError(f'mask must be bool, integer or float, got {mask.dtype}.')
    return mask.filled(0) if isinstance(mask, np.ma.MaskedArray) else mask


def _meaning(mask: np.ndarray, reading: Reading | None) -> Meaning:
    seen = Seen()
    seen.add(mask)
    return meaning_of(seen, 'mask', reading)


def resized_mask(mask: np.ndarray, shape: tuple[int, int], name: str = 'mask') -> np.ndarray:
    """Bring a mask to the size of its photo: bilinear to enlarge, means of areas to shrink.

    Args:
        mask: uint8 ``(h, w)``, 0 to 255. Soft values give the smoother boundary.
        shape: ``(H, W)`` of the photo. Its aspect ratio may differ, as that of networks that see
            squares does.
        name: Of the mask, for the message.

    Returns:
        bool ``(H, W)``: above the half.

    Raises:
        InvalidValueError: The mask seems to be turned by 90 degrees.

    Example:
        >>> resized_mask(np.array([[0, 255]], np.uint8), (1, 4)).tolist()
        [[False, False, True, True]]
    """
    check_turned(name, mask.shape, shape)
    size = shape[::-1]
    value = mask.astype(np.float32)
    for axis in (0, 1):  # one side may grow while the other shrinks
        target = (value.shape[1], size[1]) if axis == 0 else (size[0], value.shape[0])
        shrinks = shape[axis] < value.shape[axis]
        value = cv2.resize(
            value, target, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    return value > 127.5


def resized_labels(labels: np.ndarray, shape: tuple[int, int], name: str = 'labels') -> np.ndarray:
    """Bring a label map to the size of its photo: each pixel takes the nearest label.

    Args:
        labels: int32 ``(h, w)``.
        shape: ``(H, W)`` of the photo.
        name: Of the label map, for the message.

    Returns:
        int32 ``(H, W)``.

    Raises:
        InvalidValueError: The label map seems to be turned by 90 degrees.

    Example:
        >>> resized_labels(np.array([[3, 7]], np.int32), (1, 4)).tolist()
        [[3, 3, 7, 7]]
    """
    check_turned(name, labels.shape, shape)
    return cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def check_turned(name: str, size: tuple[int, int], photo: tuple[int, int]) -> None:
    """Refuse a mask to be resized whose sides have the ratio of the photo's, turned.

    Args:
        name: Of the mask, for the message.
        size: ``(h, w)`` of the mask.
        photo: ``(H, W)`` of the photo.

    Raises:
        InvalidValueError: The mask seems to be turned by 90 degrees.

    Example:
        >>> check_turned('mask', (512, 512), (3000, 4000))  # says nothing
    """
    upright, turned = (max(size[0] * b, a * size[1]) / min(size[0] * b, a * size[1])
                       for a, b in (photo, photo[::-1]))  # fmt: skip
    if turned < 1.02 and upright > 1.1:
        raise InvalidValueError(
            f'{name} of {size[0]} x {size[1]} (H x W) looks like the photo of {photo[0]} x '
            f'{photo[1]}, turned by 90 degrees; turn one of them, see the EXIF orientation of the '
            'photo.'
        )


def check_size(
    name: str,
    size: tuple[int, int],
    photo: str,
    expected: tuple[int, int],
    hint: str | None = None,
) -> None:
    """Check that a mask has the size of its photo.

    Args:
        name: Of the mask, for the message.
        size: ``(H, W)`` of the mask.
        photo: Name of the photo.
        expected: ``(H, W)`` of the photo.
        hint: What to do, in place of the usual advice.

    Raises:
        InvalidValueError: They differ.

    Example:
        >>> check_size('mask', (3, 4), 'image', (3, 4))  # says nothing
    """
    size, expected = tuple(size), tuple(expected)
    if size == expected:
        return
    if hint is None:
        hint = 'resize the mask to the image, or say resize_mask=True (--resize-mask)'
        if size == expected[::-1]:
            hint = 'one of them is turned by 90 degrees, see the EXIF orientation of the photo'
    raise InvalidValueError(
        f'{name} must have the size of the {photo}, {expected[0]} x {expected[1]} (H x W), got '
        f'{size[0]} x {size[1]}; {hint}.'
    )


def check_threshold(value: float) -> None:
    """Check a probability above which a pixel is object.

    Raises:
        InvalidTypeError: It is no number.
        InvalidValueError: It is below 0, or 1 and more, which no probability is above.

    Example:
        >>> check_threshold(0.5)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f'threshold must be a number, got {value!r}.')
    if not 0 <= value < 1:
        raise InvalidValueError(f'threshold must be at least 0 and below 1, got {value}.')
