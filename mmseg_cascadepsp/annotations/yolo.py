"""YOLO-seg: a text file for every photo, a line ``class x y x y ...`` for every object."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError
from mmseg_cascadepsp.files.paths import files_below

from .base import Entry, FolderSet, Photo, read_text
from .masks import ObjectMask, best_rings, cut_out, draw

#: Trainers take 0.0 for 0, too.
_CLASS = re.compile(r'\s*\d+(\.0*)?(?=\s)')
_LINE = re.compile(_CLASS.pattern + r'(\s+[-+.\deE]+)+\s*$')
#: Of tools that write it into the folder of labels.
_NAMES = 'classes.txt'


def _text(path: Path) -> tuple[str, bytes]:
    """A file's text, whatever bytes a broken line has, and its byte order mark."""
    return read_text(path, 'surrogateescape')


def _lines(path: Path) -> list[str]:
    """A file's lines with their ends."""
    return _text(path)[0].splitlines(keepends=True)


class YoloSet(FolderSet):
    """A folder of YOLO labels, or its ``data.yaml``. See :class:`AnnotationSet`.

    Coordinates are cut to integers by the trainers and filled by OpenCV. So they are written in
    the middle of the pixel. A line is one ring: parts and holes are joined to it by bridges. Lines
    of boxes stay as they are.
    """

    name = 'YOLO'

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        if path.is_file():
            return path.suffix.lower() in ('.yaml', '.yml') and bool(
                re.search(r'^names\s*:', read_text(path)[0], re.MULTILINE)
            )
        texts = [file for file in files_below(path) if file.suffix.lower() == '.txt'][:50]
        for file in texts:
            lines = [line for line in _lines(file) if line.strip()]
            known = sum(bool(_LINE.match(line)) for line in lines)
            if file.name != _NAMES and known and 2 * known >= len(lines):
                return True
        return False

    def default_images(self) -> Path | None:
        """See :meth:`AnnotationSet.default_images`."""
        if self.path.is_file() or (self.path / 'images').is_dir():
            return self.root()
        # As ultralytics: the last "labels" of the path becomes "images".
        parts = list(self.path.resolve().parts)
        for index in range(len(parts) - 1, -1, -1):
            if parts[index] == 'labels':
                found = Path(*parts[:index], 'images', *parts[index + 1 :])
                return found if found.is_dir() else None
        return self.path

    @cached_property
    def _files(self) -> list[Path]:
        found = []
        for path in files_below(self.root()):
            is_text = path.suffix.lower() == '.txt' and path.name != _NAMES
            if is_text and not path.name.startswith('.'):
                lines = [line for line in _lines(path) if line.strip()]
                # Lists of photos and notes are text files, too.
                if not lines or any(_CLASS.match(line) for line in lines):
                    found.append(path)
        return found

    def files(self) -> list[Path]:
        """See :meth:`FolderSet.files`."""
        return self._files

    def others(self) -> list[Path]:
        """See :meth:`FolderSet.others`."""
        return [
            path
            for path in files_below(self.root())
            if path.suffix.lower() in ('.yaml', '.yml')
            or (path.suffix.lower() == '.txt' and path not in self._files)
        ]

    @cached_property
    def _data(self) -> dict[str, Any]:
        """What data.yaml says."""
        import yaml

        for path in self.others():
            if path.suffix.lower() in ('.yaml', '.yml'):
                try:
                    found = yaml.safe_load(read_text(path)[0])
                except (yaml.YAMLError, FileError):
                    continue
                if isinstance(found, dict) and 'names' in found:
                    return found
        return {}

    @cached_property
    def _classes(self) -> dict[str, str]:
        """Class number -> name."""
        names = self._data.get('names')
        if isinstance(names, list):
            names = dict(enumerate(names))
        return {str(k): str(v) for k, v in names.items()} if isinstance(names, dict) else {}

    def photos(self) -> list[Photo]:
        """See :meth:`AnnotationSet.photos`."""
        if 'kpt_shape' in self._data:
            raise InvalidValueError(
                f'{self.path} is a set of poses (kpt_shape in data.yaml): its lines have no '
                'outlines to refine.'
            )
        found = []
        for path in self.files():
            key = self.key(path)
            # labels/train/a.txt lies beside images/train/a.jpg
            parts = ['images' if part == 'labels' else part for part in Path(key).parts]
            photo = Photo(key, str(Path(*parts).with_suffix('')))
            for number, line in enumerate(_lines(path), 1):
                words = line.split()
                if not words:
                    continue
                own = f'{key}:{number}'
                entry = Entry(own, self._classes.get(words[0], words[0]), line)
                if len(words) == 5:
                    entry.kept = 'a box without outline'
                try:
                    self._ring(line)
                except InvalidValueError as error:
                    if not entry.kept:
                        photo.faults[own] = str(error)
                        continue
                photo.entries.append(entry)
            if photo.entries or photo.faults:
                found.append(photo)
        return found

    @staticmethod
    def _ring(line: str) -> np.ndarray:
        """The points of a line, in shares of the photo's sides."""
        words = line.split()
        try:
            values = np.array([float(word) for word in words[1:]])
        except ValueError as error:
            raise InvalidValueError(f'a coordinate is no number: {error}.') from error
        if len(values) < 6 or len(values) % 2:
            hint = ' (a confidence behind the coordinates has to go)' if len(values) > 6 else ''
            raise InvalidValueError(
                'a polygon needs three or more pairs of coordinates, got '
                f'{len(values)} numbers{hint}.'
            )
        return values.reshape(-1, 2)

    def photo_path(self, photo: Photo) -> Path:
        """See :meth:`AnnotationSet.photo_path`."""
        try:
            return super().photo_path(photo)
        except MissingFileError as error:
            raise MissingFileError(f'the photo of {photo.key} is missing: {error}') from error

    def decode(self, geometry: Any, size: tuple[int, int]) -> ObjectMask:
        """See :meth:`AnnotationSet.decode`."""
        ring = self._ring(geometry)
        if ring.min() < -0.01 or ring.max() > 1.01:
            raise InvalidValueError(
                'its coordinates are not within 0 and 1, the shares of the sides of the photo.'
            )
        # What was written in decimals is not cut a pixel too low.
        ring = ring * (size[1], size[0]) + 1e-6
        return cut_out(draw([np.minimum(ring, (size[1] - 1, size[0] - 1))], size, 'opencv'))

    def encode(
        self, entry: Entry, mask: ObjectMask, size: tuple[int, int], tolerance: float
    ) -> tuple[Any, float]:
        """See :meth:`AnnotationSet.encode`."""
        words = entry.geometry.split()
        decimals = max(6, max(len(word.partition('.')[2]) for word in words[1:]))
        [ring], cost = best_rings(mask, size, 'opencv', tolerance, single=True)
        shares = (ring + 0.5) / (size[1], size[0])
        numbers = [f'{value:.{min(decimals, 12)}f}' for value in shares.ravel()]
        return ' '.join([words[0], *numbers]), cost

    def rewritten(self, path: Path, changes: Mapping[str, Any]) -> bytes:
        """See :meth:`FolderSet.rewritten`."""
        text, mark = _text(path)
        lines = text.splitlines(keepends=True)
        for key, line in changes.items():
            number = int(key.rpartition(':')[2]) - 1
            old = lines[number]
            lines[number] = line + old[len(old.rstrip('\r\n')) :]
        return mark + ''.join(lines).encode('utf-8', 'surrogateescape')
