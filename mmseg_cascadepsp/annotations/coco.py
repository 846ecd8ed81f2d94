"""COCO JSON: polygons, and run lengths, compressed or not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .base import AnnotationSet, Entry, Photo, read_text, write_bytes
from .json_text import Cursor, Span, naming, replaced
from .masks import (
    ObjectMask,
    best_rings,
    cut_out,
    decode_rle,
    draw,
    encode_rle,
    has_holes,
    run_lengths,
)

#: What else is derived from the outline.
DERIVED = ('area', 'bbox')


class CocoSet(AnnotationSet):
    """A COCO file. See :class:`AnnotationSet`.

    Objects with a polygon keep polygons, those with run lengths keep run lengths of their kind.
    A polygon cannot have holes: an object that gets some becomes compressed run lengths, and its
    ``iscrowd`` stays. ``area`` and ``bbox`` follow where they are. Crowds stay as they are.
    """

    name = 'COCO'

    def __init__(self, path: Path, images: Path | None = None) -> None:
        super().__init__(path, images)
        self.text, self._mark = read_text(path)
        self._start = len(self.text) - len(self.text.lstrip())
        self._spans: dict[str, dict[str, Span]] = {}

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        if not path.is_file() or path.suffix.lower() != '.json':
            return False
        text, _ = read_text(path)
        cursor = Cursor(text, len(text) - len(text.lstrip()))
        if cursor.kind() != '{':
            return False
        left = {'images', 'annotations'}
        with naming(path):
            for key, value in cursor.members():
                if value.kind() == '[':
                    left.discard(key)
                if not left:
                    return True
        return False

    def photos(self) -> list[Photo]:
        """See :meth:`AnnotationSet.photos`."""
        self._spans = {}
        photos: dict[str, Photo] = {}
        classes: dict[str, str] = {}
        found: list[tuple[dict, dict[str, Span]]] = []
        lost = Photo('annotations of no image', '')
        with naming(self.path):
            for key, value in Cursor(self.text, self._start).members():
                if key == 'annotations':
                    found = [self._annotation(item) for item in value.elements()]
                elif key == 'images':
                    for index, image in enumerate(value.span().value(self.text)):
                        if not isinstance(image, dict):
                            lost.faults[f'image #{index}'] = f'it is no object, got {image!r}.'
                            continue
                        photo = self._photo(image, index)
                        if photo.key in photos:
                            sentence = 'its id is that of another image.'
                            lost.faults[f'image {photo.key}'] = sentence
                        photos.setdefault(photo.key, photo)
                elif key == 'categories' and value.kind() == '[':
                    for category in value.span().value(self.text):
                        if isinstance(category, dict):
                            name = str(category.get('name', ''))
                            classes[json.dumps(category.get('id'))] = name
        for index, (values, spans) in enumerate(found):
            key = str(values.get('id', f'#{index}'))
            if not spans and not values:
                lost.faults[key] = 'it has neither an image nor an outline.'
                continue
            if key in self._spans:
                key = f'{key} (#{index})'
            self._spans[key] = spans
            photo = photos.get(json.dumps(values.get('image_id')))
            if photo is None:
                lost.faults[key] = f'image_id {values.get("image_id")!r} is not among the images.'
                continue
            label = classes.get(json.dumps(values.get('category_id')), '')
            outline = spans.get('segmentation')
            entry = Entry(key, label, outline)
            if outline is None or self.text[slice(*outline)] in ('[]', '{}', 'null'):
                entry.kept = 'no outline'
            elif values.get('iscrowd'):
                entry.kept = 'crowd'
            photo.entries.append(entry)
        result = [photo for photo in photos.values() if photo.entries]
        return [*result, lost] if lost.faults else result

    def _annotation(self, item: Cursor) -> tuple[dict, dict[str, Span]]:
        """What an annotation says of itself, and where its geometry is."""
        values, spans = {}, {}
        if item.kind() != '{':
            return values, spans
        for name, part in item.members():
            if name in ('segmentation', *DERIVED):
                spans[name] = part.span()
            elif name in ('id', 'image_id', 'category_id', 'iscrowd'):
                values[name] = part.span().value(self.text)
        return values, spans

    @staticmethod
    def _photo(image: dict, index: int) -> Photo:
        size = image.get('height'), image.get('width')
        size = _whole(list(size)) if all(isinstance(v, (int, float)) for v in size) else None
        key = json.dumps(image.get('id', f'#{index}'))
        return Photo(key, str(image.get('file_name') or ''), size and tuple(size))

    def decode(self, geometry: Any, size: tuple[int, int]) -> ObjectMask:
        """See :meth:`AnnotationSet.decode`."""
        if isinstance(geometry, Span):
            geometry = geometry.value(self.text)
        if isinstance(geometry, dict) and 'segmentation' in geometry:
            geometry = geometry['segmentation']
        if isinstance(geometry, dict):
            if geometry.get('size') != list(size):
                raise InvalidValueError(
                    f'its run lengths are of size {geometry.get("size")}, the photo of '
                    f'{list(size)}.'
                )
            return decode_rle(geometry)
        if not isinstance(geometry, list) or not geometry:
            raise InvalidValueError('its segmentation is neither polygons nor run lengths.')
        rings = []
        for ring in geometry:
            try:
                rings.append(np.asarray(ring, float).reshape(-1, 2))
            except (TypeError, ValueError) as error:
                raise InvalidValueError(
                    'a polygon of its segmentation is no list of x, y, x, y ...'
                ) from error
        return cut_out(draw(rings, size, 'pycocotools'))

    def encode(
        self, entry: Entry, mask: ObjectMask, size: tuple[int, int], tolerance: float
    ) -> tuple[Any, float]:
        """See :meth:`AnnotationSet.encode`."""
        old = entry.geometry
        if isinstance(old, Span):
            old = old.value(self.text)
        box, cost = mask.box, 1.0
        if isinstance(old, list) and not has_holes(mask):
            rings, cost = best_rings(mask, size, 'pycocotools', tolerance, single=False)
            segmentation = [np.ravel(ring).tolist() for ring in rings]
            mask = cut_out(draw(rings, size, 'pycocotools'))
            low = np.min([ring.min(axis=0) for ring in rings], axis=0)
            high = np.max([ring.max(axis=0) for ring in rings], axis=0)
            bbox = [*low.tolist(), *(high - low).tolist()]
        else:
            segmentation = encode_rle(mask, size)
            if isinstance(old, dict) and isinstance(old.get('counts'), list):
                segmentation['counts'] = run_lengths(np.ravel(mask.whole(size), order='F'))
            bbox = [box.left, box.top, box.right - box.left, box.bottom - box.top]
        whole = [int(v) if float(v).is_integer() else v for v in bbox]
        return {
            'segmentation': segmentation,
            'area': int(np.count_nonzero(mask.mask)),
            'bbox': whole,
        }, cost

    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> None:
        """See :meth:`AnnotationSet.write`."""
        if not self._spans:
            self.photos()
        places = {}
        for key, geometry in changes.items():
            spans = self._spans[key]
            for name in ('segmentation', *DERIVED):
                if name in spans:
                    places[spans[name]] = _whole(geometry[name])
        try:
            content = replaced(self.text, places).encode('utf-8')
        except UnicodeEncodeError as error:
            raise FileError(f'{self.path} holds text that is no Unicode: {error}.') from error
        write_bytes(out, self._mark + content)


def _whole(value: Any) -> Any:
    """Numbers without fraction as integers: those of a place with fractions become floats."""
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
