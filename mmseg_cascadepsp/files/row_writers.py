"""Results of photos refined by rows: PNG, TIFF (with ``tifffile``, the extra ``huge``) or
``.npy``. A TIFF keeps the photo's georeferencing.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .opening import open_header
from .paths import atomic_open, hidden_name
from .sources import import_extra
from .writing import read_png_text, write_png

OUT_SUFFIXES = ('.png', '.tif', '.tiff', '.npy')
"""What results by rows can be written as."""
JPEG_SUFFIXES = ('.jpg', '.jpeg')
"""What results that are written whole can be written as, too, though it blurs them."""
TILE = (256, 256)


def check_format(name: str, path: str | os.PathLike) -> None:
    """See before the work that a result can be written.

    Args:
        name: Of the argument, for messages.
        path: Where the result goes.

    Raises:
        InvalidValueError: The suffix is none of :data:`OUT_SUFFIXES`.
        FileError: TIFF without ``tifffile``.

    Example:
        >>> check_format('out', 'mask.png')  # says nothing
    """
    suffix = Path(path).suffix.lower()
    if suffix not in OUT_SUFFIXES:
        raise InvalidValueError(f'{name} must end in {", ".join(OUT_SUFFIXES)}, got {path}.')
    if suffix in ('.tif', '.tiff'):
        try:
            import_extra('tifffile', 'huge')
        except FileError as error:
            raise FileError(f'{path} cannot be written: it {error}.') from error


def write_result(
    path: str | os.PathLike,
    values: np.ndarray,
    text: Mapping[str, str] | None = None,
    geo: Mapping[int, tuple] | None = None,
) -> None:
    """Write a grey picture as PNG, tiled TIFF or ``.npy``, whole or not at all.

    Args:
        path: Its suffix tells the format.
        values: uint8 ``(H, W)``. A :class:`numpy.memmap` is written without a copy in memory.
        text: Notes, read back by :func:`read_note`. ``.npy`` has no place for them, so they go
            into a hidden file beside it.
        geo: Tags of a georeferenced TIFF, for TIFF.

    Raises:
        InvalidValueError: Another suffix.
        FileError: TIFF without ``tifffile``.
        OSError: The disk is full, or the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/mask.npy'
        >>> write_result(path, np.eye(2, dtype=np.uint8), {'made': 'today'})
        >>> np.load(path).tolist(), read_note(path)
        ([[1, 0], [0, 1]], {'made': 'today'})
    """
    check_format('path', path)
    suffix = Path(path).suffix.lower()
    if suffix == '.png':
        write_png(path, values, text)
        return
    with atomic_open(path) as file:
        if suffix == '.npy':
            np.save(file, values)
        else:
            import_extra('tifffile', 'huge').imwrite(
                file,
                values,
                bigtiff=values.size > 2**31,
                tile=TILE,
                compression='zlib',
                photometric='minisblack',
                description=json.dumps(dict(text)) if text else None,
                metadata=None,
                extratags=list((geo or {}).values()),
            )
        if text and suffix == '.npy':  # first: a result without is taken for somebody else's
            file.flush()
            os.fsync(file.fileno())
            stamp = _stamp(os.fstat(file.fileno()))
            with atomic_open(_note_file(path)) as note:
                note.write(json.dumps({'of': stamp, 'note': dict(text)}).encode())


def _note_file(path: str | os.PathLike) -> Path:
    return Path(path).with_name(hidden_name(Path(path).name, 'note'))


def _stamp(stat: os.stat_result) -> list[int]:
    """Size and time of a file, which renaming leaves. Another file of the same name has others."""
    return [stat.st_size, stat.st_mtime_ns]


def read_note(path: str | os.PathLike) -> dict[str, str]:
    """Read the notes of :func:`write_result` or :func:`~mmseg_cascadepsp.files.write_png`.

    Args:
        path: The file.

    Returns:
        Key -> text. Empty where there are none.

    Example:
        >>> read_note('missing.png')
        {}
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ('.tif', '.tiff', '.npy', *JPEG_SUFFIXES):
        return read_png_text(path)
    try:
        if suffix == '.npy':
            stored = json.loads(_note_file(path).read_text())
            note = stored['note'] if stored['of'] == _stamp(os.stat(path)) else {}
        else:
            with open_header(path) as picture:
                jpeg = picture.format == 'JPEG'
                note = json.loads(picture.info['comment'] if jpeg else picture.tag_v2[270])
    except Exception:
        return {}
    return note if isinstance(note, dict) else {}


@contextmanager
def appended(path: str | os.PathLike, row_bytes: int) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file of rows to append to, cut to whole rows.

    Args:
        path: The file, which is made if it is missing.
        row_bytes: Bytes of a row.

    Yields:
        The file, and how many rows it has.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/rows'
        >>> with appended(path, 4) as (file, rows):
        ...     _ = file.write(b'abcdef')
        >>> with appended(path, 4) as (file, rows):
        ...     rows
        1
    """
    path = Path(path)
    path.touch()
    rows = path.stat().st_size // row_bytes
    with open(path, 'r+b') as file:
        file.truncate(rows * row_bytes)
        file.seek(0, os.SEEK_END)
        yield file, rows
        file.flush()
        os.fsync(file.fileno())
