"""Files that are read by rows, with their values as they are stored.

``.npy`` is read with numpy, TIFF with ``tifffile`` (the extra ``huge``). What that cannot decode
is read with ``rasterio`` (the extra ``geo``).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError, one_line

GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""TIFF tags that say where on earth the pixels are: scale, tie points, matrix, keys."""
NODATA_TAG = 42113
"""TIFF tag in which GDAL says which value is no data."""
JPEG = (6, 7, 33007, 34892)
"""Compressions of a TIFF that are JPEG."""


@dataclass(frozen=True)
class Source:
    """Rows of a file, with its own values.

    Args:
        read: Gives the rows from ``start`` to ``stop``, exclusive: ``(n, W)`` or ``(n, W, C)``.
        shape: ``(H, W)`` or ``(H, W, C)`` of the whole.
        dtype: Of the values that are read.
        alpha: Whether the last channel is transparency.
        premultiplied: Whether the colours have been multiplied by it.
        inverted: Whether white is zero.
        palette: Whether the values are indices of a palette.
        few_bits: Whether they have less than 8 bits.
        orientation: As EXIF has it: 1 is upright.
        nodata: Value that the file says is no data.
        pages: Number of pictures of this size in the file, of which this is the first.
        geo: Tags that say where on earth the pixels are.

    Example:
        >>> def read(start, stop):
        ...     return np.zeros((stop - start, 4, 3), np.uint8)
        >>> source = Source(read, (6, 4, 3), np.dtype(np.uint8))
        >>> source.channels, source.photo(2, 5)[0].shape
        (3, (3, 4, 3))
    """

    read: Callable[[int, int], np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype
    alpha: bool = False
    premultiplied: bool = False
    inverted: bool = False
    palette: bool = False
    few_bits: bool = False
    orientation: int = 1
    nodata: float | None = None
    pages: int = 1
    geo: Mapping[int, tuple] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[2] if len(self.shape) == 3 else 1

    def photo(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Colours of rows, ``(n, W, 1)`` or RGB ``(n, W, 3)``, white being the largest value, and
        transparency, ``(n, W)`` or None.
        """
        rows = self.read(start, stop)
        rows = rows[..., None] if rows.ndim == 2 else rows
        colours = rows[..., :3] if rows.shape[-1] >= 3 else rows[..., :1]
        if self.inverted:
            colours = np.iinfo(colours.dtype).max - colours
        return colours, rows[..., -1] if self.alpha else None


def _raw(path: Path, offset: int, stored: np.dtype, shape: tuple[int, ...]) -> Callable:
    """Reader of pixels that lie in a file as they are. Mapped pages would count as the process's
    memory.
    """
    per_row = math.prod(shape[1:])
    size, expected = path.stat().st_size, offset + shape[0] * per_row * stored.itemsize
    if size < expected:
        raise InvalidValueError(f'it is truncated: {size} of {expected} bytes')

    def read(start: int, stop: int) -> np.ndarray:
        with open(path, 'rb') as file:
            file.seek(offset + start * per_row * stored.itemsize)
            values = np.fromfile(file, stored, (stop - start) * per_row)
        return values.astype(stored.newbyteorder('='), copy=False).reshape(-1, *shape[1:])

    return read


def open_npy(path: Path) -> Source:
    """Open an array, whose header is checked.

    Args:
        path: The file.

    Returns:
        Its rows.

    Raises:
        InvalidValueError: It holds no ``(H, W)`` or ``(H, W, C)`` numbers row by row, or is
            truncated.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'a.npy'
        >>> np.save(path, np.eye(3, dtype='>f4'))
        >>> open_npy(path).read(1, 2).tolist()
        [[0.0, 1.0, 0.0]]
    """
    with open(path, 'rb') as file:
        version = np.lib.format.read_magic(file)
        header = getattr(np.lib.format, f'read_array_header_{version[0]}_0', None)
        if header is None:
            raise InvalidValueError(f'version {version} of the format is unknown')
        shape, fortran, stored = header(file)
        offset = file.tell()
    # A header can claim anything: negative sizes, and dtypes of several values.
    if (
        fortran
        or len(shape) not in (2, 3)
        or stored.kind not in 'biuf'
        or min(shape) < 0
        or 0 in shape[:2]
    ):
        raise InvalidValueError(
            f'it holds {stored} {shape}{" column by column" if fortran else ""}; expected '
            '(H, W) or (H, W, C) numbers, row by row'
        )
    alpha = len(shape) == 3 and shape[2] in (2, 4)
    read = _raw(path, offset, stored, shape)
    return Source(read, shape, stored.newbyteorder('='), alpha)


def _open_tiff(path: Path, opened: ExitStack) -> Source:
    """The first page of a TIFF, until ``opened`` is closed."""
    file = opened.enter_context(import_extra('tifffile', 'huge').TiffFile(path))
    page = file.pages[0]
    if page.imagedepth != 1 or page.ndim not in (2, 3) or 0 in page.shape or page.dtype is None:
        raise InvalidValueError(f'its first page has the shape {page.shape}')
    if page.photometric in (5, 8, 9, 10) or (
        page.photometric == 6 and page.compression not in JPEG  # whose decoder makes it RGB
    ):
        raise InvalidValueError(f'its colours are {page.photometric.name}; convert it to RGB')
    check_white(page.photometric, page.dtype)
    channels = page.samplesperpixel
    shape = (page.imagelength, page.imagewidth, channels)[: 2 if channels == 1 else 3]
    separate = page.planarconfig == 2 and channels > 1
    if page.is_final and not separate and page.databytecounts[0] > 0:
        stored = page.dtype.newbyteorder(file.byteorder)
        read = _raw(path, page.dataoffsets[0], stored, shape)
    else:
        read = TiffBands(file.filehandle, page, separate).read
        try:
            read(0, 1)
        except Exception as error:  # a codec that is missing raises what it likes
            read = _open_rasterio(path, error, opened)
    return Source(
        read,
        shape,
        page.dtype,
        alpha=bool(set(page.extrasamples) & {1, 2}) and channels in (2, 4),
        premultiplied=1 in page.extrasamples,
        inverted=page.photometric == 0,
        palette=page.photometric == 3,
        few_bits=page.bitspersample < 8,
        orientation=page.tags.valueof(274, 1),
        nodata=nodata_of(page.tags.valueof(NODATA_TAG)),
        pages=_pages_of(file),
        geo={
            code: (code, tag.dtype, tag.count, tag.value, True)
            for code in GEO_TAGS
            if (tag := page.tags.get(code)) is not None
        },
    )


def _pages_of(file) -> int:
    """Pages of a TIFF that are no smaller versions of the first one."""
    try:
        first = file.pages[0]
        return sum(page.shape == first.shape and not page.subfiletype & 5 for page in file.pages)
    except Exception:  # what comes behind the first one may be damaged
        return 1


def check_white(photometric: int, dtype: np.dtype) -> None:
    """Refuse values of a TIFF of which 0 is white where the largest one is not known.

    Raises:
        InvalidValueError: They are floats, or have a sign.

    Example:
        >>> check_white(0, np.dtype(np.uint8))  # says nothing
    """
    if photometric == 0 and dtype.kind not in 'bu':
        raise InvalidValueError(
            f'it holds {dtype} of which 0 is white, which has no largest value; write it with 0 '
            'as black'
        )


class TiffBands:
    """Rows of a compressed page. The last strip, or row of tiles, is kept decoded.

    Example:
        See :func:`open_source`.
    """

    def __init__(self, handle, page, separate: bool) -> None:
        self.handle, self.page, self.separate = handle, page, separate
        self.shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        self.height = min(page.tilelength if page.is_tiled else page.rowsperstrip, self.shape[0])
        self.per_row = -(-self.shape[1] // page.tilewidth) if page.is_tiled else 1
        self._index, self._band = -1, None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, exclusive."""
        parts = []
        while start < stop:
            index, top = divmod(start, self.height)
            if index != self._index:
                self._index, self._band = index, self._decode(index)
            parts.append(self._band[top : top + stop - start])
            start += len(parts[-1])
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return rows[..., 0] if self.shape[2] == 1 else rows

    def _decode(self, index: int) -> np.ndarray:
        """Strip, or row of tiles, ``index``: ``(n, W, C)``."""
        page, (height, width, channels) = self.page, self.shape
        band = np.zeros(
            (min(self.height, height - index * self.height), width, channels), page.dtype
        )
        options = {} if page.jpegtables is None else {'jpegtables': page.jpegtables}
        per_plane = self.per_row * -(-height // self.height)
        for plane in range(channels if self.separate else 1):
            first = plane * per_plane + index * self.per_row
            for segment in range(first, first + self.per_row):
                size = page.databytecounts[segment]
                if not size:  # a sparse file: zeros
                    continue
                self.handle.seek(page.dataoffsets[segment])
                data, where, _ = page.decode(self.handle.read(size), segment, **options)
                part = data[0][: len(band), : width - where[3]]
                kept = band[: len(part), where[3] : where[3] + part.shape[1]]
                if self.separate:
                    kept[..., plane] = part[..., 0]
                else:
                    kept[...] = part
        return band


def import_extra(name: str, extra: str):
    """Import an optional package.

    Args:
        name: The package.
        extra: The extra of this package that brings it.

    Returns:
        The module.

    Raises:
        FileError: It is not installed.

    Example:
        >>> import_extra('json', 'huge').__name__
        'json'
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise FileError(
            f'needs the optional package {name}: pip install {name} (the extra "{extra}")'
        ) from error


def _open_rasterio(path: Path, error: Exception, opened: ExitStack) -> Callable:
    """Reader by rasterio of what tifffile cannot decode, until ``opened`` is closed."""
    try:
        rasterio = import_extra('rasterio', 'geo')
    except FileError as missing:
        raise InvalidValueError(
            f'tifffile alone cannot decode it ({error}); it {missing}'
        ) from error
    data = opened.enter_context(rasterio.open(path))

    def read(start: int, stop: int) -> np.ndarray:
        with rasterio.Env(GDAL_CACHEMAX=128):  # MB; by default a share of the machine's memory
            values = np.moveaxis(data.read(window=((start, stop), (0, data.width))), 0, -1)
        return values[..., 0] if values.shape[-1] == 1 else values

    return read


def open_source(path: Path, opened: ExitStack) -> Source:
    """Open a file whose rows can be read.

    Args:
        path: ``.npy``, or else TIFF.
        opened: Closes it.

    Returns:
        Its rows.

    Raises:
        FileError: It is missing, damaged, or of a kind that is not read by rows.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'a.npy'
        >>> np.save(path, np.eye(3))
        >>> open_source(path, ExitStack()).read(1, 2).tolist()
        [[0.0, 1.0, 0.0]]
    """
    if not path.exists():
        raise MissingFileError(f'{path} does not exist.')
    if path.is_dir():
        raise FileError(f'{path} is a folder, where a file was expected.')
    with _told(path):
        source = open_npy(path) if path.suffix.lower() == '.npy' else _open_tiff(path, opened)

    def read(start: int, stop: int) -> np.ndarray:
        with _told(path):
            return source.read(start, stop)

    return replace(source, read=read)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Name the file in whatever decoders raise."""
    try:
        yield
    except Exception as error:
        reason = one_line(error).rstrip('.')
        raise FileError(f'{path} cannot be read by rows: {reason}.') from error


def nodata_of(text: object) -> float | None:
    """What GDAL's tag says is no data.

    Example:
        >>> nodata_of('255 '), nodata_of(None)
        (255.0, None)
    """
    try:
        return float(str(text).strip('\0 '))
    except ValueError:
        return None
