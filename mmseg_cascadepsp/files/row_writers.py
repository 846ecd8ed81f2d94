"""Results that are written by rows, so that none is ever whole in memory: PNG, TIFF (with
``tifffile``, the extra ``huge``) or ``.npy``. A TIFF keeps the photo's georeferencing."""

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .paths import atomic_open, hidden_name
from .reading import _open_header, read_png_text
from .rows import import_extra


def write_rows(
    path: str | os.PathLike,
    strips: Iterable[np.ndarray],
    shape: tuple[int, int],
    text: Mapping[str, str] | None = None,
    geo: Mapping[int, tuple] | None = None,
) -> None:
    """Write a grey picture by rows as PNG, tiled TIFF or ``.npy``, atomically.

    Args:
        path: Its suffix tells the format.
        strips: uint8 ``(n, W)``, together ``shape``.
        shape: ``(H, W)``.
        text: Notes, read back by :func:`read_note`. ``.npy`` has no place for them: they go into a
            hidden file beside it.
        geo: Tags of a georeferenced TIFF, for TIFF.

    Raises:
        OSError: the disk is full, the folder cannot be written to, TIFF without ``tifffile``.
        ValueError: another suffix.
    """
    writer = find_writer(path)
    with atomic_open(path) as file:
        writer(file, strips, shape, dict(text or {}), dict(geo or {}))
        if text and writer is _write_npy:  # first: a result without is taken for somebody else's
            file.flush()
            os.fsync(file.fileno())
            stamp = _stamp(os.fstat(file.fileno()))
            with atomic_open(_note_file(path)) as note:
                note.write(json.dumps({'of': stamp, 'note': dict(text)}).encode())


def _note_file(path: str | os.PathLike) -> Path:
    return Path(path).with_name(hidden_name(Path(path).name, 'note'))


def _stamp(stat: os.stat_result) -> list[int]:
    """Another file of the same name has another; renaming leaves it."""
    return [stat.st_size, stat.st_mtime_ns]


def find_writer(path: str | os.PathLike) -> Callable[..., None]:
    """What writes the format that the suffix of ``path`` names.

    Raises:
        OSError: TIFF without ``tifffile``; says which extra brings it.
        ValueError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    writers = {'.png': _write_png, '.npy': _write_npy, '.tif': _write_tiff, '.tiff': _write_tiff}
    if suffix not in writers:
        raise InvalidValueError(f'path {path} must end in .png, .tif or .npy.')
    if writers[suffix] is _write_tiff:
        try:
            import_extra('tifffile', 'huge')
        except OSError as error:
            raise FileError(f'{path} cannot be written: it {error}.') from error
    return writers[suffix]


def _write_npy(file: BinaryIO, strips, shape, text, geo) -> None:
    header = {'descr': '|u1', 'fortran_order': False, 'shape': tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)
    for rows in strips:
        file.write(np.ascontiguousarray(rows).tobytes())


def _write_png(file: BinaryIO, strips, shape, text, geo) -> None:
    def chunk(kind: bytes, data: bytes) -> None:
        file.write(struct.pack('>I', len(data)) + kind + data)
        file.write(struct.pack('>I', zlib.crc32(kind + data)))

    file.write(b'\x89PNG\r\n\x1a\n')
    chunk(b'IHDR', struct.pack('>IIBBBBB', shape[1], shape[0], 8, 0, 0, 0, 0))
    for key, value in text.items():
        chunk(b'iTXt', key.encode('latin-1') + b'\0' * 5 + value.encode())
    packer = zlib.compressobj(4)
    for rows in strips:
        filtered = np.zeros((len(rows), shape[1] + 1), np.uint8)  # byte 0 of a row: no filter
        filtered[:, 1:] = rows
        if data := packer.compress(filtered.tobytes()):
            chunk(b'IDAT', data)
    chunk(b'IDAT', packer.flush())
    chunk(b'IEND', b'')


def _write_tiff(file: BinaryIO, strips, shape, text, geo, side: int = 256) -> None:
    tifffile = import_extra('tifffile', 'huge')

    def tiles() -> Iterator[np.ndarray]:
        for rows in _regroup(strips, side):
            for left in range(0, shape[1], side):
                tile = np.zeros((side, side), np.uint8)
                part = rows[:, left : left + side]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile

    with tifffile.TiffWriter(file, bigtiff=shape[0] * shape[1] > 2**31) as writer:
        writer.write(
            tiles(),
            shape=tuple(shape),
            dtype=np.uint8,
            tile=(side, side),
            compression='zlib',
            photometric='minisblack',
            description=json.dumps(text) if text else None,
            metadata=None,
            extratags=list(geo.values()),
        )


def _regroup(strips: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """The same rows in strips of ``height``; the last may be lower."""
    rest = None
    for rows in strips:
        rest = rows if rest is None else np.concatenate([rest, rows])
        while len(rest) >= height:
            yield rest[:height]
            rest = rest[height:]
    if rest is not None and len(rest):
        yield rest


def read_note(path: str | os.PathLike) -> dict[str, str]:
    """The notes of :func:`write_rows` or ``write_png``; empty where there are none."""
    suffix = Path(path).suffix.lower()
    if suffix not in ('.tif', '.tiff', '.npy'):
        return read_png_text(path)
    try:
        if suffix == '.npy':
            stored = json.loads(_note_file(path).read_text())
            note = stored['note'] if stored['of'] == _stamp(os.stat(path)) else {}
        else:
            with _open_header(path) as picture:
                note = json.loads(picture.tag_v2[270])
    except Exception:
        return {}
    return note if isinstance(note, dict) else {}


@contextmanager
def appended(path: str | os.PathLike, row_bytes: int) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file of rows to append to, cut to whole rows.

    Yields:
        The file, and how many rows it has.
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
