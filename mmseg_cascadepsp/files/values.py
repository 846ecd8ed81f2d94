"""What the values of photos and masks mean. Arrays, files read whole and files read by rows follow
the same rules.
"""

import os
import warnings

import numpy as np

from mmseg_cascadepsp.errors import FileError


def full_value(low: float, high: float, name: str | os.PathLike) -> int:
    """Tell from the range of a mask which value means object.

    A mask without object because its values are small, such as class indices, brings a warning.

    Args:
        low: Smallest value of the whole mask.
        high: Largest value of the whole mask.
        name: Of the mask, for messages.

    Returns:
        1 for masks of 0/1, of one bit and of fractions, 255 for 8 bits, 65535 for 16 bits.

    Raises:
        FileError: NaN, or values below 0 or above 65535.

    Example:
        >>> full_value(0, 1, 'a.png'), full_value(0, 200, 'a.png'), full_value(0, 65535, 'a.png')
        (1, 255, 65535)
    """
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 65535:
        raise FileError(
            f'{name} holds values from {low} to {high}; expected a mask of 0/255, 0/1 '
            'or 0 to 65535.'
        )
    full = 1 if high <= 1 else 255 if high <= 255 else 65535
    if full > 1 and high <= full // 2:
        warnings.warn(
            f'{name} has no value above {full // 2} (its largest is {high}), so the mask is '
            f'empty; object pixels are expected to be {full} or, with 0/1, to be 1.',
            stacklevel=4,
        )
    return full


def is_object(values: np.ndarray, full: int) -> np.ndarray:
    """Binarise a mask, or a part of it.

    Args:
        values: Bool, integers or floats of any shape.
        full: What :func:`full_value` says of the whole mask.

    Returns:
        Bool, of the same shape: values above half of ``full``. Half itself is background.

    Example:
        >>> is_object(np.array([0, 127, 128]), 255).tolist()
        [False, False, True]
        >>> is_object(np.array([0.5, 0.51]), 1).tolist()
        [False, True]
    """
    if values.dtype.kind == 'b':
        return values
    return values > (full / 2 if values.dtype.kind == 'f' else full // 2)


def soft_mask(values: np.ndarray, full: int) -> np.ndarray:
    """Bring a mask to 8 bits and keep soft values soft.

    Args:
        values: Bool, integers or floats of any shape.
        full: What :func:`full_value` says of the whole mask.

    Returns:
        uint8, of the same shape. It is above 127 where :func:`is_object` is true.

    Example:
        >>> soft_mask(np.array([0, 0.5, 0.51, 1]), 1).tolist()
        [0, 127, 130, 255]
        >>> soft_mask(np.array([0, 300, 65535]), 65535).tolist()
        [0, 1, 255]
    """
    if full != 255:
        values = values * np.float32(255) if full == 1 else values.astype(np.float32) / 257
    if values.dtype.kind == 'f':
        values = np.ceil(values - 0.5)  # halves go down: 0.5 is background
    return values.astype(np.uint8)


def to_uint8(values: np.ndarray, name: str | os.PathLike) -> np.ndarray:
    """Bring values of a photo to 8 bits.

    Args:
        values: Integers or floats of any shape. 16 bits lose their low byte. Wider integers count
            as 8 bits, and floats as 8 bits or fractions, where no value is larger.
        name: Of the photo, for the message.

    Returns:
        uint8, of the same shape.

    Raises:
        FileError: NaN, or values below 0 or above 65535.

    Example:
        >>> to_uint8(np.array([0, 300, 65535], np.uint16), 'a.png').tolist()
        [0, 1, 255]
    """
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 65535:
        raise FileError(
            f'{name} holds values from {low} to {high}; expected 0 to 255, 0 to 65535, '
            'or fractions 0 to 1.'
        )
    if values.dtype.kind == 'f':
        values = values * 255 if high <= 1 else values
        return (values if high <= 255 else values / 257).round().astype(np.uint8)
    return (values if values.dtype.itemsize > 2 and high <= 255 else values >> 8).astype(np.uint8)


def to_rgb(
    colours: np.ndarray,
    alpha: np.ndarray | None,
    name: str | os.PathLike,
    premultiplied: bool = False,
) -> np.ndarray:
    """Show a photo, or rows of it, as a viewer does: grey becomes RGB, transparent parts lie on
    white.

    Args:
        colours: ``(H, W)``, ``(H, W, 1)`` or RGB ``(H, W, 3)``, of a kind that :func:`to_uint8`
            takes.
        alpha: ``(H, W)``, of such a kind, or None.
        name: Of the photo, for messages.
        premultiplied: Whether the colours have been multiplied by alpha.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Raises:
        FileError: As :func:`to_uint8`.

    Example:
        >>> to_rgb(np.zeros((1, 2), np.uint8), np.array([[255, 0]], np.uint8), 'a.png').tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    colours = to_uint8(colours, name)
    colours = colours[..., None] if colours.ndim == 2 else colours
    if alpha is not None:
        weight = to_uint8(alpha, name)[..., None].astype(np.uint16)
        if premultiplied:
            colours = np.minimum(colours + (255 - weight), 255)  # a damaged file exceeds 255
        else:
            colours = (colours * weight + 255 * (255 - weight) + 127) // 255
        colours = colours.astype(np.uint8)
    if colours.shape[-1] == 1:
        colours = np.repeat(colours, 3, axis=2)
    return np.ascontiguousarray(colours)


def check_brightness(high: int, wide: bool, name: str | os.PathLike) -> None:
    """Warn of a photo that is nearly black, as those of 8 to 14 bits in a file of 16 are.

    Args:
        high: Largest value of the whole photo, from 0 to 255.
        wide: Whether the file holds more than 8 bits. A black photo of 8 bits is taken as meant.
        name: Of the photo, for the message.

    Example:
        >>> check_brightness(200, True, 'a.png')  # says nothing
    """
    if high < 64 and (high > 0 or wide):
        warnings.warn(
            f'{name} is nearly black: of 255 it has no value above {high}, and its edges are '
            'hardly seen. If it holds 8 to 14 bits in a file of 16, stretch it to all 16 first.',
            stacklevel=3,
        )
