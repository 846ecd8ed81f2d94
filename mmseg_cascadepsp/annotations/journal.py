"""What is done of a run over a set of annotations, and where its result goes."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from mmseg_cascadepsp.errors import FileError, InvalidValueError
from mmseg_cascadepsp.files.finished import stamp
from mmseg_cascadepsp.files.paths import hidden_beside

from .base import AnnotationSet, FolderSet
from .options import AnnotationOptions
from .results import ObjectResult


class Journal:
    """What is done of a run, in a hidden folder beside its result, a file for every process.

    Every photo is a line that is on the disk before the next one begins. Of other settings, of
    a set that was changed, or of a photo that was changed, nothing is taken.

    Args:
        out: The result.
        settings: What a result depends on.
        stamps: Key of a photo -> :func:`~mmseg_cascadepsp.files.finished.stamp` of its file.
        rank: The number of this process.
    """

    def __init__(
        self, out: Path, settings: dict, stamps: Mapping[str, str], rank: int = 0
    ) -> None:
        self.stamps = stamps
        self.folder = hidden_beside(out, 'partial')
        self.head = json.dumps(settings, sort_keys=True)
        self.own = self.folder / f'{rank}.jsonl'

    @property
    def digest(self) -> str:
        """Of what a result depends on but for photos."""
        return hashlib.sha256(self.head.encode()).hexdigest()

    def _files(self) -> Iterator[list[bytes]]:
        """The whole lines of every file of this run, after its head."""
        for path in sorted(self.folder.glob('*.jsonl')):
            lines = path.read_bytes().split(b'\n')[:-1]  # a last one without end was cut off
            if lines and lines[0].decode() == self.head:
                yield lines[1:]

    def begun(self) -> bool:
        """Whether there is something of this run."""
        return any(True for _ in self._files())

    def is_alone(self) -> bool:
        """Whether there is nothing of another run."""
        return len([*self._files()]) == len([*self.folder.glob('*.jsonl')])

    def read(self) -> dict[str, list[ObjectResult]]:
        """Key of a photo -> what became of its objects."""
        done = {}
        for lines in self._files():
            for line in lines:
                record = json.loads(line)
                # A photo that is gone since is not looked at again.
                if self.stamps.get(record['photo']) in ('', record['stamp']):
                    done[record['photo']] = [ObjectResult(**item) for item in record['objects']]
        return done

    def open(self) -> None:
        """Get ready for lines. A line that was cut off goes, and so does another run's file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = self.own.read_bytes() if self.own.exists() else b''
        self._file = open(self.own, 'r+b' if content else 'wb')
        if content.startswith(self.head.encode() + b'\n'):
            self._file.truncate(content.rfind(b'\n') + 1)
            self._file.seek(0, os.SEEK_END)
        else:
            self._file.truncate(0)
            self._file.write(self.head.encode() + b'\n')
        self._sync()

    def add(self, photo: str, objects: list[ObjectResult]) -> None:
        """Write what became of a photo's objects."""
        record = {
            'photo': photo,
            'stamp': self.stamps[photo],
            'objects': [asdict(item) for item in objects],
        }
        self._file.write(json.dumps(record).encode() + b'\n')
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def remove(self) -> None:
        """The run is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(source: AnnotationSet) -> str:
    """Tells whether a set is the one that a journal is of."""
    digest = hashlib.sha256()
    if isinstance(source, FolderSet):
        for file in [*source.files(), *source.others()]:
            digest.update(f'{file} {stamp(file)}\n'.encode(errors='surrogateescape'))
    else:
        for path in source.parts():
            if path.exists():
                with open(path, 'rb') as content:
                    while part := content.read(2**24):
                        digest.update(part)
    return digest.hexdigest()


def check_out(
    source: AnnotationSet, out: Path, options: AnnotationOptions, journal: Journal
) -> None:
    """Check that the result and its page have places of their own.

    Raises:
        FileError: ``out`` or ``options.report`` is there already.
        InvalidValueError: ``out`` is the set itself or of the wrong kind, or the page is no HTML.
    """
    if source.endings and out.suffix.lower() not in source.endings:
        raise InvalidValueError(
            f'out: the result of a set in {source.name} ends in {", ".join(source.endings)}, got '
            f'{out}.'
        )
    own, target = source.path.resolve(), out.resolve()
    if isinstance(source, FolderSet) and not source.is_one_file():
        own = source.root().resolve()
        if out.is_file():
            raise InvalidValueError(f'out: {out} is a file; the result of a folder is a folder.')
    elif out.is_dir():
        raise InvalidValueError(f'out: {out} is a folder; the result of a file is a file.')
    if own == target or (own.is_dir() and own in target.parents):
        raise InvalidValueError(
            f'out: {out} is the set itself or lies in {own}; name a place outside of it.'
        )
    places = {'out': out}
    if options.report is not None:
        places['report'] = page = Path(options.report)
        if page.suffix.lower() not in ('.html', '.htm') or page.is_dir():
            raise InvalidValueError(f'report: {page} must be the name of an HTML file (.html).')
    for name, path in places.items():
        there = any(path.iterdir()) if path.is_dir() else path.exists()
        if there and not options.overwrite and not journal.begun():
            raise FileError(
                f'{name}: {path} is there already, and not from this very run; name another, or '
                '--overwrite.'
            )
