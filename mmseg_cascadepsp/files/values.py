"""What the values of photos mean, the same in files that are read whole and by rows."""

import os
import warnings

import numpy as np

from mmseg_cascadepsp.errors import FileError


def to_uint8(values: np.ndarray, name: str | os.PathLike, top: float | None = None) -> np.ndarray:
    """Bring values of a photo to 8 bits.

    Args:
        values: Integers or floats of any shape. 16 bits lose their low byte. Wide integers count
            as 8 bits, and floats as 8 bits or fractions, where no value is larger.
        name: Of the photo, for the message.
        top: The largest value of the whole photo where ``values`` are a part. None: theirs.

    Returns:
        uint8, of the same shape.

    Raises:
        FileError: NaN, or values below 0 or above 65535.

    Example:
        >>> to_uint8(np.array([0, 300, 65535], np.uint16), 'a.png').tolist()
        [0, 1, 255]
        >>> to_uint8(np.array([0, 30, 255], np.uint16), 'a.png').tolist()  # 8 bits, stored wide
        [0, 30, 255]
    """
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max() if top is None else top
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 65535:
        raise FileError(
            f'{name} holds values from {low} to {high}; expected 0 to 255, 0 to 65535, '
            'or fractions 0 to 1.'
        )
    if values.dtype.kind == 'f':
        values = values * 255 if high <= 1 else values
        return (values if high <= 255 else values / 257).round().astype(np.uint8)
    return (values if high <= 255 else values >> 8).astype(np.uint8)


def to_rgb(
    colours: np.ndarray,
    alpha: np.ndarray | None,
    name: str | os.PathLike,
    premultiplied: bool = False,
    top: float | None = None,
) -> np.ndarray:
    """Show a photo, or rows of it, as a viewer does: grey becomes RGB, transparent parts lie on
    white.

    Args:
        colours: ``(H, W)``, ``(H, W, 1)`` or RGB ``(H, W, 3)``, of a kind that :func:`to_uint8`
            takes.
        alpha: ``(H, W)``, of such a kind, or None.
        name: Of the photo, for messages.
        premultiplied: Whether the colours have been multiplied by alpha.
        top: The largest colour of the whole photo, see :func:`to_uint8`.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Raises:
        FileError: As :func:`to_uint8`.

    Example:
        >>> to_rgb(np.zeros((1, 2), np.uint8), np.array([[255, 0]], np.uint8), 'a.png').tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    colours = to_uint8(colours, name, top)
    colours = colours[..., None] if colours.ndim == 2 else colours
    if alpha is not None:
        opaque = np.iinfo(alpha.dtype).max
        weight = to_uint8(alpha, name, opaque)[..., None].astype(np.uint16)
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
