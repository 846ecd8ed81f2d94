"""How good a set is, before and after, against a set of true outlines."""

from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError

from .base import AnnotationSet, Photo
from .masks import ObjectMask, coco_masks, cut_out, encode_rle

#: A true object whose best IoU with an object before is lower has no partner.
MIN_IOU = 0.1


def _decoded(source: AnnotationSet, photo: Photo, size, changes: Mapping[str, Any] | None):
    """Class and mask of every object that can be read; with ``changes``, after them."""
    for entry in photo.entries:
        geometry = entry.geometry
        if changes is not None and entry.key in changes:
            geometry = changes[entry.key]
        if entry.kept == 'crowd':
            continue
        try:
            mask = source.decode(geometry, size)
        except (ValueError, OSError, TypeError):
            continue
        if mask.mask.any():
            yield entry.label, mask


def _boundary(mask: ObjectMask, size: tuple[int, int]) -> dict:
    from mmseg_cascadepsp.evaluation import inner_boundary

    return encode_rle(cut_out(inner_boundary(mask.whole(size))), size)


class _Evaluated:
    """Objects as pycocotools' evaluation takes them, of truth, before and after."""

    def __init__(self) -> None:
        self.photos: list[dict] = []
        self.objects: dict[str, list[dict]] = {'truth': [], 'before': [], 'after': []}
        self.classes: dict[str, int] = {}

    def add(self, name: str, photo: int, label: str, mask: ObjectMask, size) -> None:
        """See :meth:`AnnotationSet.add`."""
        objects = self.objects[name]
        objects.append(
            {
                'id': len(objects) + 1,
                'image_id': photo,
                'category_id': self.classes.setdefault(label, len(self.classes) + 1),
                'segmentation': encode_rle(mask, size),
                'boundary': _boundary(mask, size),
                'area': int(np.count_nonzero(mask.mask)),
                'iscrowd': 0,
                'score': 1.0,
            }
        )

    def average_precision(self, name: str, boundary: bool) -> float:
        """AP of the objects before or after, by pycocotools."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        class Evaluation(COCOeval):
            def computeIoU(self, image, category):
                """See :meth:`AnnotationSet.computeIoU`."""
                found = super().computeIoU(image, category)
                if not boundary or not len(found):
                    return found
                # Ordered and cut as pycocotools does. All scores are equal.
                true, own = self._gts[image, category], self._dts[image, category]
                own = own[: self.params.maxDets[-1]]
                rles = [[item['boundary'] for item in items] for items in (own, true)]
                return np.minimum(found, coco_masks.iou(*rles, [0] * len(true)))

        def of(objects):
            coco = COCO()
            coco.dataset = {
                'images': self.photos,
                'annotations': objects,
                'categories': [{'id': number} for number in self.classes.values()],
            }
            coco.createIndex()
            return coco

        with redirect_stdout(StringIO()):
            evaluation = Evaluation(of(self.objects['truth']), of(self.objects[name]), 'segm')
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return float(evaluation.stats[0])


def check_truth(photos: Iterable[Photo], truth: AnnotationSet) -> None:
    """Check before the work that there is something to compare.

    Raises:
        InvalidValueError: A true set has none of the photos.
    """
    true = {_stem(photo) for photo in truth.photos()}
    if not any(_stem(photo) in true for photo in photos):
        raise InvalidValueError(
            f'truth: {truth.path} has none of the photos; they are found by their names.'
        )


def scores(
    source: AnnotationSet, truth: AnnotationSet, changes: Mapping[str, Any]
) -> dict[str, tuple[float, float]]:
    """Scores of a set before and after, against a true set of the same photos.

    A true object's partner is the object of its class with the best IoU before. IoU, mBA and
    Boundary IoU are means over the true objects that have one. AP and boundary AP (its IoU is
    the smaller one of mask and boundary) are pycocotools', over IoUs from .5 to .95, all objects
    being equally sure.

    Args:
        source: The set.
        truth: The true set, in any format. Photos have the same file names.
        changes: Key of an object -> its new geometry.

    Returns:
        Name -> (before, after), in percent. NaN where nothing can be compared.
    """
    # Only here: it imports MMSegmentation, which takes seconds.
    from mmseg_cascadepsp.evaluation import mask_scores_compute, mask_scores_update

    by_name = {_stem(photo): photo for photo in truth.photos()}
    evaluated, counts = _Evaluated(), {'before': [], 'after': []}
    for number, photo in enumerate(source.photos(), 1):
        true = by_name.get(_stem(photo))
        size = photo.size or (true and true.size)
        if true is None or not photo.entries:
            continue
        size = tuple(size) if size else source.image(photo).shape[:2]
        evaluated.photos.append({'id': number, 'height': size[0], 'width': size[1]})
        masks = {
            'truth': list(_decoded(truth, true, size, None)),
            'before': list(_decoded(source, photo, size, None)),
            'after': list(_decoded(source, photo, size, changes)),
        }
        for name, objects in masks.items():
            for label, mask in objects:
                evaluated.add(name, number, label, mask, size)
        for label, mask in masks['truth']:
            index = _partner(label, mask, masks['before'], size)
            if index is None:
                continue
            whole = mask.whole(size)
            for name in counts:
                counts[name].append(mask_scores_update(masks[name][index][1].whole(size), whole))
    result = {}
    computed = {name: mask_scores_compute(rows) for name, rows in counts.items()}
    for title, key in (
        ('IoU', 'IoU_per_image'),
        ('mBA', 'mBA'),
        ('Boundary IoU', 'BoundaryIoU_per_image'),
    ):
        result[title] = tuple(100 * computed[name][key] for name in ('before', 'after'))
    for title, boundary in (('AP', False), ('boundary AP', True)):
        result[title] = tuple(
            100 * evaluated.average_precision(name, boundary)
            if evaluated.objects['truth'] and evaluated.objects[name]
            else float('nan')
            for name in ('before', 'after')
        )
    return result


def _stem(photo: Photo) -> str:
    name = photo.file.replace('\\', '/').rpartition('/')[2]
    stem, dot, ending = name.rpartition('.')
    return stem if dot and len(ending) <= 4 else name


def _partner(label, mask: ObjectMask, objects, size) -> int | None:
    best, found = MIN_IOU, None
    for index, (other_label, other) in enumerate(objects):
        box = mask.box
        shared = np.count_nonzero(mask.mask & other.inside(box))
        if other_label != label or not shared:
            continue
        whole = np.count_nonzero(mask.mask) + np.count_nonzero(other.mask) - shared
        if shared / whole > best:
            best, found = shared / whole, index
    return found
