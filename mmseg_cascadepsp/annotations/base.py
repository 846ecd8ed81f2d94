"""What a format of annotations is asked for: the objects of its photos, and itself with other
outlines.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError
from mmseg_cascadepsp.files import atomic_open, read_image
from mmseg_cascadepsp.files.stems import files_by_stem

from .masks import ObjectMask


@dataclass
class Entry:
    """An object of a photo.

    Attributes:
        key: Names it in its set, such as its id.
        label: The name of its class.
        geometry: Its outline or pixels, as the format has them.
        kept: Why it stays as it is, such as ``'crowd'``. Empty: it is refined.
    """

    key: str
    label: str
    geometry: Any
    kept: str = ''


@dataclass
class Photo:
    """A photo of a set.

    Attributes:
        key: Names it in its set.
        file: Its name or path, as the set has it.
        size: (H, W) as the set says. None: it does not say.
        entries: Its objects.
        faults: Key of an entry that is broken -> a sentence.
    """

    key: str
    file: str
    size: tuple[int, int] | None = None
    entries: list[Entry] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


class PhotoFolder:
    """Finds photos in a folder by the names that sets have for them.

    Args:
        folder: The folder. Folders in it are searched, too.

    Raises:
        MissingFileError: There is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise MissingFileError(f'images: {folder} is no folder.')
        self.folder = folder
        self._places: dict[str, Path | None] = {}

    def _look(self) -> None:
        """Note every photo under its path, with and without its ending, and under its name."""
        bare: dict[str, Path | None] = {}
        for stem, paths in files_by_stem(self.folder).items():
            self._places.setdefault(stem, paths[0])
            for path in paths:
                self._places[path.relative_to(self.folder).as_posix()] = path
                for name in {path.name, path.stem}:
                    bare[name] = None if name in bare else path  # two have it
        for name, path in bare.items():
            self._places.setdefault(name, path)

    def find(self, name: str) -> Path:
        """The photo of a name: a path that ends below the folder, a file's name, or a stem.

        Raises:
            MissingFileError: There is none.
            FileError: There are two.
        """
        if not self._places:
            self._look()
        parts = [part for part in name.replace('\\', '/').split('/') if part]
        for first in range(len(parts)):
            place = '/'.join(parts[first:])
            for wanted in (place, str(Path(place).with_suffix(''))):
                found = self._places.get(wanted, name)
                if found is None:
                    raise FileError(f'several photos in {self.folder} have the name {wanted}.')
                if found is not name:
                    return found
        raise MissingFileError(
            f'{name} is not in {self.folder}.' if parts else 'the set does not name its photo.'
        )


class AnnotationSet(ABC):
    """A set of annotations in one format: the adapter of the format.

    Args:
        path: The file or folder.
        images: The folder of its photos. None: where the format has them.

    Attributes:
        name: Of the format.
        exclusive: Whether a pixel belongs to one object alone.
        complete: Whether, besides, there is no ground: what no object takes stays as it was.
        endings: Those that the file of a result may have. Empty: any.
    """

    name = ''
    exclusive = False
    complete = False
    endings: tuple[str, ...] = ()

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self.path = path
        images = images or self.default_images()
        if images is None:
            raise InvalidValueError(
                f'images: a set in {self.name} does not say where its photos are; name their '
                'folder.'
            )
        self.images = PhotoFolder(images)

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file or folder is of this format, by its content."""

    def default_images(self) -> Path | None:
        """The folder of the photos where none is named."""
        return None

    def parts(self) -> list[Path]:
        """The files, or the folder, that the set is made of."""
        return [self.path]

    @abstractmethod
    def photos(self) -> Iterable[Photo]:
        """The photos that have objects, in the order of the set."""

    def photo_path(self, photo: Photo) -> Path:
        """Where a photo is.

        Raises:
            MissingFileError: It is not there.
            FileError: Several have its name.
        """
        return self.images.find(photo.file)

    def image(self, photo: Photo) -> np.ndarray:
        """A photo, RGB uint8 ``(H, W, 3)``."""
        return read_image(self.photo_path(photo))

    @abstractmethod
    def decode(self, geometry: Any, size: tuple[int, int]) -> ObjectMask:
        """The pixels that a reader of the format takes for those of an object.

        Args:
            geometry: That of an entry, or what :meth:`encode` gave.
            size: (H, W) of the photo.

        Raises:
            InvalidValueError: It is broken.
        """

    @abstractmethod
    def encode(
        self, entry: Entry, mask: ObjectMask, size: tuple[int, int], tolerance: float
    ) -> tuple[Any, float]:
        """The geometry that a reader of the format turns into a mask.

        Args:
            entry: The object. The new geometry is of the kind that it has, where that can hold
                the mask.
            mask: Its new pixels, not empty.
            size: (H, W) of the photo.
            tolerance: How far simplified outlines may lie off, in pixels.

        Returns:
            Values that JSON can hold, and the IoU of what the reader makes of them with ``mask``.
        """

    @abstractmethod
    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> float | None:
        """Write the set with the geometry of some objects replaced, all else untouched.

        Args:
            out: A file for a file, a folder for a folder.
            changes: Key of an entry -> what :meth:`encode` gave.
            tolerance: See :meth:`encode`. Read where outlines are drawn all at once.

        Returns:
            Where they are, the share of pixels that simplified outlines put in another class.
        """

    def free(self, photo: Photo, size: tuple[int, int]) -> np.ndarray:
        """Of an exclusive set, the pixels ``(H, W)`` that any object may take, bool."""
        return np.ones(size, bool)


class FolderSet(AnnotationSet):
    """A set of which every photo has a file of annotations in a folder.

    A result is a folder of the same files. Those without changes are copied byte for byte.
    """

    @abstractmethod
    def files(self) -> list[Path]:
        """The files of annotations."""

    @abstractmethod
    def rewritten(self, path: Path, changes: Mapping[str, Any]) -> bytes:
        """A file's content with the geometry of some objects replaced.

        Args:
            path: One of :meth:`files`.
            changes: Those of its objects alone.
        """

    def root(self) -> Path:
        """The folder that keys and results are relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    def is_one_file(self) -> bool:
        """Whether the set is a single file of annotations, and its result, too."""
        return False

    def parts(self) -> list[Path]:
        """See :meth:`AnnotationSet.parts`."""
        return [self.path if self.is_one_file() else self.root()]

    def key(self, path: Path) -> str:
        """What names a file in the set."""
        return path.relative_to(self.root()).as_posix()

    def others(self) -> list[Path]:
        """Files that are copied beside those of annotations, such as names of classes."""
        return []

    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> None:
        """See :meth:`AnnotationSet.write`."""
        changed = by_file(changes)
        for path in [*self.files(), *self.others()]:
            target = out / path.relative_to(self.root())
            own = changed.get(self.key(path))
            if own:
                write_bytes(target, self.rewritten(path, own))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(target, path.read_bytes())
        if not self.files():
            out.mkdir(parents=True, exist_ok=True)


def by_file(changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The changes of every file, of keys such as ``a.txt:3``.

    Example:
        >>> by_file({'a.txt:3': 'x', 'b.txt:1': 'y'})
        {'a.txt': {'a.txt:3': 'x'}, 'b.txt': {'b.txt:1': 'y'}}
    """
    found: dict[str, dict] = {}
    for key, geometry in changes.items():
        found.setdefault(key.rpartition(':')[0], {})[key] = geometry
    return found


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    with atomic_open(path) as file:
        file.write(content)


def read_text(path: Path, errors: str = 'strict') -> tuple[str, bytes]:
    """A file's text with its line ends as they are, and its byte order mark.

    Args:
        path: The file.
        errors: What becomes of bytes that are no UTF-8, see :meth:`bytes.decode`.

    Raises:
        FileError: It is no UTF-8.
    """
    content = path.read_bytes()
    mark = b'\xef\xbb\xbf' if content.startswith(b'\xef\xbb\xbf') else b''
    try:
        return content[len(mark) :].decode('utf-8', errors), mark
    except UnicodeDecodeError as error:
        raise FileError(f'{path} is no UTF-8 text: {error}.') from error
