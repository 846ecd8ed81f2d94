"""Opening pictures: the formats that are taken, and what is wrong with a file.

Everything that goes wrong is an ``OSError`` of one sentence with the file's path.
"""

import io
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmseg_cascadepsp.errors import (
    DeniedFileError,
    FileError,
    InvalidValueError,
    MissingFileError,
)

from .sources import NODATA_TAG, check_white, nodata_of, open_npy, open_source
from .values import to_uint8

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
WIDE = 'mmseg_cascadepsp_wide'
"""In ``info`` of an opened picture: whether its file holds 16 bits."""
BANDS = 'mmseg_cascadepsp_bands'
"""In ``info`` of an opened picture: how many bands are neither its colours nor transparency."""
PAGES = 'mmseg_cascadepsp_pages'
"""In ``info`` of an opened picture: how many of its size there are in the file."""
TOP = 'mmseg_cascadepsp_top'
"""In ``info`` of an opened picture: the largest value that its greys could have before Pillow
stretched them to 255 or 65535, or None.
"""
WHITE = 'mmseg_cascadepsp_white'
"""In ``info`` of an opened picture: whether a file has stored white as zero."""
NODATA = 'mmseg_cascadepsp_nodata'
"""In ``info`` of an opened picture: the value that GDAL says is no data, or None."""

_pixel_limit = threading.Lock()
# Without a handler it prints of TIFFs that it does not know what its exception says, too.
logging.getLogger('PIL.TiffImagePlugin').addHandler(logging.NullHandler())


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(kind for kind in SUFFIXES if kind in Image.OPEN)  # AVIF, where Pillow has it


def open_header(file: str | os.PathLike | io.BytesIO) -> Image.Image:
    """``Image.open`` of the formats in :data:`SUFFIXES` alone, and without Pillow's limit of 179
    megapixels, which is a global: this package refines larger photos.

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
    """A picture with its pixels loaded, and turned as its EXIF orientation says unless ``exif``
    is ``'ignore'``. Every fault is an ``OSError``.
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
            pages = _pages_of(picture)
            tags = picture.tag_v2 if picture.format == 'TIFF' else {}
            white_is_zero = (
                picture.mode == 'I;16'  # of fewer bits Pillow inverts them itself
                and tags.get(262) == 0
            )
            # Pillow drops the low bytes of colours itself.
            wide = ';16' in str(picture.tile) or max(tags.get(258, (8,))) == 16
            top = _top_of(picture)
            turn = picture.getexif().get(ORIENTATION, 1)
            if tags:
                _check_segments(tags)
                check_white(tags.get(262), np.dtype(_KINDS.get(max(tags.get(339, (1,))), 'u1')))
            own = bool(tags) and _is_misread(tags)
            if not own:
                picture.load()
            undo = UNTURN.get(turn) if turn != picture.getexif().get(ORIENTATION, 1) else None
            if picture.format == 'PNG':
                _check_png(path, picture)
            hides = wide or picture.format in ('JPEG2000', 'PPM')  # which do not tell
            if own or (hides and len(picture.getbands()) > 2 and _is_black(picture)):
                picture, wide = _own_reading(path, picture, own)
                picture.getexif()[ORIENTATION], undo = turn, None  # as they are stored
                white_is_zero = False
            elif picture.format == 'BMP' and _bmp_is_misread(path, picture):
                grey = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
                picture = _like(Image.fromarray(grey), picture)
            if exif != 'ignore':
                turned = ImageOps.exif_transpose(picture)
            else:  # of TIFFs Pillow has turned the pixels itself
                turned = picture.transpose(undo) if undo is not None else picture
            if white_is_zero:
                turned = _like(Image.fromarray(65535 - np.asarray(turned)), picture)
            more = _more_bands(tags) if tags else 0
            turned.info |= {WIDE: wide, NODATA: nodata_of(tags.get(NODATA_TAG)), BANDS: more}
            turned.info |= {PAGES: pages, TOP: top, WHITE: tags.get(262) == 0}
            if picture is not turned:
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


def _top_of(picture: Image.Image) -> int | None:
    """The largest value that greys can have which Pillow stretches."""
    codec, _, _, args = picture.tile[0] if picture.tile else ('', None, 0, '')
    if codec.startswith('ppm') and not isinstance(args, str):
        return None if args[1] in (255, 65535) else args[1]
    raw = str(args if isinstance(args, str) else next(iter(args or ()), ''))
    return {'L;2': 3, 'L;4': 15}.get(raw[:3])


def _bmp_is_misread(path: Path, picture: Image.Image) -> bool:
    """Whether Pillow takes the bytes of a grey palette for so many bits."""
    with open(path, 'rb') as file:
        bits = int.from_bytes(file.read(30)[28:], 'little')
    return bits != {'1': 1, 'L': 8}.get(picture.mode, bits)


def _pages_of(picture: Image.Image) -> int:
    """Pictures in a file that are no smaller versions of the first one."""
    count = 1 if picture.format == 'MPO' else getattr(picture, 'n_frames', 1)
    if count == 1 or picture.format != 'TIFF':
        return count
    size, same = picture.size, 1
    try:
        for i in range(1, count):
            picture.seek(i)
            same += picture.size == size and not picture.tag_v2.get(254, 0) & 5
    except Exception:  # what comes behind the first one may be damaged
        pass
    picture.seek(0)
    return same


def _like(new: Image.Image, old: Image.Image) -> Image.Image:
    new.info.update(old.info)
    return new


def _is_black(picture: Image.Image) -> bool:
    return all(high <= 1 for _, high in picture.convert('RGB').getextrema())


_KINDS = {2: 'i1', 3: 'f4'}
"""Kinds of numbers by TIFF's tag of them, where they are not unsigned."""


def _is_misread(tags: Mapping) -> bool:
    """Whether Pillow reads a TIFF wrongly: of planes other than RGB of 8 bits it takes the first
    one or mixes them up, and signed values of 8 bits lose their sign.
    """
    bits, colours, samples = max(tags.get(258, (1,))), tags.get(262), tags.get(277, 1)
    if bits == 8 and 2 in tags.get(339, (1,)):
        return True
    planes = tags.get(284) == 2 and (samples > 1 or tags.get(259, 1) == 1)
    return planes and colours != 3 and (colours != 2 or bits > 8)


def _more_bands(tags: Mapping) -> int:
    """Bands of a TIFF that are neither its colours nor transparency."""
    colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(tags.get(262), 1)
    return tags.get(277, 1) - colours - bool({1, 2} & {*tags.get(338, ())})


def _own_reading(path: Path, picture: Image.Image, by_rows: bool) -> tuple[Image.Image, bool]:
    """The picture that Pillow would read wrongly, and whether its colours need 16 bits. Several
    channels become 8 bits; of colours of 16 bits Pillow takes the high bytes, which are zero where
    8 bits are stored wide.
    """
    if by_rows:
        with ExitStack() as opened:
            source = open_source(path, opened)
            colours, alpha = source.photo(0, source.shape[0])
        if source.channels == 2 and alpha is None:
            raise InvalidValueError('it has 2 channels, expected 1, or 3 or more')
    else:
        values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        colours, alpha = values[..., 2::-1], values[..., 3] if values.shape[2] == 4 else None
    wide = bool(colours.max(initial=0) > 255)
    if colours.shape[2] == 1 and alpha is None:
        pixels = colours[..., 0]
        if pixels.dtype not in (np.uint8, np.uint16, bool):
            large = pixels.dtype.kind == 'f' or pixels.max(initial=0) >= 2**31
            pixels = pixels.astype(np.float32 if large else np.int32)
    else:
        pixels = to_uint8(colours, path)
        if alpha is not None:
            pixels = np.dstack([pixels, to_uint8(alpha, path, np.iinfo(alpha.dtype).max)])
    new = _like(Image.fromarray(np.ascontiguousarray(pixels)), picture)
    new.format = picture.format
    return new, wide


def _check_segments(tags: Mapping) -> None:
    """Refuse a TIFF that lists too few strips or tiles: Pillow leaves the others black."""
    width, height = tags[256], tags[257]
    if 324 in tags:
        found, expected = tags[324], -(-width // tags[322]) * -(-height // tags[323])
    else:
        found, expected = tags[273], -(-height // min(tags.get(278, height), height))
    if tags.get(284) == 2:
        expected *= tags.get(277, 1)
    if len(found) < expected:
        raise InvalidValueError(f'{len(found)} of {expected} parts of its pixels are there')


def _check_png(path: Path, picture: Image.Image) -> None:
    """Refuse a PNG whose pixels fail their checksums, or whose data end early, though properly:
    the rows that it lacks are zero. Pillow takes both.
    """
    bands = len(picture.getbands())
    last = np.asarray(picture.crop((0, picture.height - 1, *picture.size)))
    count = bool(not last.any() or picture.info.get('interlace'))
    with open(path, 'rb') as file:
        file.seek(16)
        width, height = (int.from_bytes(file.read(4), 'big') for _ in range(2))
        depth, colour, _, _, interlaced = file.read(5)
        bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, bands)
        passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
        expected = sum(
            rows * (1 + (columns * bits + 7) // 8)
            for left, top, across, down in passes
            if (columns := -(-(width - left) // across)) > 0
            and (rows := -(-(height - top) // down)) > 0
        )
        file.seek(8)
        unpacked, found = zlib.decompressobj(), 0
        while head := file.read(8):
            length, kind = int.from_bytes(head[:4], 'big'), head[4:]
            if kind != b'IDAT':
                file.seek(length + 4, os.SEEK_CUR)
                continue
            data = file.read(length)
            if file.read(4) != zlib.crc32(kind + data).to_bytes(4, 'big'):
                raise InvalidValueError('its pixels fail their checksum')
            while count and data and found < expected:
                found += len(unpacked.decompress(data, 2**20))
                data = unpacked.unconsumed_tail
    if count and found + len(unpacked.flush()) < expected:
        raise InvalidValueError(f'{found} of {expected} bytes of its pixels are there')


ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
"""Passes of an interlaced PNG: first column and row, and steps."""


def is_unknown_tiff(path: str | os.PathLike) -> bool:
    """Whether this is a TIFF that Pillow does not know, such as of many bands, which is read by
    rows alone.
    """
    if Path(path).suffix.lower() not in ('.tif', '.tiff'):
        return False
    try:
        open_header(path).close()
    except UnidentifiedImageError:
        with open(path, 'rb') as file:
            return file.read(4) in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
    except Exception:  # missing or damaged, as whoever reads it says
        pass
    return False


def _has_notes_at_its_end(path: str | os.PathLike) -> bool:
    """Whether a PNG has anything behind its pixels, such as its EXIF orientation."""
    with open(path, 'rb') as file:
        file.seek(8)
        behind = False
        while (head := file.read(8)) and head[4:] != b'IEND':
            if behind and head[4:] != b'IDAT':
                return True
            behind = head[4:] == b'IDAT'
            file.seek(int.from_bytes(head[:4], 'big') + 4, os.SEEK_CUR)
    return False


def header_of(path: str | os.PathLike) -> tuple[tuple[int, int], int] | None:
    """``(H, W)`` as it is stored, and EXIF orientation; None where Pillow does not know them."""
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
