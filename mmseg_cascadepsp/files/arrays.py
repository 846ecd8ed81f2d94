"""The border: what users hand in is checked here, once, and is sound behind it."""

from typing import Any

import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from .values import full_value, is_object


def check_image(image: Any) -> np.ndarray:
    """A photo, RGB uint8 ``(H, W, 3)``, as it came.

    Raises:
        TypeError: no array, or not uint8.
        ValueError: another shape, or no pixels.
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
    if image.dtype != np.uint8:
        raise InvalidTypeError(f'image must be uint8, 0 to 255, got {image.dtype}.')
    if not image.size:
        raise InvalidValueError(
            f'image must have at least one pixel, got the shape {image.shape}.'
        )
    return image


def check_mask(mask: Any, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A mask as bool ``(H, W)``, binarised.

    Args:
        mask: ``HxW`` or ``HxWx1``. Bool as it is; integers of 0 and 1 as such; other integers, 0
            to 255, above 127; floats, 0 to 1, above 0.5.
        shape: ``(H, W)`` of the image that it belongs to.

    Raises:
        TypeError: no array, or a dtype that is no number.
        ValueError: another shape than the image, NaN, or values out of range.
    """
    if not isinstance(mask, np.ndarray):
        raise InvalidTypeError(f'mask must be a numpy array (H, W), got {type(mask).__name__}.')
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim != 2 or not mask.size:
        raise InvalidValueError(
            f'mask must have the shape (H, W) or (H, W, 1), got {mask.shape}; one '
            'object or class at a time.'
        )
    if shape is not None and mask.shape != tuple(shape):
        hint = 'resize the mask to the image'
        if mask.shape == tuple(shape)[::-1]:
            hint = 'one of them is turned by 90 degrees, see the EXIF orientation of the photo'
        raise InvalidValueError(
            f'mask must have the size of the image, {shape[0]} x {shape[1]} (H x W), got '
            f'{mask.shape[0]} x {mask.shape[1]}; {hint}.'
        )
    kind = mask.dtype.kind
    if kind == 'b':
        return mask
    if kind not in 'iuf':
        raise InvalidTypeError(f'mask must be bool, integer or float, got {mask.dtype}.')
    low, high = mask.min(), mask.max()
    if np.isnan(low):
        raise InvalidValueError('mask has NaN; expected floats from 0 to 1.')
    top = 1 if kind == 'f' else 255
    if low < 0 or high > top:
        raise InvalidValueError(
            f'mask has values from {low} to {high}; expected '
            f'{"floats" if kind == "f" else "integers"} from 0 to {top}.'
        )
    return is_object(mask, full_value(low, high, 'mask'))
