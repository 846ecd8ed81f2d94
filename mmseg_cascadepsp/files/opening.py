"""Opening pictures: the formats that are taken, and what is wrong with a file.

Everything that goes wrong is an ``OSError`` of one sentence with the file's path.
"""

import importlib
import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmseg_cascadepsp.errors import (
    DeniedFileError,
    FileError,
    InvalidValueError,
    MissingFileError,
)

from .pillow_faults import TOLD, like, load, mark, png_chunks, told_of
from .sources import open_npy

SUFFIXES = {
    'PNG': ('.png', '.apng'),
    'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'),
    'MPO': ('.mpo',),
    'TIFF': ('.tif', '.tiff'),
    'WEBP': ('.webp',),
    'AVIF': ('.avif', '.avifs'),
    'JPEG2000': ('.jp2', '.j2k', '.jpx', '.jpf', '.j2c', '.jpc'),
    'BMP': ('.bmp',),
    'GIF': ('.gif',),
    'PPM': ('.ppm', '.pgm', '.pbm', '.pnm', '.pfm'),
}
"""The formats that are read, whatever a file is called. Others of Pillow's are not, since some
start programs: an EPS starts Ghostscript.
"""
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
"""What is a picture in a folder."""
TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
"""What a TIFF begins with, either byte order, and BigTIFF."""
MAX_PIXELS = 2**30
"""Above this a file is refused before its pixels are unpacked (OpenCV's own limit)."""
ORIENTATION = 0x0112
"""EXIF tag that says how a picture is to be turned: 1 is not at all, from 5 on by 90 degrees."""
UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How to undo an orientation."""
_pixel_limit = threading.Lock()
# Without a handler it prints of TIFFs that it does not know what its exception says, too.
logging.getLogger('PIL.TiffImagePlugin').addHandler(logging.NullHandler())


@cache
def _formats() -> tuple[str, ...]:
    Image.preinit()
    for plugin in ('Avif', 'Jpeg2K', 'Mpo', 'Tiff', 'WebP'):  # Image.init imports forty others
        with suppress(ImportError):
            importlib.import_module(f'PIL.{plugin}ImagePlugin')
    return tuple(kind for kind in SUFFIXES if kind in Image.OPEN)  # AVIF, where Pillow has it


def open_header(file: str | os.PathLike | io.BytesIO) -> Image.Image:
    """Open a picture without reading its pixels.

    Only the formats in :data:`SUFFIXES` are taken. Pillow's limit of 179 megapixels, which is a
    global, is lifted meanwhile: this package refines larger photos.

    Args:
        file: The picture.

    Returns:
        What ``Image.open`` gives.

    Raises:
        UnidentifiedImageError: It has another format.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new('L', (3, 2)).save(file, 'PNG')
        >>> open_header(file).size
        (3, 2)
    """
    with _pixel_limit:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = kept


@contextmanager
def open_picture(path: str | os.PathLike, exif: str | None = None) -> Iterator[Image.Image]:
    """Open a picture and load its pixels.

    Args:
        path: The file.
        exif: ``'ignore'``: its pixels as they are stored. Otherwise it is turned as its EXIF
            orientation says.

    Yields:
        The picture.

    Raises:
        FileError: It cannot be read, whatever the reason.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/a.png'
        >>> Image.new('L', (3, 2)).save(path)
        >>> with open_picture(path) as picture:
        ...     picture.size
        (3, 2)
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f'{path} does not exist.')
    if path.is_dir():
        raise FileError(f'{path} is a folder, where an image file was expected.')
    size = ''
    try:
        with open_header(path) as picture:
            size = f'{picture.width} x {picture.height} pixels'
            if picture.width * picture.height > MAX_PIXELS:
                raise InvalidValueError(f'{size} exceed the limit of {MAX_PIXELS}')
            told, marked = told_of(picture), mark(picture)
            turn = picture.getexif().get(ORIENTATION, 1)
            loaded, told = load(path, picture, told, marked)
            if loaded is picture:  # whose pixels Pillow has turned itself if it is a TIFF
                left = picture.getexif().get(ORIENTATION, 1)
                undo = UNTURN.get(turn) if turn != left else None
            else:  # as they are stored
                loaded.getexif()[ORIENTATION], undo = turn, None
            turned = loaded
            if exif == 'ignore':
                turned = loaded if undo is None else loaded.transpose(undo)
            elif loaded.getexif().get(ORIENTATION, 1) != 1:
                turned = ImageOps.exif_transpose(loaded)  # which copies even if nothing turns
            if told.white and turned.mode == 'I;16' and loaded is picture:
                # Of fewer bits Pillow inverts them itself.
                turned = like(Image.fromarray(65535 - np.asarray(turned)), picture)
            turned.info[TOLD] = told
            turned.format = picture.format
    except UnidentifiedImageError:
        if is_unknown_tiff(path):
            raise FileError(
                f'{path} is a TIFF of channels or values that are not read whole: save it as RGB '
                'or grey of 8 or 16 bits, or, if it has 8 or 16, have it read by rows '
                '(refine_file, --windowed).'
            ) from None
        raise FileError(
            f'{path} is not an image that can be read ({path.stat().st_size} bytes); '
            f'expected {", ".join(_formats()[:-1])} or {_formats()[-1]}.'
        ) from None
    except PermissionError:
        raise DeniedFileError(
            f'{path} cannot be read: permission denied; make it readable (chmod +r).'
        ) from None
    except MemoryError as error:
        raise FileError(
            f'{path} of {size} does not fit into the memory that is free; TIFF and .npy are read '
            'in little memory by rows (--windowed).'
        ) from error
    except FileError:
        raise
    except Exception as error:  # decoders raise whatever they stumble over
        raise FileError(
            f'{path} cannot be read as an image, it is truncated or damaged: {error}.'
        ) from error
    yield turned


def is_unknown_tiff(path: str | os.PathLike) -> bool:
    """Whether a file is a TIFF that Pillow does not know, such as one of many bands. Such files
    are read by rows alone.

    Example:
        >>> is_unknown_tiff('photo.jpg')
        False
    """
    if Path(path).suffix.lower() not in ('.tif', '.tiff'):
        return False
    try:
        open_header(path).close()
    except UnidentifiedImageError:
        with open(path, 'rb') as file:
            return file.read(4) in TIFF_STARTS
    except Exception:  # missing or damaged, as whoever reads it says
        pass
    return False


def _has_notes_at_its_end(path: str | os.PathLike) -> bool:
    """Whether a PNG has anything behind its pixels, such as its EXIF orientation."""
    behind = False
    with open(path, 'rb') as file:
        for kind, _ in png_chunks(file):
            if kind == b'IEND' or (behind and kind != b'IDAT'):
                return kind != b'IEND'
            behind = kind == b'IDAT'
    return False


def header_of(path: str | os.PathLike) -> tuple[tuple[int, int], int] | None:
    """Read the size and the EXIF orientation of a picture from its header alone.

    Args:
        path: The file.

    Returns:
        ``(H, W)`` as it is stored, and the orientation: 1 is upright. None where Pillow does not
        know them.

    Example:
        >>> header_of('missing.png') is None  # whoever reads it will say what is wrong
        True
    """
    try:
        if Path(path).suffix.lower() == '.npy':
            return open_npy(Path(path)).shape[:2], 1
        with open_header(path) as picture:
            size, notes = picture.size[::-1], picture.getexif
            if picture.format == 'PNG' and not _has_notes_at_its_end(path):
                notes = partial(Image.Image.getexif, picture)  # PNG's own unpacks the pixels
            turn = notes().get(ORIENTATION, 1)
            if picture.format == 'TIFF':  # whose size is that of the turned picture
                size = picture.tag_v2[257], picture.tag_v2[256]
            return size, turn
    except Exception:  # whoever reads it will say what is wrong
        return None
