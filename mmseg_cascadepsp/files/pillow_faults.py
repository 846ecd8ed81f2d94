"""What Pillow reads wrongly, or takes though it is damaged, without a word."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from mmseg_cascadepsp.errors import InvalidValueError

from .sources import NODATA_TAG, check_white, nodata_of, open_source
from .values import to_uint8

MARK = 254
"""Value of a row that Pillow has not written. In PNGs few last rows are of it alone."""
TOLD = 'mmseg_cascadepsp'
"""In ``info`` of an opened picture: its :class:`Told`."""


@dataclass(frozen=True)
class Told:
    """What a file says of its picture and Pillow does not tell.

    Args:
        wide: Whether its colours need 16 bits.
        nodata: The value that GDAL says is no data, or None.
        bands: How many bands are neither colours nor transparency.
        pages: How many pictures of this size there are in the file.
        top: The largest value that its greys could have before Pillow stretched them to 255 or
            65535, or None.
        white: Whether white is stored as zero.
        misread: Whether Pillow reads it wrongly.

    Example:
        >>> Told().pages
        1
    """

    wide: bool = False
    nodata: float | None = None
    bands: int = 0
    pages: int = 1
    top: int | None = None
    white: bool = False
    misread: bool = False


def told_of(picture: Image.Image) -> Told:
    """What the header of a file says.

    Args:
        picture: Opened by Pillow, its pixels not loaded.

    Raises:
        InvalidValueError: Pixels lack, or their white is not known.

    Example:
        >>> told_of(Image.new('L', (3, 2))).pages
        1
    """
    pages = _pages_of(picture)
    wide, top = ';16' in str(getattr(picture, 'tile', '')), _top_of(picture)
    if picture.format != 'TIFF':
        return Told(wide, pages=pages, top=top)
    tags = picture.tag_v2
    _check_segments(tags)
    check_white(tags.get(262), np.dtype(_KINDS.get(max(tags.get(339, (1,))), 'u1')))
    return Told(
        wide or max(tags.get(258, (8,))) == 16,  # Pillow drops the low bytes of colours itself
        nodata_of(tags.get(NODATA_TAG)),
        _more_bands(tags),
        pages,
        top,
        tags.get(262) == 0,
        _is_misread(tags),
    )


def mark(picture: Image.Image) -> tuple[object, np.ndarray | int]:
    """Fill the last row of the memory that a PNG is unpacked into, so that it tells whether it was
    written.

    Args:
        picture: Opened by Pillow, its pixels not loaded.

    Returns:
        The memory, and what its last row reads as until it is written.

    Example:
        >>> mark(Image.new('L', (3, 2)))  # no PNG
        (None, 0)
    """
    if picture.format != 'PNG':
        return None, 0
    bands = len(picture.getbands())
    memory = Image.new(picture.mode, picture.size, None)
    memory.paste((MARK,) * bands if bands > 1 else MARK, (0, picture.height - 1, *picture.size))
    picture.im = memory.im
    return memory.im, _last_row(memory)


def _last_row(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.crop((0, picture.height - 1, *picture.size)))


def load(
    path: Path, picture: Image.Image, told: Told, marked: tuple[object, np.ndarray | int]
) -> tuple[Image.Image, Told]:
    """Load the pixels of a picture, by Pillow where it reads them right.

    Args:
        path: The file.
        picture: Opened by Pillow.
        told: What :func:`told_of` gives of it.
        marked: What :func:`mark` gives of it.

    Returns:
        ``picture``, or another one whose pixels are as they are stored, and what is known now.

    Raises:
        InvalidValueError: Pixels lack, or fail their checksum.
        FileError: It is read by rows, and cannot be.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), 'a.png')
        >>> Image.new('L', (3, 2)).save(path)
        >>> with Image.open(path) as picture:
        ...     load(path, picture, told_of(picture), mark(picture))[0].size
        (3, 2)
    """
    if not told.misread:
        picture.load()
    if picture.format == 'PNG':
        memory, row = marked
        _check_png(path, picture, row if picture.im is memory else 0)
    hides = told.wide or picture.format in ('JPEG2000', 'PPM')  # which do not tell
    if told.misread or (hides and len(picture.getbands()) > 2 and _is_black(picture)):
        picture, wide = _own_reading(path, picture, told.misread)
        return picture, replace(told, wide=wide)
    if picture.format == 'BMP' and _bmp_is_misread(path, picture):
        grey = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
        return like(Image.fromarray(grey), picture), told
    return picture, told


def like(new: Image.Image, old: Image.Image) -> Image.Image:
    """Give a picture the ``info`` and the format of another one.

    Example:
        >>> old = Image.new('L', (3, 2))
        >>> old.info['dpi'] = 72
        >>> like(Image.new('L', (3, 2)), old).info
        {'dpi': 72}
    """
    new.info.update(old.info)
    new.format = old.format
    return new


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


def _top_of(picture: Image.Image) -> int | None:
    """The largest value that greys can have which Pillow stretches."""
    codec, _, _, args = picture.tile[0] if getattr(picture, 'tile', None) else ('', None, 0, '')
    if codec.startswith('ppm') and not isinstance(args, str):
        return None if args[1] in (255, 65535) else args[1]
    raw = str(args if isinstance(args, str) else next(iter(args or ()), ''))
    return {'L;2': 3, 'L;4': 15}.get(raw[:3])


def _bmp_is_misread(path: Path, picture: Image.Image) -> bool:
    """Whether Pillow takes the bytes of a grey palette for so many bits."""
    with open(path, 'rb') as file:
        bits = int.from_bytes(file.read(30)[28:], 'little')
    return bits != {'1': 1, 'L': 8}.get(picture.mode, bits)


def _is_black(picture: Image.Image) -> bool:
    return all(high <= 1 for _, high in picture.convert('RGB').getextrema())


_KINDS = {2: 'i1', 3: 'f4'}
"""Kinds of numbers by TIFF's tag of them, where they are not unsigned."""


def _is_misread(tags: Mapping) -> bool:
    """Whether Pillow reads a TIFF wrongly.

    Of separate planes other than RGB of 8 bits it takes the first one or mixes them up. Signed
    values of 8 bits lose their sign.
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
    """The picture that Pillow would read wrongly, and whether its colours need 16 bits.

    Several channels become 8 bits. Pillow would take the high bytes of colours of 16 bits, which
    are zero where 8 bits are stored wide.
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
    return like(Image.fromarray(np.ascontiguousarray(pixels)), picture), wide


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


def _check_png(path: Path, picture: Image.Image, blank: np.ndarray | int) -> None:
    """Refuse a PNG whose pixels fail their checksums, or whose data end too early. Pillow takes
    both, and leaves the rows that are missing as they were: the last one ``blank``.
    """
    bands = len(picture.getbands())
    count = bool((_last_row(picture) == blank).all() or picture.info.get('interlace'))
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
        unpacked, found = zlib.decompressobj(), 0
        for kind, length in png_chunks(file):
            if kind != b'IDAT':
                continue
            data = file.read(length)
            if file.read(4) != zlib.crc32(kind + data).to_bytes(4, 'big'):
                raise InvalidValueError('its pixels fail their checksum')
            while count and data and found < expected:
                found += len(unpacked.decompress(data, 2**20))
                data = unpacked.unconsumed_tail
    if count and found + len(unpacked.flush()) < expected:
        raise InvalidValueError(f'{found} of {expected} bytes of its pixels are there')


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk of a PNG, the file being where its data begin.

    Example:
        >>> from io import BytesIO
        >>> file = BytesIO()
        >>> Image.new('L', (3, 2)).save(file, 'PNG')
        >>> [kind.decode() for kind, _ in png_chunks(file)]
        ['IHDR', 'IDAT', 'IEND']
    """
    at = 8
    while file.seek(at) and (head := file.read(8)):
        length = int.from_bytes(head[:4], 'big')
        yield head[4:], length
        at += 12 + length


ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
"""Passes of an interlaced PNG: first column and row, and steps."""
