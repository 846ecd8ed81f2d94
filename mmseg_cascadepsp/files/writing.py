"""Writing pictures whole or not at all."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .opening import open_header
from .paths import atomic_open


def encode_png(
    pixels: np.ndarray,
    text: Mapping[str, str] | None = None,
    palette: np.ndarray | None = None,
) -> bytes:
    """A picture, mask or label map as PNG.

    Args:
        pixels: uint8 ``(H, W)``, RGB ``(H, W, 3)`` or RGBA ``(H, W, 4)``. Bool ``(H, W)`` becomes
            0 and 255. Other integers ``(H, W)``, from 0 to 65535, become 8 bits, or 16 where one
            is above 255.
        text: Notes kept in the file, read back by
            :func:`~mmseg_cascadepsp.files.read_png_text`.
        palette: uint8 ``(n, 3)`` RGB: ``pixels`` become the indices of a palette, where they are
            8 bits.

    Example:
        >>> Image.open(io.BytesIO(encode_png(np.array([[0, 300]])))).mode
        'I;16'
    """
    if pixels.dtype == bool:
        pixels = pixels.view(np.uint8) * 255
    elif pixels.dtype != np.uint8:
        pixels = pixels.astype(np.uint8 if pixels.max(initial=0) < 256 else np.uint16)
    if pixels.ndim == 2 and pixels.size and not text and palette is None:
        # Several times as fast as Pillow, and as small.
        return cv2.imencode('.png', np.ascontiguousarray(pixels))[1].tobytes()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None and pixels.dtype == np.uint8:
        picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    notes = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        notes.add_itxt(key, value)
    return _encoded(picture, 'PNG', pnginfo=notes, compress_level=4)


def write_png(
    path: str | os.PathLike,
    pixels: np.ndarray,
    text: Mapping[str, str] | None = None,
    palette: np.ndarray | None = None,
) -> None:
    """Write a PNG, atomically.

    Args:
        path: The file. Missing folders are made.
        pixels, text, palette: See :func:`encode_png`.

    Raises:
        FileError: The disk is full, or the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/mask.png'
        >>> write_png(path, np.array([[True, False]]))
        >>> np.asarray(Image.open(path)).tolist()
        [[255, 0]]
    """
    _write(path, encode_png(pixels, text, palette))


def read_png_text(path: str | os.PathLike) -> dict[str, str]:
    """Read the notes that :func:`write_png` put into a file, without its pixels.

    Args:
        path: The file.

    Returns:
        Key -> text. Empty where there are none, or no PNG.

    Example:
        >>> read_png_text('missing.png')
        {}
    """
    try:
        with open_header(path) as picture:
            # Not `picture.text`: it unpacks the pixels, for notes behind them.
            return {k: str(v) for k, v in picture.info.items() if isinstance(v, str)}
    except Exception:
        return {}


def write_image(
    path: str | os.PathLike, pixels: np.ndarray, quality: int = 92, comment: str = ''
) -> None:
    """Write a picture, atomically.

    Args:
        path: The file. Its suffix names the format, which is JPEG without one.
        pixels: uint8, RGB ``(H, W, 3)`` or grey ``(H, W)``.
        quality: Of JPEG and WebP.
        comment: Kept in a JPEG.

    Raises:
        InvalidValueError: The suffix is that of no image format.
        FileError: The disk is full, or the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/picture.jpg'
        >>> write_image(path, np.zeros((2, 3, 3), np.uint8))
        >>> Image.open(path).size
        (3, 2)
    """
    suffix = Path(path).suffix.lower() or '.jpg'
    kind = Image.registered_extensions().get(suffix)
    if kind is None:
        raise InvalidValueError(
            f'path {path} ends in {suffix!r}, which is no image format; use .png or .jpg.'
        )
    options = {'comment': comment} if comment and kind == 'JPEG' else {}
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    _write(path, _encoded(picture, kind, quality=quality, **options))


def _encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _write(path: str | os.PathLike, content: bytes) -> None:
    try:
        with atomic_open(path) as file:
            file.write(content)
    except OSError as error:
        raise FileError(
            error.errno, f'{path} cannot be written: {error.strerror or error}.'
        ) from error
