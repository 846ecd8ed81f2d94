"""Cityscapes: a PNG for every photo in which every object has an id of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_cascadepsp.errors import MissingFileError
from mmseg_cascadepsp.files.opening import open_header
from mmseg_cascadepsp.files.paths import files_below

from .base import Entry, Photo, by_file, write_bytes
from .maps import MapSet, labels_of, painted, png_like, pngs, replaced_objects
from .masks import cut_out


class CityscapesSet(MapSet):
    """A folder of instance maps as Cityscapes has them: ``class * 1000 + n`` is an object, smaller
    ids are classes without objects, which take what objects give up. Where a file
    ``*_labelIds.png`` lies beside ``*_instanceIds.png``, it follows. See :class:`AnnotationSet`.
    """

    name = 'Cityscapes'

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        if not path.is_dir():
            return False
        files = pngs(path)
        named = [file for file in files if file.name.endswith('_instanceIds.png')]
        for file in (named or files)[:5]:
            with open_header(file) as picture:
                if picture.mode.startswith('I') and np.asarray(picture).max() >= 1000:
                    return True
        return False

    def default_images(self) -> Path | None:
        """See :meth:`AnnotationSet.default_images`."""
        parts = ['leftImg8bit' if part == 'gtFine' else part for part in self.path.resolve().parts]
        found = Path(*parts)
        return found if found.is_dir() and 'leftImg8bit' in parts else None

    def files(self) -> list[Path]:
        """See :meth:`FolderSet.files`."""
        files = pngs(self.path)
        return [file for file in files if file.name.endswith('_instanceIds.png')] or files

    def others(self) -> list[Path]:
        """See :meth:`FolderSet.others`."""
        taken = set(self.files())
        kinds = ('.png', '.json')
        return [
            file
            for file in files_below(self.path)
            if file.suffix.lower() in kinds and file not in taken
        ]

    def photo_name(self, path: Path) -> str:
        """See :meth:`AnnotationSet.photo_name`."""
        stem = str(Path(self.key(path)).with_suffix(''))
        for ending in ('_gtFine_instanceIds', '_gtCoarse_instanceIds', '_instanceIds'):
            if stem.endswith(ending):
                return f'{stem.removesuffix(ending)}_leftImg8bit'
        return stem

    def photo_path(self, photo: Photo) -> Path:
        """See :meth:`AnnotationSet.photo_path`."""
        try:
            return super().photo_path(photo)
        except MissingFileError:
            return self.images.find(photo.file.removesuffix('_leftImg8bit'))

    def entries(self, path: Path) -> list[Entry]:
        """See :meth:`AnnotationSet.entries`."""
        labels, key = labels_of(path), self.key(path)
        return [
            Entry(f'{key}:{value}', str(value // 1000), cut_out(labels == value))
            for value in np.unique(labels).tolist()
            if value >= 1000
        ]

    def free(self, photo: Photo, size: tuple[int, int]) -> np.ndarray:
        """See :meth:`AnnotationSet.free`."""
        return labels_of(self.root() / photo.key) < 1000

    def _new(self, path: Path, changes: Mapping[str, Any]) -> np.ndarray:
        objects = replaced_objects(self.entries(path), changes)
        labels = labels_of(path)
        return painted(labels, objects, labels < 1000)

    def rewritten(self, path: Path, changes: Mapping[str, Any]) -> bytes:
        """See :meth:`FolderSet.rewritten`."""
        return png_like(path, self._new(path, changes))

    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> None:
        """See :meth:`AnnotationSet.write`."""
        super().write(out, changes)
        for name, own in by_file(changes).items():
            path = self.root() / name
            classes = path.with_name(path.name.replace('_instanceIds', '_labelIds'))
            if classes == path or not classes.is_file():
                continue
            old, new = labels_of(path), self._new(path, own)
            ids = labels_of(classes).copy()
            changed = old != new
            ids[changed] = np.where(new >= 1000, new // 1000, new)[changed]
            write_bytes(out / classes.relative_to(self.root()), png_like(classes, ids))
