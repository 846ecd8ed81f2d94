"""Writing files so that nobody ever meets half of one."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_open(path: str | os.PathLike, sync: bool = True) -> Iterator[BinaryIO]:
    """Open ``path`` for writing bytes; it appears under its name only when the block ends well.

    The bytes go to a hidden file in the same folder (which is made if missing) that takes the name
    with ``os.replace``. When the block raises, the hidden file goes and an older ``path`` stays as
    it was.

    Args:
        path: The file.
        sync: Wait until the bytes are on the disk. Without it, tens of thousands of small files
            are much faster, and only a crash of the machine can leave one short.

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
    hidden = path.with_name(f'.{path.name[:100]}.{uuid.uuid4().hex[:12]}.tmp')
    try:
        with open(hidden, 'xb') as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(hidden, path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
