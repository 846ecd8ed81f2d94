"""Photos and masks that are read by rows, so that neither is ever whole in memory.

TIFF (with ``tifffile``, the extra ``huge``, and ``rasterio``, the extra ``geo``, for compressions
that ``tifffile`` cannot decode) and ``.npy`` are read by rows. Any other format is unpacked whole.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import starmap
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError, one_line

from .reading import _open_header, is_unknown_tiff, read_image, read_mask
from .values import check_brightness, full_value, is_object, to_rgb

ROW_SUFFIXES = frozenset({'.npy', '.tif', '.tiff'})
"""Read by rows, and written besides PNG."""
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""TIFF tags that say where on earth the pixels are: scale, tie points, matrix, keys."""
JPEG = (6, 7, 33007, 34892)
"""Compressions of a TIFF that are JPEG."""
STRIP_BYTES = 2**24
"""About so much is read or written at a time where nothing else is said."""


@dataclass(frozen=True)
class Source:
    """Rows of a file's own values.

    Args:
        read: Gives the rows from ``start`` to ``stop``, exclusive: ``(n, W)`` or ``(n, W, C)``.
        shape: ``(H, W)`` or ``(H, W, C)`` of the whole.
        dtype: Of the values that are read.
        alpha: Whether the last channel is transparency.
        premultiplied: Whether the colours have been multiplied by it.
        inverted: Whether white is zero.
        palette: Whether the values are indices of a palette.
        geo: Tags that say where on earth the pixels are.
    """

    read: Callable[[int, int], np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype
    alpha: bool = False
    premultiplied: bool = False
    inverted: bool = False
    palette: bool = False
    geo: Mapping[int, tuple] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[2] if len(self.shape) == 3 else 1


def _raw(path: Path, offset: int, stored: np.dtype, shape: tuple[int, ...]) -> Callable:
    """Reader of pixels that lie in a file as they are. Mapped pages would count as the process's
    memory.
    """
    per_row = int(np.prod(shape[1:]))
    size, expected = path.stat().st_size, offset + shape[0] * per_row * stored.itemsize
    if size < expected:
        raise InvalidValueError(f'it is truncated: {size} of {expected} bytes')

    def read(start: int, stop: int) -> np.ndarray:
        with open(path, 'rb') as file:
            file.seek(offset + start * per_row * stored.itemsize)
            values = np.fromfile(file, stored, (stop - start) * per_row)
        return values.astype(stored.newbyteorder('='), copy=False).reshape(-1, *shape[1:])

    return read


def _open_npy(path: Path) -> Source:
    with open(path, 'rb') as file:
        version = np.lib.format.read_magic(file)
        header = getattr(np.lib.format, f'read_array_header_{version[0]}_0', None)
        if header is None:
            raise InvalidValueError(f'version {version} of the format is unknown')
        shape, fortran, stored = header(file)
        offset = file.tell()
    if fortran or len(shape) not in (2, 3) or stored.hasobject or 0 in shape[:2]:
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
    if page.tags.valueof(274, 1) != 1:
        raise InvalidValueError('it is stored turned (orientation tag); save it upright')
    if page.imagedepth != 1 or page.ndim not in (2, 3):
        raise InvalidValueError(f'its first page has the shape {page.shape}')
    if page.photometric in (5, 8, 9, 10) or (
        page.photometric == 6 and page.compression not in JPEG  # whose decoder makes it RGB
    ):
        raise InvalidValueError(f'its colours are {page.photometric.name}; convert it to RGB')
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
        geo={
            code: (code, tag.dtype, tag.count, tag.value, True)
            for code in GEO_TAGS
            if (tag := page.tags.get(code)) is not None
        },
    )


class TiffBands:
    """Rows of a compressed page. The last strip, or row of tiles, is kept decoded."""

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


def _open_source(path: Path, opened: ExitStack) -> Source:
    if not path.exists():
        raise MissingFileError(f'{path} does not exist.')
    if path.is_dir():
        raise FileError(f'{path} is a folder, where a file was expected.')
    with _told(path):
        source = _open_npy(path) if path.suffix.lower() == '.npy' else _open_tiff(path, opened)

    def read(start: int, stop: int) -> np.ndarray:
        with _told(path):
            return source.read(start, stop)

    return replace(source, read=read)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Name the file in what decoders raise, who raise whatever they stumble over."""
    try:
        yield
    except Exception as error:
        reason = one_line(error).rstrip('.')
        raise FileError(f'{path} cannot be read by rows: {reason}.') from error


class _FileRows(AbstractContextManager):
    """Rows of a photo or mask, of a file that :meth:`close`, or the end of ``with``, closes."""

    def __init__(self, path: str | os.PathLike, read_whole: Callable[[Path], np.ndarray]) -> None:
        self.path = Path(path)
        self.by_rows = self.path.suffix.lower() in ROW_SUFFIXES
        with ExitStack() as opened:
            if self.by_rows:
                self.source = _open_source(self.path, opened)
            else:
                array = read_whole(self.path)
                self.source = Source(lambda i, j: array[i:j], array.shape, array.dtype)
            self.shape = self.source.shape[:2]
            self._check()
            self._opened = opened.pop_all()

    def _check(self) -> None:
        """Look at what there is, before it is read."""

    def close(self) -> None:
        """Close the file: no more rows are read."""
        self._opened.close()

    def __exit__(self, *_) -> None:
        self.close()


class ImageRows(_FileRows):
    """A photo that is read by rows as :func:`~mmseg_cascadepsp.files.read_image` reads it whole.

    16 bits become 8, grey becomes RGB, and transparent parts lie on white. Of more channels than
    four, or of a fourth that is no transparency, the first three are taken.

    Args:
        path: ``.tif`` or ``.npy``, ``(H, W)`` or ``(H, W, C)``. Another format is unpacked whole.

    Raises:
        FileError: The file cannot be read, or holds what is no photo of 8 or 16 bits.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/photo.npy'
        >>> np.save(path, np.zeros((6, 4, 3), np.uint8))
        >>> with ImageRows(path) as photo:
        ...     photo.shape, photo.read(2, 5).shape
        ((6, 4), (3, 4, 3))
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path, read_image)

    def _check(self) -> None:
        source = self.source
        self.geo = source.geo
        self._high, self._checked = 0, not self.by_rows  # read_image has checked
        if source.palette or source.dtype not in (np.uint8, np.uint16):
            hint = 'convert it, or have it refined whole, that is without --windowed and to a .png'
            if self.path.suffix.lower() == '.npy' or is_unknown_tiff(self.path):  # never whole
                hint = 'save it as uint8 or uint16'
            raise FileError(
                f'{self.path} {"has a palette" if source.palette else f"holds {source.dtype}"}; '
                f'by rows only photos of 8 and 16 bits are read, grey or RGB: {hint}.'
            )
        if source.channels == 2 and not source.alpha or source.channels == 0:
            raise FileError(
                f'{self.path} has {source.channels} channels; expected 1, or 3 or more.'
            )

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read rows.

        Args:
            start: First row.
            stop: Row after the last one.

        Returns:
            RGB uint8 ``(n, W, 3)``.
        """
        rows = self.source.read(start, stop)
        rows = rows[..., None] if rows.ndim == 2 else rows
        colours = rows[..., :3] if rows.shape[-1] >= 3 else rows[..., :1]
        if self.source.inverted:
            colours = np.iinfo(colours.dtype).max - colours
        alpha = rows[..., -1] if self.source.alpha else None
        rgb = to_rgb(colours, alpha, self.path, self.source.premultiplied)
        if not self._checked:
            self._high = max(self._high, int(rgb.max(initial=0)))
            self._checked = stop == self.shape[0]
            if self._checked:
                check_brightness(self._high, self.source.dtype.itemsize > 1, self.path)
        return rgb


class MaskRows(_FileRows):
    """The mask of one object, read by rows.

    Object is what :func:`~mmseg_cascadepsp.files.read_mask` makes larger than 127. The file is
    read once to tell the range of its values.

    Args:
        path: ``.tif`` or ``.npy`` of one channel. Another format is unpacked whole.

    Attributes:
        is_empty: Whether no pixel is object.
        is_full: Whether all pixels are object.

    Raises:
        FileError: The file cannot be read, or holds several channels or values out of range.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/mask.npy'
        >>> np.save(path, np.eye(3))
        >>> with MaskRows(path) as mask:
        ...     mask.is_empty, mask.read(1, 2).tolist()
        (False, [[False, True, False]])
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path, read_mask)

    def _check(self) -> None:
        source = self.source
        if source.channels != 1:
            raise FileError(
                f'{self.path} has {source.channels} channels; expected a mask of one channel.'
            )
        if source.palette:
            raise FileError(
                f'{self.path} has a palette; by rows masks are read without: convert it.'
            )
        strips = row_ranges(self.shape, source.dtype.itemsize)
        ranges = [(rows.min(), rows.max()) for rows in starmap(self._values, strips)]
        low, high = np.min(ranges), np.max(ranges)
        # What read_mask has read is of 8 bits, and has been checked.
        self.full = full_value(low, high, self.path) if self.by_rows else 255
        self.is_empty = bool(high <= self.full / 2)
        self.is_full = bool(low > self.full / 2)

    def _values(self, start: int, stop: int) -> np.ndarray:
        rows, inverted = self.source.read(start, stop), self.source.inverted
        rows = rows[..., 0] if rows.ndim == 3 else rows
        if rows.dtype.kind == 'b':
            return (rows ^ inverted).astype(np.uint8)
        return np.iinfo(rows.dtype).max - rows if inverted else rows

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read rows.

        Args:
            start: First row.
            stop: Row after the last one.

        Returns:
            Bool ``(n, W)``.
        """
        return is_object(self._values(start, stop), self.full)


def row_ranges(shape: tuple[int, int], row_bytes: int = 1) -> Iterator[tuple[int, int]]:
    """Cover the height with ranges of rows of about :data:`STRIP_BYTES` each.

    Args:
        shape: ``(H, W)``.
        row_bytes: Bytes of a pixel.

    Yields:
        First row, and the row after the last one.

    Example:
        >>> list(row_ranges((3000, 10_000)))
        [(0, 1677), (1677, 3000)]
    """
    step = max(1, STRIP_BYTES // (shape[1] * row_bytes))
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])


def stored_size(path: str | os.PathLike) -> tuple[int, int] | None:
    """Read the size of a picture from its header alone.

    Args:
        path: The file.

    Returns:
        ``(H, W)``, which EXIF may turn. None where the header does not say.

    Example:
        >>> stored_size('missing.png') is None
        True
    """
    try:
        if Path(path).suffix.lower() == '.npy':
            return _open_npy(Path(path)).shape[:2]
        if is_unknown_tiff(path):
            with import_extra('tifffile', 'huge').TiffFile(path) as file:
                return file.pages[0].imagelength, file.pages[0].imagewidth
        with _open_header(path) as picture:
            return picture.size[::-1]
    except Exception:
        return None
