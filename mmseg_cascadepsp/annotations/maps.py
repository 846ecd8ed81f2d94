"""Maps of ids: PNG files in which every pixel names its object or its class.

A pixel belongs to one object. What an object gives up goes to its nearest neighbour.
"""

import io
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmseg_cascadepsp.cascade import FusionSettings, divide
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files import read_labels
from mmseg_cascadepsp.files.opening import open_header
from mmseg_cascadepsp.files.paths import files_below

from .base import AnnotationSet, Entry, FolderSet, Photo
from .masks import ObjectMask, cut_out, decode_rle, encode_rle

VOID = 255
#: Of PNG files in which a pixel has one value.
MODES = ('1', 'P', 'L', 'I', 'I;16', 'I;16B')
#: So many label maps, at most twice, are looked at to see that they are no masks.
SEEN = 10


@lru_cache(maxsize=4)
def _labels(path: Path, modified: int) -> np.ndarray:
    labels = read_labels(path)
    labels.setflags(write=False)
    return labels


def labels_of(path: Path) -> np.ndarray:
    """The ids of a file, int32 ``(H, W)``, not to be written to."""
    return _labels(path, path.stat().st_mtime_ns)


def png_like(path: Path, labels: np.ndarray) -> bytes:
    """Other ids in a PNG of the mode (of :data:`MODES`), the palette and the notes of a file."""
    with open_header(path) as old:
        old.load()
        if old.mode == '1':
            new = Image.fromarray(labels != 0)
        else:
            new = Image.fromarray(labels.astype(np.uint16 if old.mode[0] == 'I' else np.uint8))
        if old.mode == 'P':
            new.putpalette(old.palette)
        kept = {name: old.info[name] for name in ('dpi', 'transparency') if name in old.info}
    file = io.BytesIO()
    new.save(file, 'PNG', optimize=False, **kept)
    return file.getvalue()


def painted(
    labels: np.ndarray,
    objects: list[tuple[int, ObjectMask, ObjectMask]],
    ground: np.ndarray,
    void: int | None = None,
) -> np.ndarray:
    """A map with some objects replaced.

    Args:
        labels: ``(H, W)`` integer.
        objects: (id, old mask, new mask) of each. New masks do not overlap.
        ground: ``(H, W)`` bool, pixels of no object.
        void: Id that nobody takes.

    Returns:
        ``(H, W)``, dtype of ``labels``. What an object gave up and no other took has the id of
        the nearest ground, or where there is none around, of the nearest other object.

    Example:
        >>> labels = np.array([[5, 1, 1, 7]])
        >>> old, new = cut_out(labels == 1), cut_out(np.array([[0, 1, 0, 0]]))
        >>> painted(labels, [(1, old, new)], labels == 5).tolist()
        [[5, 1, 5, 7]]
    """
    result = labels.copy()
    lost = np.zeros(labels.shape, bool)
    for _, old, new in objects:
        lost[old.box.slices] |= old.mask & ~new.inside(old.box)
    for _, old, new in objects:
        box = _grown(old.box, 2, labels.shape)
        own = old.inside(box)
        gone = own & ~new.inside(box)
        around = ~own & ~lost[box.slices]
        if void is not None:
            around &= labels[box.slices] != void
        if (around & ground[box.slices]).any():
            around &= ground[box.slices]
        if gone.any() and around.any():
            result[box.slices][gone] = nearest_values(labels[box.slices], around)[gone]
    for own, old, new in objects:
        result[new.box.slices][new.mask & ~old.inside(new.box)] = own
    return result


def nearest_values(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Every pixel's value at the nearest pixel that is known.

    Args:
        values: ``(H, W)``.
        known: ``(H, W)`` bool, somewhere True.

    Example:
        >>> values = np.array([[3, 0, 0, 4]])
        >>> nearest_values(values, values > 0).tolist()
        [[3, 3, 4, 4]]
    """
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    found = np.zeros(nearest.max() + 1, values.dtype)
    found[nearest[known]] = values[known]
    return found[nearest]


def _grown(box, margin: int, size: tuple[int, int]):
    return type(box)(
        max(0, box.top - margin),
        max(0, box.left - margin),
        min(size[0], box.bottom + margin),
        min(size[1], box.right + margin),
    )


class Maps(AnnotationSet):
    """What maps of ids have in common. See :class:`AnnotationSet`."""

    exclusive = True

    def decode(self, geometry: Any, size: tuple[int, int]) -> ObjectMask:
        """See :meth:`AnnotationSet.decode`."""
        if isinstance(geometry, ObjectMask):
            return geometry
        return decode_rle(geometry)

    def encode(
        self, entry: Entry, mask: ObjectMask, size: tuple[int, int], tolerance: float
    ) -> tuple[Any, float]:
        """See :meth:`AnnotationSet.encode`."""
        return encode_rle(mask, size), 1.0


class MapSet(Maps, FolderSet):
    """A folder of maps of ids. See :class:`AnnotationSet`."""

    def photos(self) -> list[Photo]:
        """See :meth:`AnnotationSet.photos`."""
        found = []
        for path in self.files():
            photo = Photo(self.key(path), self.photo_name(path))
            try:
                with open_header(path) as picture:
                    photo.size = picture.height, picture.width
                    if picture.mode not in MODES:
                        photo.faults[photo.key] = (
                            f'it is a PNG of mode {picture.mode}; ids are one value per pixel '
                            '(grey or palette).'
                        )
            except OSError as error:
                photo.faults[photo.key] = str(error)
            found.append(MapPhoto(photo, partial(self.entries, path)))
        return found

    def photo_name(self, path: Path) -> str:
        """The name of the photo of a file."""
        return str(Path(self.key(path)).with_suffix(''))

    @abstractmethod
    def entries(self, path: Path) -> list[Entry]:
        """The objects of a file. The geometry of each is its :class:`ObjectMask`."""


class MapPhoto(Photo):
    """A photo whose objects are looked for when they are asked for: masks take memory."""

    def __init__(self, photo: Photo, find: Callable[[], list[Entry]]) -> None:
        self._find = find
        self.key, self.file, self.size = photo.key, photo.file, photo.size
        self.faults = photo.faults

    @property
    def entries(self) -> list[Entry]:
        """Its objects."""
        return [] if self.faults else self._find()


def replaced_objects(
    entries: list[Entry], changes: Mapping[str, Any]
) -> list[tuple[int, ObjectMask, ObjectMask]]:
    """The (id, old mask, new mask) of the objects of a map that changed.

    Args:
        entries: Its objects.
        changes: Key of an object -> its new run lengths.
    """
    olds = {entry.key: entry.geometry for entry in entries}
    return [
        (int(key.rpartition(':')[2].split('#')[0]), olds[key], decode_rle(new))
        for key, new in changes.items()
    ]


def area_objects(
    labels: np.ndarray, key: str, void: int = VOID, names: Mapping[int, str] | None = None
) -> list[Entry]:
    """An object for every connected part of a class.

    Args:
        labels: ``(H, W)`` integer.
        key: Of the map.
        void: Id of no class.
        names: Those of classes, where they are known.
    """
    names = names or {}
    return [
        Entry(
            f'{key}:{part.label}#{index}',
            names.get(part.label, str(part.label)),
            cut_out(part.mask, part.box.top, part.box.left),
        )
        for index, part in enumerate(
            divide(labels, FusionSettings(ignore_index=void, min_area=64))
        )
        if not part.mask.all() or part.mask.size < labels.size
    ]


def pngs(folder: Path) -> list[Path]:
    """The PNG files below a folder."""
    return [path for path in files_below(folder) if path.suffix.lower() == '.png']


class LabelMapSet(MapSet):
    """A folder of label maps, PNG, class ids as ``refine_semantic`` takes them: every connected
    part of a class is an object. 255 is void. See :class:`AnnotationSet`.
    """

    name = 'label maps'
    complete = True

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        return path.is_dir() and any(pngs(path))

    def photos(self) -> list[Photo]:
        """See :meth:`AnnotationSet.photos`.

        Raises:
            InvalidValueError: They are masks of 0 and 255.
        """
        values, files = set(), self.files()
        for path in files[:: 1 + len(files) // SEEN]:
            try:
                values |= set(np.unique(labels_of(path)).tolist())
            except (OSError, ValueError):  # told when its turn comes
                continue
        if values == {0, VOID}:
            raise InvalidValueError(
                f'{self.path} has masks of 0 and 255, and in label maps 255 is void; '
                'mmseg-cascadepsp refine takes folders of masks.'
            )
        return super().photos()

    def files(self) -> list[Path]:
        """See :meth:`FolderSet.files`."""
        return pngs(self.path)

    def entries(self, path: Path) -> list[Entry]:
        """See :meth:`AnnotationSet.entries`."""
        return area_objects(labels_of(path), self.key(path))

    def rewritten(self, path: Path, changes: Mapping[str, Any]) -> bytes:
        """See :meth:`FolderSet.rewritten`."""
        labels = labels_of(path)
        objects = replaced_objects(self.entries(path), changes)
        return png_like(path, painted(labels, objects, np.zeros(labels.shape, bool), VOID))
