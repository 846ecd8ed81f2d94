"""Annotation sets in, annotation sets out: COCO, YOLO, LabelMe, CVAT, PASCAL VOC, Cityscapes,
label maps and GeoTIFF, refined object by object, all else untouched.
"""

from .base import AnnotationSet, Entry, FolderSet, Photo
from .formats import FORMATS, open_annotations
from .masks import ObjectMask
from .options import AnnotationOptions
from .report import write_report
from .results import AnnotationReport, ObjectResult
from .run import AnnotationRun, refine_annotations, refined_photos
from .truth import scores

__all__ = [
    'FORMATS',
    'AnnotationOptions',
    'AnnotationReport',
    'AnnotationRun',
    'AnnotationSet',
    'Entry',
    'FolderSet',
    'ObjectMask',
    'ObjectResult',
    'Photo',
    'open_annotations',
    'refine_annotations',
    'refined_photos',
    'scores',
    'write_report',
]
