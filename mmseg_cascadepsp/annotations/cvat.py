"""CVAT for images 1.1: XML with polygons and masks of run lengths."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .base import AnnotationSet, Entry, Photo, write_bytes
from .masks import ObjectMask, best_rings, cut_out, draw, run_lengths

#: Elements that are refined, and the attributes that are their geometry.
GEOMETRY = {'polygon': ('points',), 'mask': ('rle', 'left', 'top', 'width', 'height')}


class CvatSet(AnnotationSet):
    """An XML file of CVAT. See :class:`AnnotationSet`.

    CVAT turns polygons into masks with pycocotools. A polygon is one ring: parts and holes are
    joined to it by bridges, which have no pixels there. Boxes, points, tags and tracks stay.
    """

    name = 'CVAT for images'

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self._content = path.read_bytes()
        if b'<image' not in self._content:
            raise InvalidValueError(
                f'{path} has tracks of a video and no images; export it as "CVAT for images 1.1".'
            )
        super().__init__(path, images)
        #: Key of an entry -> where its start tag begins.
        self._tags: dict[str, int] = {}

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """See :meth:`AnnotationSet.recognises`."""
        if not path.is_file() or path.suffix.lower() != '.xml':
            return False
        with open(path, 'rb') as file:
            return bool(re.search(rb'<annotations[\s>]', file.read(100_000)))

    def photos(self) -> list[Photo]:
        """See :meth:`AnnotationSet.photos`."""
        found: list[Photo] = []
        inside: list[str] = []
        keys: set[str] = set()
        parser = expat.ParserCreate()

        def start(name: str, attributes: dict) -> None:
            inside.append(name)
            if name == 'image' and inside[:-1] == ['annotations']:
                number = attributes.get('id', f'#{len(found)}')
                photo = Photo(f'image {number}', attributes.get('name', ''))
                if photo.key in keys:
                    photo.key = f'image {number} (#{len(found)})'
                keys.add(photo.key)
                try:
                    photo.size = int(attributes['height']), int(attributes['width'])
                except (KeyError, ValueError):
                    pass
                found.append(photo)
            elif name in GEOMETRY and inside[:-1] == ['annotations', 'image']:
                photo = found[-1]
                key = f'{photo.key}:{len(photo.entries)}'
                self._tags[key] = parser.CurrentByteIndex
                geometry = {part: attributes.get(part, '') for part in GEOMETRY[name]}
                photo.entries.append(Entry(key, attributes.get('label', ''), geometry))

        parser.StartElementHandler = start
        parser.EndElementHandler = lambda name: inside.pop()
        try:
            parser.Parse(self._content, True)
        except expat.ExpatError as error:
            raise FileError(f'{self.path} is no XML: {error}.') from error
        return [photo for photo in found if photo.entries]

    def decode(self, geometry: Any, size: tuple[int, int]) -> ObjectMask:
        """See :meth:`AnnotationSet.decode`."""
        try:
            if 'points' in geometry:
                pairs = [pair.split(',') for pair in geometry['points'].split(';')]
                if any(len(pair) != 2 for pair in pairs):
                    raise ValueError('its points are not of the form x,y;x,y')
                ring = np.array(pairs, float)
            else:
                left, top, width, height = (
                    int(float(geometry[name])) for name in GEOMETRY['mask'][1:]
                )
                counts = [int(word) for word in geometry['rle'].split(',')]
                if min(counts) < 0 or sum(counts) != width * height:
                    raise ValueError(
                        f'run lengths of {sum(counts)} pixels, {width} x {height} expected'
                    )
                values = np.repeat(np.arange(len(counts)) % 2, counts).reshape(height, width)
                return cut_out(cut_out(values, top, left).whole(size))
        except (KeyError, ValueError) as error:
            raise InvalidValueError(f'its outline is broken: {error}.') from error
        return cut_out(draw([ring], size, 'pycocotools'))

    def encode(
        self, entry: Entry, mask: ObjectMask, size: tuple[int, int], tolerance: float
    ) -> tuple[Any, float]:
        """See :meth:`AnnotationSet.encode`."""
        if 'points' not in entry.geometry:
            box = mask.box
            return {
                'rle': ', '.join(map(str, run_lengths(mask.mask.ravel()))),
                'left': str(box.left),
                'top': str(box.top),
                'width': str(box.right - box.left),
                'height': str(box.bottom - box.top),
            }, 1.0
        [ring], cost = best_rings(mask, size, 'pycocotools', tolerance, single=True)
        return {'points': ';'.join(f'{x:.2f},{y:.2f}' for x, y in ring.tolist())}, cost

    def write(self, out: Path, changes: Mapping[str, Any], tolerance: float = 0) -> None:
        """See :meth:`AnnotationSet.write`."""
        if not self._tags:
            self.photos()
        pieces, done = [], 0
        for key in sorted(changes, key=self._tags.get):
            start = self._tags[key]
            # A '>' may stand in the value of an attribute.
            tag = re.compile(rb'<(?:"[^"]*"|\'[^\']*\'|[^>"\'])*>').match(self._content, start)
            text = tag.group()
            for name, value in changes[key].items():
                pattern = rb'(\s%s\s*=\s*)("[^"]*"|\'[^\']*\')' % name.encode()
                quoted = b'"' + value.encode() + b'"'
                text = re.sub(pattern, lambda found, new=quoted: found[1] + new, text, count=1)
            pieces += [self._content[done:start], text]
            done = tag.end()
        write_bytes(out, b''.join([*pieces, self._content[done:]]))
