"""What a finished run leaves beside its result, so that the same command sees that it is done."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .paths import atomic_open, files_below, hidden_beside
from .stems import is_hidden


def stamp(path: Path) -> str:
    """Size and time of a file, or a digest of those of all files below a folder but hidden ones.

    Args:
        path: The file or folder.

    Returns:
        Empty where nothing is.

    Example:
        >>> stamp(Path('nowhere'))
        ''
    """
    try:
        if not path.is_dir():
            found = path.stat()
            return f'{found.st_size} {found.st_mtime_ns}'
    except OSError:
        return ''
    digest = hashlib.sha256()
    for file in files_below(path):
        name = file.relative_to(path)
        if not is_hidden(name):
            digest.update(f'{name.as_posix()} {stamp(file)}\n'.encode(errors='surrogateescape'))
    return digest.hexdigest()[:32]


class FinishedRun:
    """The note of a run that is finished: ``.NAME.done`` beside its result.

    Args:
        out: The result, a file or a folder.

    Example:
        >>> import tempfile
        >>> out = Path(tempfile.mkdtemp(), 'out.txt')
        >>> _ = out.write_text('done')
        >>> run = FinishedRun(out)
        >>> run.write({'asked': 'a'}, {}, [out], {'objects': 3})
        >>> run.told(asked='a'), run.told(asked='b')
        ({'objects': 3}, None)
        >>> _ = out.write_text('changed')
        >>> run.told(asked='a') is None
        True
    """

    def __init__(self, out: Path) -> None:
        self.path = hidden_beside(out, 'done')

    def write(
        self,
        keys: Mapping[str, str],
        inputs: Mapping[str, str],
        outputs: Iterable[Path],
        told: Mapping[str, Any],
        details: Iterable[Any] = (),
    ) -> None:
        """Write the note.

        Args:
            keys: Names of digests -> digests of what was asked for. An empty one is never found.
            inputs: Absolute path -> its :func:`stamp` when the run began.
            outputs: What the run wrote.
            told: What it says of itself, values for JSON.
            details: More of it, a line each.
        """
        stamps = {str(path.absolute()): stamp(path) for path in outputs}
        head = {'keys': keys, 'files': {**inputs, **stamps}, 'told': told}
        with (
            atomic_open(self.path) as file,
            gzip.GzipFile('', 'wb', 6, file, mtime=0) as packed,
        ):
            for line in (head, *details):
                packed.write(json.dumps(line).encode() + b'\n')

    def _lines(self) -> Iterator[Any]:
        try:
            with gzip.open(self.path) as file:
                yield from map(json.loads, file)
        except (OSError, EOFError, ValueError):  # none, or damaged
            return

    def told(self, **key: str) -> dict[str, Any] | None:
        """What a run said of itself, if it is the one of ``key`` and all its files are as they
        were. None otherwise.
        """
        [(name, value)] = key.items()
        head = next(self._lines(), None)
        if head is None or not value or head['keys'].get(name) != value:
            return None
        same = all(stamp(Path(path)) == known for path, known in head['files'].items())
        return head['told'] if same else None

    def details(self) -> list[Any]:
        """The details that were written."""
        return [*self._lines()][1:]
