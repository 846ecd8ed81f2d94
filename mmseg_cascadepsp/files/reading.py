"""Reading photos, masks and label maps as people expect them, and writing them whole or not at
all.

Arrays are RGB and numpy throughout. Everything that goes wrong with a file is an ``OSError`` of
one sentence with its path.
"""

import io
import logging
import os
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from mmseg_cascadepsp.errors import (
    DeniedFileError,
    FileError,
    InvalidValueError,
    MaskValuesError,
    MissingFileError,
)

from .arrays import check_size
from .mask_values import Reading, Seen, meaning_of
from .paths import atomic_open
from .sources import NODATA_TAG, nodata_of, open_npy, open_source
from .values import check_brightness, to_rgb, to_uint8

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
LOSSY = ('JPEG', 'MPO')
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
MANY_COLOURS = 64
"""With more indices in use a coloured palette is that of a picture."""

WIDE = 'mmseg_cascadepsp_wide'
"""In ``info`` of an opened picture: whether its file holds 16 bits."""
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
def _open(path: str | os.PathLike, exif: str | None = None) -> Iterator[Image.Image]:
    """The picture with its pixels loaded, and turned as its EXIF orientation says unless ``exif``
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
            tags = picture.tag_v2 if picture.format == 'TIFF' else {}
            white_is_zero = (
                picture.mode == 'I;16'  # of fewer bits Pillow inverts them itself
                and tags.get(262) == 0
            )
            # Pillow drops the low bytes of colours itself.
            wide = ';16' in str(picture.tile) or max(tags.get(258, (8,))) == 16
            planes, nodata = tags.get(284) == 2, nodata_of(tags.get(NODATA_TAG))
            if tags:
                _check_segments(tags)
            turn = picture.getexif().get(ORIENTATION, 1)
            picture.load()
            undo = UNTURN.get(turn) if turn != picture.getexif().get(ORIENTATION, 1) else None
            if picture.format == 'PNG':
                _check_png(path, picture)
            if wide and len(picture.getbands()) > 2 and (planes or _is_black(picture)):
                picture, wide = _wide_colours(path, picture, planes)
                picture.getexif()[ORIENTATION], undo = turn, None  # as they are stored
            if exif != 'ignore':
                turned = ImageOps.exif_transpose(picture)
            else:  # of TIFFs Pillow has turned the pixels itself
                turned = picture.transpose(undo) if undo is not None else picture
            if white_is_zero:
                turned = _like(Image.fromarray(65535 - np.asarray(turned)), picture)
            turned.info |= {WIDE: wide, NODATA: nodata}
            if picture is not turned:
                turned.format = picture.format
    except UnidentifiedImageError:
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
    except Exception as error:  # decoders raise whatever they stumble over
        raise FileError(
            f'{path} cannot be read as an image, it is truncated or damaged: {error}.'
        ) from error
    yield turned


def _like(new: Image.Image, old: Image.Image) -> Image.Image:
    new.info.update(old.info)
    return new


def _is_black(picture: Image.Image) -> bool:
    return all(high == 0 for _, high in picture.convert('RGB').getextrema())


def _wide_colours(path: Path, picture: Image.Image, planes: bool) -> tuple[Image.Image, bool]:
    """Colours of 16 bits as of 8, and whether they need the 16. Pillow takes their high bytes,
    which are zero where 8 bits are stored wide, and mixes planes up.
    """
    if planes:
        with ExitStack() as opened:
            source = open_source(path, opened)
            colours, alpha = source.photo(0, source.shape[0])
    else:
        values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        colours, alpha = values[..., 2::-1], values[..., 3] if values.shape[2] == 4 else None
    pixels = to_uint8(colours, path)
    if alpha is not None:
        pixels = np.dstack([pixels, to_uint8(alpha, path, np.iinfo(alpha.dtype).max)])
    new = _like(Image.fromarray(np.ascontiguousarray(pixels)), picture)
    new.format = picture.format
    return new, bool(colours.max(initial=0) > 255)


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


def read_image(path: str | os.PathLike, exif: str | None = None) -> np.ndarray:
    """Read a photo as RGB uint8 ``(H, W, 3)``, the way a viewer shows it.

    16 bits become 8, grey becomes RGB, palettes and CMYK are resolved, transparent parts lie on
    white, and of an animation or a multi-page TIFF the first picture is taken.

    Args:
        path: The photo.
        exif: ``'ignore'``: the pixels as they are stored, not turned by their EXIF orientation.

    Raises:
        OSError: the file is missing, a folder, not an image, truncated or damaged.
    """
    with _open(path, exif) as picture:
        return photo_of(picture, path)[0]


def photo_of(
    picture: Image.Image, name: str | os.PathLike, white: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """The photo that a picture of Pillow holds, see :func:`read_image`.

    Args:
        picture: Of any mode, turned already.
        name: Of it, for messages.
        white: Whether transparent parts lie on white, or else keep their colours.

    Returns:
        RGB uint8 ``(H, W, 3)``, and the alpha channel, uint8 ``(H, W)``. None where all is opaque.

    Example:
        >>> photo_of(Image.new('LA', (2, 1), (99, 0)), 'a.png', white=False)[0].tolist()
        [[[99, 99, 99], [99, 99, 99]]]
    """
    pixels, alpha = _unpack(picture)
    top = pixels.max(initial=0)
    rgb = to_rgb(pixels, alpha if white else None, name)
    wide = top > 255 or (pixels.dtype == np.uint8 and picture.info.get(WIDE, False))
    check_brightness(int(rgb.max(initial=0)), wide, name)
    return rgb, alpha


def read_colours(
    path: str | os.PathLike, exif: str | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a photo whose transparent parts keep their colours.

    Args:
        path, exif: See :func:`read_image`.

    Returns:
        RGB uint8 ``(H, W, 3)``, and the alpha channel, uint8 ``(H, W)``. None where all is opaque.

    Raises:
        OSError: as :func:`read_image`.
    """
    with _open(path, exif) as picture:
        return photo_of(picture, path, white=False)


def read_cut_out(
    path: str | os.PathLike, exif: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a cut-out: a photo as :func:`read_colours` gives it, and its mask, see
    :func:`cut_out_mask`.
    """
    colours, alpha = read_colours(path, exif)
    return colours, cut_out_mask(colours, alpha, path)


def cut_out_mask(
    colours: np.ndarray, alpha: np.ndarray | None, name: str | os.PathLike
) -> np.ndarray:
    """The mask that a cut-out holds itself, with a warning where the photo behind is lost.

    Args:
        colours: RGB uint8 ``(H, W, 3)``.
        alpha: uint8 ``(H, W)``, or None.
        name: Of the cut-out, for messages.

    Raises:
        MaskValuesError: Nothing is transparent.

    Example:
        >>> alpha = np.array([[0, 100, 200]], np.uint8)
        >>> cut_out_mask(np.zeros((1, 3, 3), np.uint8), alpha, 'a.png').tolist()
        [[0, 100, 200]]
    """
    if alpha is None or (alpha == 255).all():
        raise MaskValuesError(
            f'{name} has no transparent part that could be its mask; give the mask, or a cut-out '
            '(RGBA whose alpha channel is the mask).'
        )
    hidden = colours[alpha == 0]
    if len(hidden) > 1 and (hidden == hidden[0]).all():
        warnings.warn(
            f'{name} has a single colour where it is transparent, so that the photo behind the '
            'object is lost, whose edges the boundary should follow; give the photo, and the '
            'cut-out as its mask.',
            stacklevel=2,
        )
    return _judged(alpha, name, Reading(), lossy=True)


def read_pair(
    image: str | os.PathLike,
    mask: str | os.PathLike,
    reading: Reading | None = None,
    same_size: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Read a photo and the mask of an object in it.

    Their headers are compared before their pixels are unpacked. A mask that may have been made on
    the photo's stored pixels, though EXIF turns it, brings a warning.

    Args:
        image: The photo, see :func:`read_image`.
        mask: Its mask, see :func:`read_mask`.
        reading: How to read them where they do not say it.
        same_size: Whether they must have the same size.

    Returns:
        The photo, RGB uint8 ``(H, W, 3)``, and the mask, uint8 ``(H, W)``.

    Raises:
        OSError: As :func:`read_image` and :func:`read_mask`.
        InvalidValueError: They have different sizes.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for name in ('photo.png', 'mask.png'):
        ...     write_png(f'{folder}/{name}', np.eye(4, dtype=np.uint8) * 255)
        >>> photo, mask = read_pair(f'{folder}/photo.png', f'{folder}/mask.png')
        >>> photo.shape, mask.shape
        ((4, 4, 3), (4, 4))
    """
    reading = reading or Reading()
    check_pair(image, mask, reading, same_size)
    pixels, values = read_image(image, reading.exif), read_mask(mask, reading)
    if same_size:
        check_size(f'mask {mask}', values.shape, f'image {image}', pixels.shape[:2])
    return pixels, values


def check_pair(
    image: str | os.PathLike, mask: str | os.PathLike, reading: Reading, same_size: bool = True
) -> None:
    """Compare the headers of a photo and its mask, see :func:`read_pair`.

    Raises:
        InvalidValueError: They have different sizes.

    Example:
        >>> check_pair('missing.jpg', 'missing.png', Reading())  # whoever reads them will say it
    """
    headers = [_header(path) for path in (image, mask)]
    if None in headers:
        return
    (size, turn), (mask_size, mask_turn) = headers
    if turn > 1 and reading.exif is None and turn != mask_turn:
        by_size = turn > 4 and size[0] != size[1]
        if not by_size:
            warnings.warn(
                f'{image} is shown turned, by its EXIF orientation ({turn}), and so it is taken; '
                f'if the mask {mask} was made on the pixels as they are stored, say '
                "exif='ignore' (--exif ignore), and 'apply' if not.",
                stacklevel=2,
            )
    sizes = [
        shape[::-1] if tag > 4 and reading.exif != 'ignore' else shape
        for shape, tag in (headers[0], headers[1])
    ]
    if same_size:
        hint = None
        if sizes[1] == size and turn > 4:
            hint = (
                'the photo is turned by its EXIF orientation, and the mask fits the pixels as '
                "they are stored: say exif='ignore' (--exif ignore)"
            )
        check_size(f'mask {mask}', sizes[1], f'image {image}', sizes[0], hint)


def _header(path: str | os.PathLike) -> tuple[tuple[int, int], int] | None:
    """``(H, W)`` as it is stored, and EXIF orientation; None where Pillow does not know them."""
    try:
        if Path(path).suffix.lower() == '.npy':
            return open_npy(Path(path)).shape[:2], 1
        with open_header(path) as picture:
            size, turn = picture.size[::-1], picture.getexif().get(ORIENTATION, 1)
            if picture.format == 'TIFF':  # whose size is that of the turned picture
                size = picture.tag_v2[257], picture.tag_v2[256]
            return size, turn
    except Exception:  # whoever reads it will say what is wrong
        return None


def _is_grey(colours: np.ndarray, tolerance: int = 0) -> bool:
    return bool((np.ptp(colours.astype(np.int16), axis=-1) <= tolerance).all())


def read_mask(path: str | os.PathLike, reading: Reading | None = None) -> np.ndarray:
    """Read the mask of one object as uint8 ``(H, W)``, 0 (background) to 255 (object); soft values
    stay soft.

    Files of 0/255, of 0/1, of one bit, of 16 bits (0 to 65535, or small values stored wide) and of
    fractions give the same mask. Colours of three equal channels are grey. Of two colours, one of
    them black, the other one is the object. Of more colours of a palette whose index 0 is black
    (VOC, DAVIS), index 0 is background, and so is 255 beside others. A transparent cut-out gives
    its alpha. What can be read in two ways is refused, see
    :func:`~mmseg_cascadepsp.files.mask_values.meaning_of`.

    Args:
        path: The mask.
        reading: How to read it where its values do not say it. With ``mask_values`` or ``ignore``
            a palette gives its indices.

    Raises:
        OSError: as :func:`read_image`, or the values or colours do not say what is object.
    """
    reading = reading or Reading()
    with _open(path, reading.exif) as picture:
        return mask_of(picture, path, reading)


def mask_of(picture: Image.Image, name: str | os.PathLike, reading: Reading) -> np.ndarray:
    """The mask that a picture of Pillow holds, see :func:`read_mask`.

    Args:
        picture: Of any mode, turned already.
        name: Of it, for messages.
        reading: How to read it.

    Example:
        >>> mask_of(Image.new('1', (2, 1), 1), 'a.png', Reading()).tolist()
        [[255, 255]]
    """
    lossy = picture.format in LOSSY
    nodata = picture.info.get(NODATA)
    if picture.mode == 'P' and _alpha(picture) is None:  # else a cut-out
        return _palette_mask(picture, name, reading)
    pixels, alpha = _unpack(picture)
    if picture.mode == '1':
        pixels = pixels // 255
    if alpha is not None:
        visible = pixels[alpha > 0]
        cut_out = pixels.ndim == 3 and not _is_grey(pixels)
        if cut_out or not len(visible) or visible.min() == visible.max():
            return _judged(alpha, name, Reading(), lossy=True)  # or one colour on nothing
        grey = pixels[..., 1] if pixels.ndim == 3 else pixels
        values = to_uint8(grey, name).astype(np.uint16) * alpha // 255
        return _judged(values.astype(np.uint8), name, reading, lossy)
    if pixels.ndim == 3:
        lossy = lossy or not _is_grey(pixels)
        if not _is_grey(pixels, tolerance=24):  # JPEG shifts greys a little
            mask = _two_colours(pixels)
            if mask is None:
                raise MaskValuesError(
                    f'{name} is a picture of {len(_colours(pixels))} colours, which does not say '
                    'what is object; expected a mask of 0/255 or 0/1 in one channel.'
                )
            return mask
        pixels = pixels[..., 1]
    return _judged(pixels, name, reading, lossy, nodata)


def _judged(
    values: np.ndarray,
    path: str | os.PathLike,
    reading: Reading,
    lossy: bool = False,
    nodata: float | None = None,
) -> np.ndarray:
    seen = Seen()
    seen.add(values)
    return meaning_of(seen, path, reading, lossy, nodata).soft(values)


def _colours(pixels: np.ndarray) -> np.ndarray:
    return np.unique(pixels.reshape(-1, 3) @ np.array([65536, 256, 1]))


def _two_colours(pixels: np.ndarray) -> np.ndarray | None:
    """The mask of a picture of black and one colour, uint8 ``(H, W)``; None of any other."""
    colours = _colours(pixels)
    if len(colours) > 2 or colours[0] != 0:
        return None
    return pixels.any(axis=-1).astype(np.uint8) * 255


def _palette_mask(picture: Image.Image, path: str | os.PathLike, reading: Reading) -> np.ndarray:
    """The mask of a palette: as the same picture without one, or else, where index 0 is black, by
    its indices.
    """
    index = np.asarray(picture)
    if reading.ids is not None or reading.ignore is not None:
        return _judged(index, path, reading)
    used = np.unique(index)
    palette = np.zeros((256, 3), np.uint8)
    colours = np.asarray(picture.getpalette('RGB'), np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    # Greys alone may be in use of colours (VOC's 7 is grey); with a black that is not index 0
    # those are no classes but a picture of a fixed palette, such as that of the web.
    black = used[~palette[used].any(axis=1)]
    if _is_grey(palette) or (_is_grey(palette[used]) and black.size and black[0] > 0):
        return _judged(palette[index, 0], path, reading)
    if _two_colours(palette[used]) is not None:
        return palette[index].any(axis=-1).astype(np.uint8) * 255
    if palette[0].any() or len(used) > MANY_COLOURS:
        raise MaskValuesError(
            f'{path} is a picture of {len(used)} colours of a palette whose index 0 is '
            f'{tuple(palette[0].tolist())}, which does not say what is object; expected two '
            'colours, one of them black, or a palette whose index 0 is black, or say which index '
            'is the object, such as mask_values=1 (--mask-values 1).'
        )
    has_void = 255 in used and ((used > 0) & (used < 255)).any()
    return ((index > 0) & ~(has_void & (index == 255))).astype(np.uint8) * 255


def read_labels(path: str | os.PathLike) -> np.ndarray:
    """Read a label map as int32 ``(H, W)``: the index of a palette, or the grey value as it is
    stored (8 or 16 bits).

    Raises:
        OSError: as :func:`read_image`, or the file holds colours or fractions instead of indices.
    """
    with _open(path) as picture:
        return labels_of(picture, path)


def labels_of(picture: Image.Image, name: str | os.PathLike) -> np.ndarray:
    """The label map that a picture of Pillow holds, see :func:`read_labels`.

    Example:
        >>> labels_of(Image.new('P', (2, 1), 3), 'a.png').tolist()
        [[3, 3]]
    """
    pixels = np.asarray(picture) if picture.mode == 'P' else _unpack(picture)[0]
    if picture.mode == '1':
        pixels = pixels // 255
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or pixels.dtype.kind == 'f':
        raise FileError(
            f'{name} holds {"colours" if pixels.ndim == 3 else "fractions"}; expected '
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
        with open_header(path) as picture:
            # Not `picture.text`: it unpacks the pixels, for notes behind them.
            return {k: str(v) for k, v in picture.info.items() if isinstance(v, str)}
    except Exception:
        return {}


def read_palette(path: str | os.PathLike) -> np.ndarray | None:
    """The colours of a palette picture, RGB uint8 ``(n, 3)``, without reading its pixels. None
    where there are none.
    """
    try:
        with open_header(path) as picture:
            colours = picture.getpalette('RGB') if picture.mode == 'P' else None
    except Exception:  # whoever reads it will say what is wrong
        return None
    return None if colours is None else np.asarray(colours, np.uint8).reshape(-1, 3)


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
