"""Writing files so that nobody ever meets half of one."""

import os
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, which removes no file that is open
    fcntl = None


def hidden_name(name: str, ending: str) -> str:
    """The name of a hidden file beside another one.

    File systems limit the bytes of a name. A long one is shortened, and stays different from
    others.

    Args:
        name: Of the other file.
        ending: What the hidden file holds.

    Returns:
        ``.NAME.ENDING``.

    Example:
        >>> hidden_name('a.npy', 'note')
        '.a.npy.note'
    """
    encoded = os.fsencode(name)
    if len(encoded) > 100:
        name = f'{encoded[:80].decode(errors="ignore")}.{zlib.crc32(encoded):08x}'
    return f'.{name}.{ending}'


def hidden_beside(path: str | os.PathLike, ending: str) -> Path:
    """The path of a hidden file beside another one, see :func:`hidden_name`.

    Args:
        path: The other file or folder.
        ending: What the hidden file holds.

    Returns:
        An absolute path.

    Example:
        >>> hidden_beside('/data/out', 'partial').as_posix()
        '/data/.out.partial'
    """
    whole = Path(os.path.abspath(path))
    return whole.parent / hidden_name(whole.name, ending)


def files_below(folder: str | os.PathLike) -> list[Path]:
    """All files below a folder, sorted. Links to folders elsewhere are followed, each once.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / 'a.txt').touch()
        >>> [path.name for path in files_below(folder)]
        ['a.txt']
    """
    top = os.path.realpath(folder)
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        found += [Path(root, name) for name in names]
        folders.sort()
        for name in [name for name in folders if Path(root, name).is_symlink()]:
            real = os.path.realpath(os.path.join(root, name))
            # What lies in the folder is found without the link; what lies around it is a circle.
            if real in seen or folder_around([top, real]) in (top, real):
                folders.remove(name)
            seen.add(real)
    return sorted(found)


def folder_around(paths: Iterable[str]) -> str | None:
    """The innermost folder that holds all of some absolute paths. None where there is none, as on
    two drives.

    Example:
        >>> import os
        >>> folder_around([os.path.abspath('a/b'), os.path.abspath('a/c')]) == os.path.abspath('a')
        True
    """
    try:
        return os.path.commonpath(paths)
    except ValueError:
        return None


@contextmanager
def atomic_open(path: str | os.PathLike, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing bytes. It appears under its name only when the block ends well.

    The bytes go to a hidden file in the same folder, which is made if it is missing. At the end it
    takes the name with ``os.replace``. When the block raises, the hidden file is removed and an
    older ``path`` stays as it was. What a killed process left of the same file is removed, too.

    Args:
        path: The file.
        sync: Whether to wait until the bytes are on the disk, and to look for what was left.
            Without it, tens of thousands of small files are much faster, and only a crash of the
            machine can leave one short.

    Yields:
        The file.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with atomic_open(f'{folder}/a.txt') as file:
        ...     _ = file.write(b'all of it')
        >>> os.listdir(folder)
        ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(hidden_name(path.name, f'{uuid.uuid4().hex[:12]}.tmp'))
    if sync:
        _clear_left(path)
    try:
        with open(hidden, 'xb') as file:
            _lock(file)
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            if fcntl:  # while it is locked
                os.replace(hidden, path)
        if not fcntl:
            os.replace(hidden, path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise


def _clear_left(path: Path) -> None:
    """Remove the hidden files of writers of ``path`` that were killed. Those of writers at work
    are locked.
    """
    start = hidden_name(path.name, '')
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(start)]
    for name in names:
        if re.fullmatch(r'[0-9a-f]{12}\.tmp', name.removeprefix(start)):
            hidden = path.with_name(name)
            with suppress(OSError):
                if fcntl is None:
                    hidden.unlink()
                    continue
                with open(hidden, 'r+b') as file:
                    if _lock(file):
                        hidden.unlink()


def _lock(file: BinaryIO) -> bool:
    """Lock an open file. False if another process has locked it, or where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, AttributeError):
        return False
    return True
