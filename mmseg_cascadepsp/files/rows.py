"""Photos and masks that are read by rows, so that neither is ever whole in memory.

Tiled and striped TIFF (with ``tifffile``, the extra ``huge``; compressions that it leaves to
others with ``rasterio``, the extra ``geo``) and ``.npy`` are read by rows; any other format is
unpacked whole.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from itertools import starmap
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError

from .reading import (
    _open_header,
    is_unknown_tiff,
    read_image,
    read_mask,
)
from .values import check_brightness, full_value, is_object, to_rgb

ROW_SUFFIXES = frozenset({'.npy', '.tif', '.tiff'})
"""Read by rows, and written besides PNG."""
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""TIFF tags that say where on earth the pixels are: scale, tie points, matrix, keys."""
JPEG = (6, 7, 33007, 34892)
"""Compressions of a TIFF that are JPEG."""
STRIP_BYTES = 2**24
"""About so much is read or written at a time where nothing else is said."""


class ArrayRows:
    """Rows of an array ``(H, W)`` or ``(H, W, C)``."""

    geo: Mapping[int, tuple] = {}

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape[:2], array.dtype
        self.channels = array.shape[2] if array.ndim == 3 else 1

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, exclusive: ``(n, W)`` or ``(n, W, C)``."""
        return self.array[start:stop]

    def close(self) -> None:
        """Close what is open of the file."""


class NpyRows(ArrayRows):
    """Rows of an ``.npy`` file. Read, not mapped: mapped pages count as the process's memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, 'rb') as file:
            version = np.lib.format.read_magic(file)
            header = getattr(np.lib.format, f'read_array_header_{version[0]}_0', None)
            if header is None:
                raise InvalidValueError(f'version {version} of the format is unknown')
            shape, fortran, self.stored = header(file)
            self.dtype = self.stored.newbyteorder('=')
            self.offset = file.tell()
        if fortran or len(shape) not in (2, 3) or self.dtype.hasobject or 0 in shape[:2]:
            raise InvalidValueError(
                f'it holds {self.dtype} {shape}{" column by column" if fortran else ""}; expected '
                '(H, W) or (H, W, C) numbers, row by row'
            )
        self.shape, self.inner = shape[:2], shape[1:]
        self.channels = shape[2] if len(shape) == 3 else 1
        expected = self.offset + int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        if path.stat().st_size < expected:
            raise InvalidValueError(f'it is truncated: {path.stat().st_size} of {expected} bytes')

    def read(self, start: int, stop: int) -> np.ndarray:
        count = int(np.prod(self.inner))
        with open(self.path, 'rb') as file:
            file.seek(self.offset + start * count * self.dtype.itemsize)
            values = np.fromfile(file, self.stored, (stop - start) * count)
        return values.astype(self.dtype, copy=False).reshape(-1, *self.inner)


class TiffRows(ArrayRows):
    """Rows of the first page of a TIFF; of tiles, the last row of them is kept decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        tifffile = import_extra('tifffile', 'huge')
        self._opened = ExitStack()
        self.file = self._opened.enter_context(tifffile.TiffFile(path))
        with ExitStack() as failed:
            failed.callback(self.close)
            self._open_page()
            failed.pop_all()

    def _open_page(self) -> None:
        page = self.page = self.file.pages[0]
        if page.tags.valueof(274, 1) != 1:
            raise InvalidValueError('it is stored turned (orientation tag); save it upright')
        if page.imagedepth != 1 or page.ndim not in (2, 3):
            raise InvalidValueError(f'its first page has the shape {page.shape}')
        if page.photometric in (5, 8, 9, 10) or (
            page.photometric == 6 and page.compression not in JPEG  # whose decoder makes it RGB
        ):
            raise InvalidValueError(f'its colours are {page.photometric.name}; convert it to RGB')
        self.shape, self.dtype = (page.imagelength, page.imagewidth), page.dtype
        self.channels = page.samplesperpixel
        self.separate = page.planarconfig == 2 and self.channels > 1
        self.has_alpha = bool(set(page.extrasamples) & {1, 2}) and self.channels in (2, 4)
        self.is_premultiplied = 1 in page.extrasamples
        self.is_palette = page.photometric == 3
        self.inverted = page.photometric == 0
        height = page.tilelength if page.is_tiled else page.rowsperstrip
        self.band = min(height, self.shape[0])
        self.per_row = -(-self.shape[1] // page.tilewidth) if page.is_tiled else 1
        self.geo = {
            code: (code, tag.dtype, tag.count, tag.value, True)
            for code in GEO_TAGS
            if (tag := page.tags.get(code)) is not None
        }
        self._index, self._band = -1, None
        self._fallback = None
        self._plain = page.is_final and not self.separate and page.databytecounts[0] > 0
        if self._plain:  # as the pixels are: one strip of them all is not read whole
            size, expected = self.path.stat().st_size, self._place(self.shape[0])
            if size < expected:
                raise InvalidValueError(f'it is truncated: {size} of {expected} bytes')
            return
        try:
            self._decode(0)
        except Exception as error:  # a codec that is missing raises what it likes
            self._fallback = _rasterio_rows(self.path, error, self._opened)

    def close(self) -> None:
        self._opened.close()

    def _place(self, row: int) -> int:
        """Of a row in the file, where rows follow each other."""
        row_bytes = self.shape[1] * self.channels * self.dtype.itemsize
        return self.page.dataoffsets[0] + row * row_bytes

    def _decode(self, index: int) -> np.ndarray:
        """Band ``index`` of tiles or strips, (band, W, C)."""
        if index == self._index:
            return self._band
        rows = min(self.band, self.shape[0] - index * self.band)
        band = np.zeros((rows, self.shape[1], self.channels), self.dtype)
        per_plane = self.per_row * -(-self.shape[0] // self.band)
        tables = self.page.jpegtables
        for plane in range(self.channels if self.separate else 1):
            for column in range(self.per_row):
                segment = plane * per_plane + index * self.per_row + column
                handle = self.file.filehandle
                handle.seek(self.page.dataoffsets[segment])
                size = self.page.databytecounts[segment]
                if not size:  # a sparse file: zeros
                    continue
                options = {} if tables is None else {'jpegtables': tables}
                data, where, _ = self.page.decode(handle.read(size), segment, **options)
                part, left = data[0][:rows], where[3]
                part = part[:, : self.shape[1] - left]
                kept = band[: len(part), left : left + part.shape[1]]
                if self.separate:
                    kept[..., plane] = part[..., 0]
                else:
                    kept[...] = part
        self._index, self._band = index, band
        return band

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._fallback is not None:
            return self._fallback(start, stop)
        if self._plain:
            stored = self.dtype.newbyteorder(self.file.byteorder)
            with open(self.path, 'rb') as file:
                file.seek(self._place(start))
                rows = np.fromfile(file, stored, (stop - start) * self.shape[1] * self.channels)
            rows = rows.astype(self.dtype, copy=False)
            rows = rows.reshape(-1, self.shape[1], self.channels)
        else:
            parts = []
            while start < stop:
                index = start // self.band
                top = index * self.band
                part = self._decode(index)[start - top : stop - top]
                parts.append(part)
                start += len(part)
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return rows[..., 0] if self.channels == 1 else rows


def import_extra(name: str, extra: str):
    """An optional package.

    Raises:
        OSError: it is not installed; says which ``extra`` of this package brings it.
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise FileError(
            f'needs the optional package {name}: pip install {name} (the extra "{extra}")'
        ) from error


def _rasterio_rows(path: Path, error: Exception, opened: ExitStack):
    """A function that reads rows with rasterio until ``opened`` is closed, or the error of one
    sentence."""
    try:
        rasterio = import_extra('rasterio', 'geo')
    except OSError as missing:
        raise InvalidValueError(
            f'tifffile alone cannot decode it ({error}); it {missing}'
        ) from error
    data = opened.enter_context(rasterio.open(path))

    def read(start: int, stop: int) -> np.ndarray:
        with rasterio.Env(GDAL_CACHEMAX=128):  # MB; by default a share of the machine's memory
            window = ((start, stop), (0, data.width))
            values = np.moveaxis(data.read(window=window), 0, -1)
        return values[..., 0] if values.shape[-1] == 1 else values

    return read


def _open_rows(path: str | os.PathLike) -> ArrayRows:
    """A reader of a file's own values.

    Raises:
        OSError: with the path, whatever is wrong with the file.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f'{path} does not exist.')
    if path.is_dir():
        raise FileError(f'{path} is a folder, where a file was expected.')
    kind = NpyRows if path.suffix.lower() == '.npy' else TiffRows
    try:
        return kind(path)
    except Exception as error:
        reason = str(error).rstrip('.') or type(error).__name__
        raise FileError(f'{path} cannot be read by rows: {reason}.') from error


class _FileRows(AbstractContextManager):
    """Rows of a photo or mask, of a file that :meth:`close`, or the end of ``with``, closes."""

    def __init__(self, path: str | os.PathLike, read_whole: Callable[[Path], np.ndarray]) -> None:
        self.path = Path(path)
        self.by_rows = self.path.suffix.lower() in ROW_SUFFIXES
        self.source = _open_rows(path) if self.by_rows else ArrayRows(read_whole(self.path))
        self.shape = self.source.shape
        with ExitStack() as failed:
            failed.callback(self.close)
            self._check()
            failed.pop_all()

    def _check(self) -> None:
        """Look at what there is, before it is read."""

    def close(self) -> None:
        """Close the file: no more rows are read."""
        self.source.close()

    def __exit__(self, *_) -> None:
        self.close()


class ImageRows(_FileRows):
    """A photo by rows, RGB uint8 ``(n, W, 3)``, see :func:`open_image_rows`."""

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path, read_image)

    def _check(self) -> None:
        self.geo = self.source.geo
        self._high, self._checked = 0, not self.by_rows  # read_image has checked
        self.has_alpha = getattr(self.source, 'has_alpha', self.source.channels in (2, 4))
        palette = getattr(self.source, 'is_palette', False)
        if palette or self.source.dtype not in (np.uint8, np.uint16):
            hint = 'convert it, or have it refined whole, that is without --windowed and to a .png'
            if self.path.suffix.lower() == '.npy' or is_unknown_tiff(self.path):  # never whole
                hint = 'save it as uint8 or uint16'
            raise FileError(
                f'{self.path} {"has a palette" if palette else f"holds {self.source.dtype}"}; by '
                f'rows only photos of 8 and 16 bits are read, grey or RGB: {hint}.'
            )
        if self.source.channels == 2 and not self.has_alpha or self.source.channels == 0:
            raise FileError(
                f'{self.path} has {self.source.channels} channels; expected 1, or 3 or more.'
            )

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, exclusive."""
        rows = self.source.read(start, stop)
        rows = rows[..., None] if rows.ndim == 2 else rows
        colours = rows[..., :3] if rows.shape[-1] >= 3 else rows[..., :1]
        if getattr(self.source, 'inverted', False):
            colours = np.iinfo(colours.dtype).max - colours
        alpha = rows[..., -1] if self.has_alpha else None
        premultiplied = getattr(self.source, 'is_premultiplied', False)
        rgb = to_rgb(colours, alpha, self.path, premultiplied)
        if not self._checked:
            self._high = max(self._high, int(rgb.max(initial=0)))
            self._checked = stop == self.shape[0]
            if self._checked:
                check_brightness(self._high, self.source.dtype.itemsize > 1, self.path)
        return rgb


class MaskRows(_FileRows):
    """A mask by rows, bool ``(n, W)``, see :func:`open_mask_rows`."""

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path, read_mask)

    def _check(self) -> None:
        if self.source.channels != 1:
            raise FileError(
                f'{self.path} has {self.source.channels} channels; expected a mask of one channel.'
            )
        if getattr(self.source, 'is_palette', False):
            raise FileError(
                f'{self.path} has a palette; by rows masks are read without: convert it.'
            )
        self.invert = getattr(self.source, 'inverted', False)
        strips = row_ranges(self.shape, self.source.dtype.itemsize)
        ranges = [(rows.min(), rows.max()) for rows in starmap(self._values, strips)]
        low, high = np.min(ranges), np.max(ranges)
        # What read_mask has read is of 8 bits, and has been checked.
        self.full = full_value(low, high, self.path) if self.by_rows else 255
        self.is_empty, self.is_full = high <= self.full / 2, low > self.full / 2

    def _values(self, start: int, stop: int) -> np.ndarray:
        rows = self.source.read(start, stop)
        rows = rows[..., 0] if rows.ndim == 3 else rows
        if rows.dtype.kind == 'b':
            return (rows ^ self.invert).astype(np.uint8)
        return np.iinfo(rows.dtype).max - rows if self.invert else rows

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, exclusive."""
        return is_object(self._values(start, stop), self.full)


def open_image_rows(path: str | os.PathLike) -> ImageRows:
    """A photo, to be read by rows as :func:`~mmseg_cascadepsp.utils.read_image` reads it whole: 16
    bits become 8, grey becomes RGB, transparent parts lie on white. Of more channels than four, or
    of a fourth that is no transparency, the first three are taken. ``close()`` it, or use it in
    ``with``.

    Args:
        path: ``.tif`` or ``.npy`` (``(H, W)`` or ``(H, W, C)``); another format is unpacked whole.

    Raises:
        OSError: the file cannot be read, or holds what is no photo of 8 or 16 bits.
    """
    return ImageRows(path)


def open_mask_rows(path: str | os.PathLike) -> MaskRows:
    """The mask of one object, to be read by rows: object is what is 1 of 0 and 1, above 127 of 8
    bits, above half of 16 bits and of fractions, as of :func:`~mmseg_cascadepsp.utils.read_mask`.
    The file is read once to tell which, and to warn of one without object for its values are
    small. Attributes ``is_empty`` and ``is_full``. ``close()`` it, or use it in ``with``.

    Args:
        path: ``.tif`` or ``.npy`` of one channel; another format is unpacked whole.

    Raises:
        OSError: the file cannot be read, or holds several channels or values out of range.
    """
    return MaskRows(path)


def row_ranges(shape: tuple[int, int], row_bytes: int = 1) -> Iterator[tuple[int, int]]:
    """Ranges of rows that cover the height, of about :data:`STRIP_BYTES` each."""
    step = max(1, STRIP_BYTES // (shape[1] * row_bytes))
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])


def stored_size(path: str | os.PathLike) -> tuple[int, int] | None:
    """``(H, W)`` from the header alone; None where it does not say. EXIF may turn it."""
    try:
        if Path(path).suffix.lower() == '.npy':
            return NpyRows(Path(path)).shape
        if is_unknown_tiff(path):
            with import_extra('tifffile', 'huge').TiffFile(path) as file:
                return file.pages[0].imagelength, file.pages[0].imagewidth
        with _open_header(path) as picture:
            return picture.size[::-1]
    except Exception:
        return None
