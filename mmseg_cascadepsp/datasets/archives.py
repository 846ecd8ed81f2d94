"""Finding zip and tar archives, and reading what is in them."""

import io
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, NamedTuple

from mmseg_cascadepsp.errors import MissingFileError

ARCHIVE_SUFFIXES = ('.zip', '.tar', '.tgz', '.gz', '.tbz2', '.bz2', '.txz', '.xz', '.rar', '.7z')
KINDS = {'.jpg': '.jpg', '.jpeg': '.jpg', '.png': '.png'}
"""Suffix in an archive -> suffix it is laid out with: photos are JPEG, masks PNG in all sets."""


class Member(NamedTuple):
    """A file in an archive."""

    where: str
    size: int
    read: Callable[[], bytes]


def find_archives(
    sources: Sequence[str | os.PathLike], faults: list[str]
) -> Iterator[tuple[Path, str]]:
    """Path of each archive, and its name with the folders below the source, without suffix.

    Files that are named themselves all count, those in folders when their suffix or their content
    is an archive's; links are followed.

    Args:
        sources: Files and folders.
        faults: Gets one sentence for each folder that cannot be read or holds no archive.

    Raises:
        FileNotFoundError: A source is missing.
    """
    for source in map(Path, sources):
        if not source.exists():
            raise MissingFileError(f'archives: there is no {source}')
        if not source.is_dir():
            yield source, _without_suffix(source.name)
            continue
        known, empty = len(faults), True
        for path in _walk(source, faults):
            if _may_be_archive(path):
                empty = False
                yield path, _without_suffix(path.relative_to(source).as_posix())
        if empty and len(faults) == known:
            faults.append(f'{source} holds no zip or tar archive')


def _without_suffix(name: str) -> str:
    return re.sub(r'(\.tar)?\.\w+$', '', name, flags=re.IGNORECASE)


def _walk(folder: Path, faults: list[str], above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files below a folder, through links too, and archives' names that lead nowhere."""
    try:
        real = folder.resolve()
        # A link to a folder around it would go round and round.
        entries = [] if real in above else sorted(folder.iterdir())
    except OSError as error:
        faults.append(f'{folder} cannot be searched for archives ({error})')
        return
    for path in entries:
        if os.path.isdir(path):
            yield from _walk(path, faults, (*above, real))
        elif os.path.isfile(path) or (_has_suffix(path) and not os.path.exists(path)):
            yield path


def _has_suffix(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def _may_be_archive(path: Path) -> bool:
    """By its suffix, or by its first and last bytes when that says nothing."""
    if _has_suffix(path) or path.suffix.lower() in KINDS:  # unpacked pictures are many
        return _has_suffix(path)
    try:
        with open(path, 'rb') as file:
            cut_zip = file.read(4) == b'PK\3\4'  # has lost the index that zipfile looks for
        return cut_zip or zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except Exception:  # decoders raise whatever they stumble over
        return True  # reading it says why it cannot be


def archive_members(
    path: Path, stack: ExitStack
) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Name, size and reader of the regular files in an archive that stays open with ``stack``."""
    with open(path, 'rb'):
        pass  # raises what zipfile and tarfile would take for damage, such as lacking permission
    if zipfile.is_zipfile(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, info.file_size, partial(archive.read, info)
        return
    tar = stack.enter_context(tarfile.open(path))
    if not isinstance(tar.fileobj, io.BufferedReader):
        # Going back and forth in a compressed stream unpacks it anew each time.
        tar.fileobj.seek(0)
        plain = stack.enter_context(_temporary_copy(tar.fileobj))
        tar = stack.enter_context(tarfile.open(fileobj=plain))
    for info in tar:
        if info.isreg():
            yield info.name, info.size, partial(_read_tar, tar, info)


def _temporary_copy(stream: BinaryIO) -> BinaryIO:
    """What is left of ``stream`` in a file that goes when it is closed."""
    copy = tempfile.TemporaryFile()
    try:
        copyfileobj(stream, copy)
        copy.seek(0)
    except BaseException:
        with suppress(OSError):  # closing writes once more what did not fit
            copy.close()
        raise
    return copy


def _read_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    with tar.extractfile(info) as file:
        return file.read()
