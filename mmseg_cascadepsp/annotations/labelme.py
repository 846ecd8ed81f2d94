"""LabelMe: a JSON file for every photo, with polygons or masks among its shapes."""

import base64
import binascii
import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError
from mmseg_cascadepsp.files.opening import open_header
from mmseg_cascadepsp.files.paths import files_below

from .base import Entry, FolderSet, Photo, PhotoFolder, read_text, write_bytes
from .json_text import Cursor, Span, replaced
from .masks import ObjectMask, best_rings, cut_out, draw


class LabelMeSet(FolderSet):
    """A folder of LabelMe files, or one. See :class:`AnnotationSet`.

    Shapes ``polygon`` (also those of files that do not say what their shapes are) and ``mask``
    are refined, each on its own, also where several are a group. A polygon is one ring: parts and
    holes are joined to it by bridges. Other shapes stay.
    """

    name = 'LabelMe'

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self._given = images is not None
        self._folders: dict[Path, PhotoFolder] = {}
        super().__init__(path, images)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        files = [path] if path.is_file() else files_below(path)
        files = [file for file in files if file.suffix.lower() == '.json'][:50]
        return any(cls._has_shapes(file) for file in files)

    @staticmethod
    def _has_shapes(path: Path) -> bool:
        try:
            text, _ = read_text(path)
            cursor = Cursor(text, len(text) - len(text.lstrip()))
            if cursor.kind() != '{':
                return False
            return any(key == 'shapes' and value.kind() == '[' for key, value in cursor.members())
        except (FileError, ValueError):
            return False

    def default_images(self) -> Path | None:
        """See :meth:`AnnotationSet.default_images`."""
        return self.root()

    @cached_property
    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        # Also those that are broken: they are named, and copied.
        return [path for path in files_below(self.path) if path.suffix.lower() == '.json']

    def is_one_file(self) -> bool:
        """See :meth:`FolderSet.is_one_file`."""
        return self.path.is_file()

    def files(self) -> list[Path]:
        """See :meth:`FolderSet.files`."""
        return self._files

    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> None:
        """See :meth:`AnnotationSet.write`."""
        if self.path.is_file():
            content = self.rewritten(self.path, changes) if changes else self.path.read_bytes()
            write_bytes(out, content)
        else:
            super().write(out, changes)

    def photos(self) -> list[Photo]:
        """See :meth:`AnnotationSet.photos`."""
        found = []
        for path in self.files():
            key = self.key(path)
            photo = Photo(key, '')
            try:
                top, shapes = self._parsed(path)
            except (FileError, ValueError) as error:
                photo.faults[key] = f'cannot be read: {error}'
                found.append(photo)
                continue
            if shapes is None:
                continue
            text = read_text(path)[0]
            values = {
                name: top[name].value(text)
                for name in ('imagePath', 'imageHeight', 'imageWidth')
                if name in top
            }
            photo.file = str(values.get('imagePath') or Path(key).stem)
            height, width = values.get('imageHeight'), values.get('imageWidth')
            if isinstance(height, int) and isinstance(width, int):
                photo.size = height, width
            for index, spans in enumerate(shapes):
                own = f'{key}:{index}'
                kind = spans['shape_type'].value(text) if 'shape_type' in spans else 'polygon'
                label = str(spans['label'].value(text)) if 'label' in spans else ''
                geometry = {'type': kind}
                for name in ('points', 'mask'):
                    if name in spans:
                        geometry[name] = spans[name].value(text)
                kept = '' if kind in ('polygon', 'mask', None) else f'a {kind}'
                photo.entries.append(Entry(own, label, geometry, kept))
            if photo.entries:
                found.append(photo)
        return found

    def _parsed(self, path: Path) -> tuple[dict[str, Span], list[dict[str, Span]] | None]:
        """Where the members of the file lie, and those of its shapes."""
        text, _ = read_text(path)
        top, shapes = {}, None
        for key, value in Cursor(text, len(text) - len(text.lstrip())).members():
            if key == 'shapes':
                shapes = [
                    # One that is no object has no points, and is named for that.
                    {name: part.span() for name, part in item.members()}
                    if item.kind() == '{'
                    else {}
                    for item in value.elements()
                ]
            top[key] = value.span()
        return top, shapes

    def photo_path(self, photo: Photo) -> Path:
        """See :meth:`AnnotationSet.photo_path`."""
        if self._given:
            return super().photo_path(photo)
        folder, name = (self.root() / photo.key).parent, photo.file.replace('\\', '/')
        if (folder / name).is_file():
            return folder / name
        if folder not in self._folders:
            self._folders[folder] = PhotoFolder(folder)
        return self._folders[folder].find(name)

    def image(self, photo: Photo) -> np.ndarray:
        """See :meth:`AnnotationSet.image`."""
        path = self.root() / photo.key
        try:
            return super().image(photo)
        except MissingFileError:
            text, _ = read_text(path)
            data = self._parsed(path)[0].get('imageData')
            content = data and data.value(text)
            if not content:
                raise
            try:
                picture = open_header(io.BytesIO(base64.b64decode(content)))
                return np.array(picture.convert('RGB'))
            except (OSError, ValueError) as error:
                raise FileError(f'imageData of {photo.key} is no photo: {error}.') from error

    def decode(self, geometry: Any, size: tuple[int, int]) -> ObjectMask:
        """See :meth:`AnnotationSet.decode`."""
        try:
            points = np.asarray(geometry['points'], float).reshape(-1, 2)
            if geometry['type'] == 'mask':
                left, top = np.round(points[0]).astype(int).tolist()
                picture = open_header(io.BytesIO(base64.b64decode(geometry['mask'])))
                mask = cut_out(np.array(picture) > 0, top, left)
                return cut_out(mask.whole(size))
        except (KeyError, IndexError, TypeError, ValueError, OSError, binascii.Error) as error:
            raise InvalidValueError(f'its points or mask are broken: {error!r}.') from error
        return cut_out(draw([points], size, 'pillow'))

    def encode(
        self, entry: Entry, mask: ObjectMask, size: tuple[int, int], tolerance: float
    ) -> tuple[Any, float]:
        """See :meth:`AnnotationSet.encode`."""
        if entry.geometry['type'] == 'mask':
            box, file = mask.box, io.BytesIO()
            Image.fromarray(mask.mask.astype(np.uint8) * 255).convert('1').save(file, 'PNG')
            corners = [[box.left, box.top], [box.right - 1, box.bottom - 1]]
            text = base64.b64encode(file.getvalue()).decode('ascii')
            return {'type': 'mask', 'points': corners, 'mask': text}, 1.0
        [ring], cost = best_rings(mask, size, 'pillow', tolerance, single=True)
        whole = [[int(x), int(y)] for x, y in ring.tolist()]
        return {'type': entry.geometry['type'], 'points': whole}, cost

    def rewritten(self, path: Path, changes: Mapping[str, Any]) -> bytes:
        """See :meth:`FolderSet.rewritten`."""
        text, mark = read_text(path)
        _, shapes = self._parsed(path)
        places = {}
        for key, geometry in changes.items():
            spans = shapes[int(key.rpartition(':')[2])]
            for name in ('points', 'mask'):
                if name in spans and name in geometry:
                    places[spans[name]] = geometry[name]
        return mark + replaced(text, places).encode('utf-8')
