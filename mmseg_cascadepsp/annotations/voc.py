"""PASCAL VOC: palette PNG files of objects and of classes, with a line of void along outlines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files.paths import files_below

from .base import Entry, Photo, by_file, write_bytes
from .maps import (
    VOID,
    MapSet,
    labels_of,
    nearest_values,
    painted,
    png_like,
    pngs,
    replaced_objects,
)
from .masks import cut_out

#: Void is a line along an object where it is at most so many pixels wide.
LINE = 7
#: VOC's line is so many pixels wide on each side of the outline.
HALF_LINE = 2


class VocSet(MapSet):
    """A folder of PASCAL VOC: palette PNG in ``SegmentationObject`` and ``SegmentationClass``.
    See :class:`AnnotationSet`.

    The void line along outlines is drawn anew where an object changed. Larger void stays. Of a
    photo without a file in ``SegmentationObject`` every class is an object.
    """

    name = 'PASCAL VOC'

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        return path.is_dir() and any(
            (path / name).is_dir() for name in ('SegmentationObject', 'SegmentationClass')
        )

    def default_images(self) -> Path | None:
        """See :meth:`AnnotationSet.default_images`."""
        found = self.path / 'JPEGImages'
        return found if found.is_dir() else None

    def files(self) -> list[Path]:
        """See :meth:`FolderSet.files`."""
        found = {}
        for folder in (self.path / 'SegmentationClass', self.path / 'SegmentationObject'):
            found |= {path.relative_to(folder): path for path in pngs(folder)}
        return sorted(found.values())

    def others(self) -> list[Path]:
        """See :meth:`FolderSet.others`."""
        found = list(self.path.glob('*.txt'))
        for name in ('SegmentationClass', 'SegmentationObject', 'ImageSets', 'Annotations'):
            found += files_below(self.path / name)
        taken = set(self.files())
        return [path for path in found if path not in taken]

    def _classes(self, path: Path) -> Path | None:
        """The map of classes of a map of objects."""
        folder = self.path / 'SegmentationObject'
        if not path.is_relative_to(folder):
            return None
        found = self.path / 'SegmentationClass' / path.relative_to(folder)
        return found if found.is_file() else None

    def entries(self, path: Path) -> list[Entry]:
        """See :meth:`AnnotationSet.entries`."""
        labels, classes = labels_of(path), self._classes(path)
        line = void_line(labels)
        classes = labels if classes is None else labels_of(classes)
        if classes.shape != labels.shape:
            raise InvalidValueError(
                f'{path.name} differs in size between SegmentationObject and SegmentationClass.'
            )
        filled = fill_line(labels, line)
        entries = []
        for value in np.unique(labels).tolist():
            if value not in (0, VOID):
                inside = np.bincount(classes[labels == value], minlength=2)
                label = str(int(inside.argmax()))
                key = f'{self.key(path)}:{value}'
                entries.append(Entry(key, label, cut_out(filled == value)))
        return entries

    def free(self, photo: Photo, size: tuple[int, int]) -> np.ndarray:
        """See :meth:`AnnotationSet.free`."""
        labels = labels_of(self.root() / photo.key)
        return (labels == 0) | void_line(labels)

    def _new(self, path: Path, changes: Mapping[str, Any], target: Path, by_id: Mapping) -> bytes:
        """The content of ``target``, a map of objects or of classes, after the changes."""
        labels = labels_of(path)
        line = void_line(labels)
        filled = fill_line(labels, line)
        objects = replaced_objects(self.entries(path), changes)
        new = painted(filled, objects, filled == 0, VOID)
        result = labels_of(target).copy()
        near = np.zeros(labels.shape, np.uint8)
        for _, old, other in objects:
            for mask in (old, other):
                near[mask.box.slices] |= mask.mask.view(np.uint8)
        # Within reach of what changed: the line of neighbours stays where it was.
        near = cv2.dilate(near, np.ones((2 * LINE + 1, 2 * LINE + 1), np.uint8)) > 0
        touched = near & (line | (new != filled))
        touched &= (result != VOID) | void_line(result)  # void areas of classes stay
        translated = np.zeros_like(new)
        for value, other in by_id.items():
            translated[new == value] = other
        translated[new == VOID] = VOID
        result[touched] = translated[touched]
        if line.any():
            kernel = cv2.getStructuringElement(
                cv2.MORPH_ELLIPSE, (2 * HALF_LINE + 1, 2 * HALF_LINE + 1)
            )
            ground = np.where(new == VOID, 0, new).astype(np.uint8)
            edge = cv2.morphologyEx(ground, cv2.MORPH_GRADIENT, kernel) > 0
            result[edge & near] = VOID
        # An object of a few pixels is not lost in its own line.
        for own, _, mask in objects:
            if own in by_id and not (result[mask.box.slices][mask.mask] == by_id[own]).any():
                result[mask.box.slices][mask.mask] = by_id[own]
        return png_like(target, result)

    def rewritten(self, path: Path, changes: Mapping[str, Any]) -> bytes:
        """See :meth:`FolderSet.rewritten`."""
        values = np.unique(labels_of(path)).tolist()
        return self._new(path, changes, path, {value: value for value in values})

    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> None:
        """See :meth:`AnnotationSet.write`."""
        super().write(out, changes)
        for name, own in by_file(changes).items():
            path = self.root() / name
            classes = self._classes(path)
            if classes is not None:
                by_id = {0: 0}
                for entry in self.entries(path):
                    by_id[int(entry.key.rpartition(':')[2])] = int(entry.label)
                content = self._new(path, own, classes, by_id)
                write_bytes(out / classes.relative_to(self.root()), content)


def void_line(labels: np.ndarray) -> np.ndarray:
    """The pixels of void that are a line along outlines, not an area, bool.

    Example:
        >>> labels = np.zeros((20, 20), np.int32)
        >>> labels[3], labels[8:] = 255, 255
        >>> void_line(labels).any(axis=1).tolist().index(True), int(void_line(labels).sum())
        (3, 20)
    """
    void = np.pad((labels == VOID).astype(np.uint8), LINE, mode='edge')
    area = cv2.morphologyEx(void, cv2.MORPH_OPEN, np.ones((LINE, LINE), np.uint8))
    return ((void > 0) & (area == 0))[LINE:-LINE, LINE:-LINE]


def fill_line(labels: np.ndarray, line: np.ndarray) -> np.ndarray:
    """A map whose line of void has the ids of the nearest pixels.

    Example:
        >>> labels = np.array([[0, 255, 255, 4]])
        >>> fill_line(labels, labels == 255).tolist()
        [[0, 0, 4, 4]]
    """
    known = ~line & (labels != VOID)
    if not line.any() or not known.any():
        return labels
    return np.where(line, nearest_values(labels, known), labels)
