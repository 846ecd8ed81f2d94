"""Reading photos, masks and label maps as people expect them, and writing them whole or not at
all.

Arrays are RGB and numpy throughout. Everything that goes wrong with a file is an ``OSError`` of
one sentence with its path.
"""

import io
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from mmseg_cascadepsp.errors import DeniedFileError, FileError, InvalidValueError, MissingFileError

from .paths import atomic_open
from .values import check_brightness, full_value, soft_mask, to_rgb, to_uint8

IMAGE_SUFFIXES = frozenset(
    {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.pgm'}
)
MAX_PIXELS = 2**30
"""Above this a file is refused before its pixels are unpacked (OpenCV's own limit)."""

WIDE = 'mmseg_cascadepsp_wide'
"""In ``info`` of an opened picture: whether its file holds 16 bits."""

_pixel_limit = threading.Lock()
# Without a handler it prints of TIFFs that it does not know what its exception says, too.
logging.getLogger('PIL.TiffImagePlugin').addHandler(logging.NullHandler())


def _open_header(path: str | os.PathLike) -> Image.Image:
    """``Image.open`` without Pillow's limit of 179 megapixels, which is a global: this package
    refines larger photos.
    """
    with _pixel_limit:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = kept


@contextmanager
def _open(path: str | os.PathLike) -> Iterator[Image.Image]:
    """The picture with its pixels loaded and turned as its EXIF orientation says; every fault is
    an ``OSError``.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f'{path} does not exist.')
    if path.is_dir():
        raise FileError(f'{path} is a folder, where an image file was expected.')
    try:
        with _open_header(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InvalidValueError(
                    f'{picture.width} x {picture.height} pixels exceed the limit of {MAX_PIXELS}'
                )
            white_is_zero = (
                picture.mode == 'I;16'  # of fewer bits Pillow inverts them itself
                and picture.format == 'TIFF'
                and picture.tag_v2.get(262) == 0
            )
            wide = ';16' in str(picture.tile)  # Pillow drops the low bytes of colours itself
            picture.load()
            turned = ImageOps.exif_transpose(picture)
            if white_is_zero:
                turned = Image.fromarray(65535 - np.asarray(turned))
            turned.info[WIDE] = wide
    except UnidentifiedImageError:
        raise FileError(
            f'{path} is not an image that can be read ({path.stat().st_size} bytes); '
            'expected PNG, JPEG, TIFF, WebP, BMP or another format that Pillow knows.'
        ) from None
    except PermissionError:
        raise DeniedFileError(
            f'{path} cannot be read: permission denied; make it readable (chmod +r).'
        ) from None
    except Exception as error:  # decoders raise whatever they stumble over
        raise FileError(
            f'{path} cannot be read as an image, it is truncated or damaged: {error}.'
        ) from error
    yield turned


def is_unknown_tiff(path: str | os.PathLike) -> bool:
    """Whether this is a TIFF that Pillow does not know, such as of many bands, which is read by
    rows alone.
    """
    if Path(path).suffix.lower() not in ('.tif', '.tiff'):
        return False
    try:
        _open_header(path).close()
    except UnidentifiedImageError:
        with open(path, 'rb') as file:
            return file.read(4) in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
    except Exception:  # missing or damaged, as whoever reads it says
        pass
    return False


def _alpha(picture: Image.Image) -> np.ndarray | None:
    """uint8 ``HxW``, or None where all is opaque."""
    if not picture.has_transparency_data:
        return None
    alpha = np.asarray(picture.convert('RGBA'))[..., 3]
    return None if (alpha == 255).all() else alpha


def _unpack(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels as they are (``HxW`` of any integer or float, or uint8 RGB ``HxWx3``) and alpha
    (uint8 ``HxW``) or None.
    """
    alpha = _alpha(picture)
    if picture.mode == '1':
        return np.asarray(picture).astype(np.uint8) * 255, alpha
    if picture.mode in ('LA', 'La'):
        return np.asarray(picture.convert('LA'))[..., 0], alpha
    if picture.mode == 'L' or picture.mode.startswith(('I', 'F')):
        return np.asarray(picture), alpha
    if picture.has_transparency_data:
        picture = picture.convert('RGBA')
    return np.asarray(picture.convert('RGB')), alpha


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a photo as RGB uint8 ``(H, W, 3)``, the way a viewer shows it.

    EXIF orientation is applied, 16 bits become 8, grey becomes RGB, palettes and CMYK are
    resolved, transparent parts lie on white, and of an animation or a multi-page TIFF the first
    picture is taken.

    Raises:
        OSError: the file is missing, a folder, not an image, truncated or damaged.
    """
    with _open(path) as picture:
        pixels, alpha = _unpack(picture)
    rgb = to_rgb(pixels, alpha, path)
    wide = pixels.dtype.itemsize > 1 or picture.info.get(WIDE, False)
    check_brightness(int(rgb.max(initial=0)), wide, path)
    return rgb


def _is_grey(colours: np.ndarray, tolerance: int = 0) -> bool:
    return bool((np.ptp(colours.astype(np.int16), axis=-1) <= tolerance).all())


def _palette_mask(picture: Image.Image) -> np.ndarray | None:
    """A palette's mask: by brightness (None) when its colours are greys, else by index: 0 is
    background, and so is 255 beside other objects (VOC's void).
    """
    index = np.asarray(picture)
    used = np.unique(index)
    palette = np.zeros((256, 3), np.uint8)
    colours = np.asarray(picture.getpalette('RGB'), np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    # Greys alone may be in use of colours (VOC's 7 is grey); with a black that is not index 0
    # those are no classes but a picture of a fixed palette, such as that of the web.
    black = used[~palette[used].any(axis=1)]
    if _is_grey(palette) or (_is_grey(palette[used]) and black.size and black[0] > 0):
        return None
    has_void = 255 in used and ((used > 0) & (used < 255)).any()
    return ((index > 0) & ~(has_void & (index == 255))).astype(np.uint8) * 255


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Read the mask of one object as uint8 ``(H, W)``, 0 (background) to 255 (object); soft values
    stay soft.

    Files of 0/255, of 0/1, of one bit, of 16 bits (0 to 65535, or small values stored wide) and of
    fractions give the same mask. Colours of three equal channels are grey. Of a coloured palette
    (VOC, DAVIS) index 0 is background. Of two colours, one of them black, the other one is the
    object. A transparent cut-out gives its alpha.

    Raises:
        OSError: as :func:`read_image`, or the colours do not say what is object.
    """
    with _open(path) as picture:
        by_index = picture.mode == 'P' and _alpha(picture) is None  # else a cut-out
        mask = _palette_mask(picture) if by_index else None
        if mask is not None:
            return mask
        pixels, alpha = _unpack(picture)
    if pixels.ndim == 3 and _is_grey(pixels, tolerance=24):  # JPEG shifts greys a little
        pixels = pixels[..., 1]
    if alpha is not None:
        visible = pixels[alpha > 0]
        if pixels.ndim == 3 or not len(visible) or visible.min() == visible.max():
            return np.ascontiguousarray(alpha)  # a cut-out, or one colour on nothing
        return (to_uint8(pixels, path).astype(np.uint16) * alpha // 255).astype(np.uint8)
    if pixels.ndim == 3:
        colours = np.unique(pixels @ np.array([65536, 256, 1]))
        if len(colours) > 2 or colours[0] != 0:
            raise FileError(
                f'{path} is a picture of {len(colours)} colours, which does not say what is '
                'object; expected a mask of 0/255 or 0/1 in one channel.'
            )
        return pixels.any(axis=-1).astype(np.uint8) * 255
    return soft_mask(pixels, full_value(pixels.min(), pixels.max(), path))


def read_labels(path: str | os.PathLike) -> np.ndarray:
    """Read a label map as int32 ``(H, W)``: the index of a palette, or the grey value as it is
    stored (8 or 16 bits).

    Raises:
        OSError: as :func:`read_image`, or the file holds colours or fractions instead of indices.
    """
    with _open(path) as picture:
        pixels = np.asarray(picture) if picture.mode == 'P' else _unpack(picture)[0]
        if picture.mode == '1':
            pixels = pixels // 255
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or pixels.dtype.kind == 'f':
        raise FileError(
            f'{path} holds {"colours" if pixels.ndim == 3 else "fractions"}; expected '
            'one class index per pixel (grey or palette PNG).'
        )
    return pixels.astype(np.int32)


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


def read_png_text(path: str | os.PathLike) -> dict[str, str]:
    """The notes that :func:`write_png` put into a file, without reading its pixels; empty when
    there are none or no PNG.
    """
    try:
        with _open_header(path) as picture:
            # Not `picture.text`: it unpacks the pixels, for notes behind them.
            return {k: str(v) for k, v in picture.info.items() if isinstance(v, str)}
    except Exception:
        return {}


def write_image(path: str | os.PathLike, pixels: np.ndarray, quality: int = 92) -> None:
    """Write an RGB uint8 picture in the format that the suffix of ``path`` names (JPEG without
    one), atomically.
    """
    suffix = Path(path).suffix.lower() or '.jpg'
    kind = Image.registered_extensions().get(suffix)
    if kind is None:
        raise InvalidValueError(
            f'path {path} ends in {suffix!r}, which is no image format; use .png or .jpg.'
        )
    _save(path, Image.fromarray(np.ascontiguousarray(pixels)), kind, quality=quality)


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
