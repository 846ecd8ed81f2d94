"""The formats, and which of them a path is in."""

import os
from pathlib import Path

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

from .base import AnnotationSet
from .cityscapes import CityscapesSet
from .coco import CocoSet
from .cvat import CvatSet
from .geotiff import GeoTiffSet
from .labelme import LabelMeSet
from .maps import LabelMapSet
from .masks import require_packages
from .voc import VocSet
from .yolo import YoloSet

#: In the order in which they are asked: the one that is surest comes first.
FORMATS: tuple[type[AnnotationSet], ...] = (
    CocoSet,
    CvatSet,
    GeoTiffSet,
    VocSet,
    LabelMeSet,
    YoloSet,
    CityscapesSet,
    LabelMapSet,
)


def open_annotations(
    path: str | os.PathLike,
    images: str | os.PathLike | None = None,
    name: str = 'annotations',
) -> AnnotationSet:
    """Open a set of annotations, whatever its format.

    Args:
        path: A file of COCO, CVAT or LabelMe, the ``data.yaml`` of YOLO, a GeoTIFF of classes, or
            a folder of YOLO, LabelMe, PASCAL VOC, Cityscapes or label maps.
        images: The folder of its photos, or the photo of a GeoTIFF. None: where the format has
            them.
        name: Of the argument that named the path, for messages.

    Returns:
        The adapter of its format.

    Raises:
        MissingPackageError: pycocotools or shapely is not installed.
        MissingFileError: ``path`` does not exist.
        InvalidValueError: No format knows it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / 'set.json').write_text('{"images": [], "annotations": []}')
        >>> open_annotations(folder / 'set.json', folder).name
        'COCO'
    """
    require_packages()
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f'{name}: {path} does not exist.')
    for kind in FORMATS:
        if kind.recognises(path):
            return kind(path, None if images is None else Path(images))
    raise InvalidValueError(
        f'{name}: {path} is in none of the formats {", ".join(k.name for k in FORMATS)}; '
        'name a JSON, XML or TIFF file, data.yaml, or a folder of annotations.'
    )
