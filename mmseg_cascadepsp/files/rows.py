"""Photos and masks that are read by rows, so that neither is ever whole in memory.

TIFF and ``.npy`` are read by rows (:mod:`~mmseg_cascadepsp.files.sources`). Any other format is
unpacked whole.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import starmap
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.errors import FileError

from .mask_values import Meaning, Reading, Seen, meaning_of
from .masks import read_mask
from .opening import is_unknown_tiff, open_header
from .photos import read_image
from .sources import Source, import_extra, open_npy, open_source
from .values import check_brightness, to_rgb

ROW_SUFFIXES = frozenset({'.npy', '.tif', '.tiff'})
"""Read by rows, and written besides PNG."""
STRIP_BYTES = 2**24
"""About so much is read or written at a time where nothing else is said."""


class _FileRows(AbstractContextManager):
    """Rows of a photo or mask, of a file that :meth:`close`, or the end of ``with``, closes."""

    def __init__(
        self,
        path: str | os.PathLike,
        reading: Reading | None,
        read_whole: Callable[[Path, Reading], np.ndarray],
    ) -> None:
        self.path, self.reading = Path(path), reading or Reading()
        self.by_rows = self.path.suffix.lower() in ROW_SUFFIXES
        with ExitStack() as opened:
            if self.by_rows:
                self.source = open_source(self.path, opened)
                if self.source.orientation != 1 and self.reading.exif != 'ignore':
                    raise FileError(
                        f'{self.path} is stored turned (orientation tag), which is not undone by '
                        "rows: save it upright, or say exif='ignore' (--exif ignore) where its "
                        'mask is turned alike.'
                    )
            else:
                array = read_whole(self.path, self.reading)
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
        reading: Its ``exif`` says how photos that are stored turned are taken.

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

    def __init__(self, path: str | os.PathLike, reading: Reading | None = None) -> None:
        super().__init__(path, reading, lambda path, reading: read_image(path, reading.exif))

    def _check(self) -> None:
        source = self.source
        self.geo = source.geo
        self._high, self._checked = 0, not self.by_rows  # read_image has checked
        if source.palette or source.few_bits or source.dtype not in (np.uint8, np.uint16):
            hint = 'convert it, or have it refined whole, that is without --windowed and to a .png'
            if self.path.suffix.lower() == '.npy' or is_unknown_tiff(self.path):  # never whole
                hint = 'save it as uint8 or uint16'
            held = 'less than 8 bits' if source.few_bits else source.dtype
            raise FileError(
                f'{self.path} {"has a palette" if source.palette else f"holds {held}"}; '
                f'by rows only photos of 8 and 16 bits are read, grey or RGB: {hint}.'
            )
        if source.channels == 2 and not source.alpha or source.channels == 0:
            raise FileError(
                f'{self.path} has {source.channels} channels; expected 1, or 3 or more.'
            )
        self._top = 255  # largest value, as far as it is known to matter
        if source.dtype == np.uint16:
            for start, stop in row_ranges(self.shape, 2 * source.channels):
                colours, _ = source.photo(start, stop)
                self._top = max(self._top, int(colours.max()))
                if self._top > 255:  # what most photos show at once
                    break

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read rows.

        Args:
            start: First row.
            stop: Row after the last one.

        Returns:
            RGB uint8 ``(n, W, 3)``.
        """
        colours, alpha = self.source.photo(start, stop)
        rgb = to_rgb(colours, alpha, self.path, self.source.premultiplied, self._top)
        if not self._checked:
            self._high = max(self._high, int(rgb.max(initial=0)))
            self._checked = stop == self.shape[0]
            if self._checked:
                check_brightness(self._high, self._top > 255, self.path)
        return rgb


class MaskRows(_FileRows):
    """The mask of one object, read by rows.

    Object is what :func:`~mmseg_cascadepsp.files.read_mask` makes larger than 127. The file is
    read once to tell the range of its values.

    Args:
        path: ``.tif`` or ``.npy`` of one channel. Another format is unpacked whole.
        reading: How to read it where its values do not say it.

    Attributes:
        is_empty: Whether no pixel is object.
        is_full: Whether all pixels are object.

    Raises:
        FileError: The file cannot be read, or holds several channels, values out of range or
            values that can be read in two ways.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/mask.npy'
        >>> np.save(path, np.eye(3))
        >>> with MaskRows(path) as mask:
        ...     mask.is_empty, mask.read(1, 2).tolist()
        (False, [[False, True, False]])
    """

    def __init__(self, path: str | os.PathLike, reading: Reading | None = None) -> None:
        super().__init__(path, reading, read_mask)

    def _check(self) -> None:
        source = self.source
        if source.channels != 1:
            raise FileError(
                f'{self.path} has {source.channels} channels; expected a mask of one channel.'
            )
        if source.pages > 1:
            raise FileError(
                f'{self.path} holds {source.pages} pictures, of which any could be the mask; save '
                'the one that is meant alone.'
            )
        if source.palette and self.reading.ids is None:
            raise FileError(
                f'{self.path} has a palette, which is not read by rows: convert it, or say which '
                'index is the object (mask_values=1, --mask-values 1).'
            )
        seen = Seen()
        for rows in starmap(self._values, row_ranges(self.shape, source.dtype.itemsize)):
            seen.add(rows)
        if self.by_rows:
            self._meaning = meaning_of(seen, self.path, self.reading, nodata=source.nodata)
        else:  # read_mask has made it 0 to 255
            self._meaning = Meaning(255)
        low, high = self._meaning.is_object(np.array([seen.low, seen.high]))
        if self._meaning.ids is not None or self._meaning.ignore is not None:
            objects = self._meaning.is_object(seen.distinct)
            low, high = objects.all(), objects.any()
        self.is_empty, self.is_full = not high, bool(low)

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
        return self._meaning.is_object(self._values(start, stop))

    def soft(self) -> np.ndarray:
        """All of the mask, uint8 ``(H, W)``, 0 to 255, whose soft values stay soft."""
        return self._meaning.soft(self._values(0, self.shape[0]))


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
            return open_npy(Path(path)).shape[:2]
        if is_unknown_tiff(path):
            with import_extra('tifffile', 'huge').TiffFile(path) as file:
                return file.pages[0].imagelength, file.pages[0].imagewidth
        with open_header(path) as picture:
            return picture.size[::-1]
    except Exception:
        return None
