"""Writing pictures whole or not at all."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .paths import atomic_open


def write_png(
    path: str | os.PathLike,
    pixels: np.ndarray,
    text: Mapping[str, str] | None = None,
    palette: np.ndarray | None = None,
) -> None:
    """Write ``pixels`` (uint8 ``HxW`` or RGB ``HxWx3``, or uint16 ``HxW``) as PNG, atomically.

    Args:
        path: Where to; missing folders are made.
        pixels: What to write.
        text: Notes kept in the file, read back by :func:`read_png_text`.
        palette: uint8 ``(n, 3)`` RGB: the file becomes a palette PNG whose indices are ``pixels``.

    Raises:
        OSError: the disk is full, the folder cannot be written to.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    notes = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        notes.add_itxt(key, value)
    _save(path, picture, 'PNG', pnginfo=notes, compress_level=4)


def write_image(
    path: str | os.PathLike, pixels: np.ndarray, quality: int = 92, comment: str = ''
) -> None:
    """Write a uint8 picture, RGB or grey, in the format that the suffix of ``path`` names (JPEG
    without one), atomically. JPEG keeps a comment.
    """
    suffix = Path(path).suffix.lower() or '.jpg'
    kind = Image.registered_extensions().get(suffix)
    if kind is None:
        raise InvalidValueError(
            f'path {path} ends in {suffix!r}, which is no image format; use .png or .jpg.'
        )
    options = {'comment': comment} if comment and kind == 'JPEG' else {}
    _save(path, Image.fromarray(np.ascontiguousarray(pixels)), kind, quality=quality, **options)


def _save(path: str | os.PathLike, picture: Image.Image, kind: str, **options) -> None:
    buffer = io.BytesIO()  # encode first: a fault of the encoder leaves the disk alone
    picture.save(buffer, kind, **options)
    try:
        with atomic_open(path) as file:
            file.write(buffer.getbuffer())
    except OSError as error:
        raise FileError(
            error.errno, f'{path} cannot be written: {error.strerror or error}.'
        ) from error
