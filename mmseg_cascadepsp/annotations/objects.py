"""The objects of one photo: refined in their regions, judged, and settled among each other."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from mmseg_cascadepsp.cascade import Box, Component, FusionSettings, OnePhoto, refine_regions
from mmseg_cascadepsp.cascade.changes import (
    Change,
    change_of,
    lost_object,
    sureness_of,
    without_specks,
)
from mmseg_cascadepsp.cascade.edges import ACCURATE, accurate_parts
from mmseg_cascadepsp.cascade.regions import (
    MIN_SIDE,
    SHARE_OF_MANY,
    are_small,
    object_regions,
)
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files.refiner_protocol import MaskRefiner

from .base import AnnotationSet, Entry, Photo
from .masks import ObjectMask, cut_out, encode_rle, union
from .options import AnnotationOptions
from .overlaps import give_way, settle_overlaps
from .results import ObjectResult

#: Of :class:`AnnotationOptions`, where it is not given.
MIN_GAIN = 0.02


def _components(mask: ObjectMask, size: tuple[int, int], settings) -> tuple[list[Component], bool]:
    """What is looked at: parts of an object, and whether they are regions around it."""
    whole = mask.whole(size)
    boxes = [] if settings.region == 'photo' else object_regions(whole)
    regions = bool(boxes) and (
        settings.region == 'object' or are_small(boxes, size, settings.L, SHARE_OF_MANY)
    )
    if not regions:
        boxes = [Box(0, 0, *size)]
    area = int(np.count_nonzero(mask.mask))
    return [Component(0, area, box, whole[box.slices]) for box in boxes], regions


def probabilities(
    refiner: MaskRefiner, image: np.ndarray, masks: list[ObjectMask]
) -> Iterator[tuple[int, list[tuple[Box, np.ndarray]]]]:
    """Refine the objects of a photo, each in its own region or regions, in batches.

    The regions are those of :func:`mmseg_cascadepsp.cascade.refine`, by the setting ``region``,
    which ``'auto'`` takes for objects of up to ``SHARE_OF_MANY`` of the photo. Objects that are
    looked at in the whole photo share what depends on it alone.

    Args:
        refiner: Does the work.
        image: RGB uint8 ``(H, W, 3)``.
        masks: The objects, not empty.

    Yields:
        (index into ``masks``, its regions and in each the probability, float32), not in order.
    """
    size, settings = image.shape[:2], refiner.cascade
    groups: dict[bool, list[tuple[int, Component]]] = {True: [], False: []}
    waiting: dict[int, int] = {}
    for index, mask in enumerate(masks):
        parts, small = _components(mask, size, settings)
        waiting[index] = len(parts)
        groups[small] += [(index, part) for part in parts]
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    found: dict[int, list] = {}
    for small, members in groups.items():
        smallest = MIN_SIDE if small else settings.L if settings.enlarge else 1
        fusion = FusionSettings(min_size=smallest)
        parts = [part for _, part in members]
        network = refiner.network if small else OnePhoto(refiner.network)
        for place, probability in refine_regions(network, tensor, parts, settings, fusion):
            index, part = members[place]
            found.setdefault(index, []).append((part.box, probability))
            if len(found[index]) == waiting[index]:
                yield index, found.pop(index)


def _around(regions: list[tuple[Box, np.ndarray]]) -> tuple[Box, np.ndarray]:
    """The regions of an object as one: between them the probability is 0."""
    box = regions[0][0]
    for other, _ in regions[1:]:
        box = union(box, other)
    result = np.zeros((box.bottom - box.top, box.right - box.left), np.float32)
    for part, probability in regions:
        result[part.relative_to(box).slices] = probability
    return box, result


def refine_photo(
    refiner: MaskRefiner | None,
    annotations: AnnotationSet,
    photo: Photo,
    image: np.ndarray,
    options: AnnotationOptions,
) -> list[ObjectResult]:
    """Refine the objects of a photo.

    Args:
        refiner: Does the work. None is enough for a dry run.
        annotations: The set.
        photo: One of its photos.
        image: RGB uint8 ``(H, W, 3)``.
        options: How.

    Returns:
        What became of every object of the photo, in its order.

    Raises:
        InvalidValueError: The photo has another size than the set says.
    """
    size = image.shape[:2]
    if photo.size and tuple(photo.size) != size:
        raise InvalidValueError(
            f'{photo.file} is of {size[1]} x {size[0]} pixels, its annotations are of '
            f'{photo.size[1]} x {photo.size[0]}.'
        )
    results, entries, olds = [], [], []
    for entry in photo.entries:
        result = ObjectResult(photo.key, entry.key, entry.label, 'kept', entry.kept)
        results.append(result)
        if entry.kept:
            continue
        try:
            mask = annotations.decode(entry.geometry, size)
        except (ValueError, OSError, TypeError) as error:
            result.status, result.reason = 'failed', str(error)
            continue
        box, area = mask.box, np.count_nonzero(mask.mask)
        if not area:
            result.reason = 'empty: no pixel is inside its outline'
        elif area == size[0] * size[1]:
            result.reason = 'it fills the photo'
        elif max(box.bottom - box.top, box.right - box.left) < options.min_side:
            result.reason = f'smaller than {options.min_side} pixels'
        elif not options.dry_run:
            result.status = 'refined'
        else:
            result.reason = 'dry run'
        entries.append((entry, result))
        olds.append(mask)
    for key, sentence in photo.faults.items():
        results.append(ObjectResult(photo.key, key, '', 'failed', sentence))
    if options.dry_run:
        return results
    _refine_masks(refiner, annotations, photo, options, image, entries, olds)
    return results


def _refine_masks(
    refiner: MaskRefiner,
    annotations: AnnotationSet,
    photo: Photo,
    options: AnnotationOptions,
    image: np.ndarray,
    entries: list[tuple[Entry, ObjectResult]],
    olds: list[ObjectMask],
) -> None:
    """The new masks of a photo, settled among each other and written into the results."""
    size = image.shape[:2]
    if options.min_gain is None:
        options = replace(options, min_gain=0 if annotations.complete else MIN_GAIN)
    chosen = [i for i, (_, result) in enumerate(entries) if result.status == 'refined']
    news = list(olds)
    likely: list[np.ndarray] = [mask.mask.astype(np.float32) for mask in olds]
    for place, regions in probabilities(refiner, image, [olds[i] for i in chosen]):
        index = chosen[place]
        box, probability = _around(regions)
        before = olds[index].inside(box)
        mask, accurate = probability > 0.5, False
        if refiner.cascade.tidy:
            mask = without_specks(before, mask)
        if refiner.cascade.keep_accurate:
            stays = accurate_parts(image[box.slices], before, mask)
            accurate = bool(stays.all())
            if not accurate:
                mask = np.where(stays, before, mask)
        _judge(entries[index][1], olds[index], mask, box, probability, options, size, accurate)
        if entries[index][1].status == 'refined':
            news[index] = cut_out(mask, box.top, box.left)
            inner = news[index].box.relative_to(box).slices
            likely[index] = np.maximum(probability[inner], 0.5).astype(np.float16)
    refined = [result.status == 'refined' for _, result in entries]
    if annotations.exclusive:
        free = np.zeros(size, bool) if annotations.complete else annotations.free(photo, size)
        news = give_way(olds, news, likely, refined, free, annotations.complete)
    elif options.overlap == 'resolve':
        live = [index for index, is_refined in enumerate(refined) if is_refined]
        pick = [[part[index] for index in live] for part in (olds, news, likely)]
        for index, mask in zip(live, settle_overlaps(*pick), strict=True):
            news[index] = cut_out(mask.mask, mask.box.top, mask.box.left)
    for (entry, result), old, new in zip(entries, olds, news, strict=True):
        if result.status != 'refined':
            continue
        change = _change(old, new, result.sureness)
        result.iou, result.shift, result.parts, _ = change
        if change.iou == 1:
            result.status, result.reason = 'kept', 'nothing to change'
            continue
        result.geometry, result.outline_iou = annotations.encode(
            entry, new, size, options.simplify
        )


def _change(old: ObjectMask, new: ObjectMask, sureness: float) -> Change:
    box = union(old.box, new.box)
    return change_of(old.inside(box), new.inside(box), sureness)


def _judge(
    result: ObjectResult,
    old: ObjectMask,
    mask: np.ndarray,
    box: Box,
    probability: np.ndarray,
    options: AnnotationOptions,
    size: tuple[int, int],
    accurate: bool,
) -> None:
    """Whether a new mask is taken, written into the result."""
    before = old.inside(box)
    sure = sureness_of(before, mask, probability)
    result.sureness = round(sure, 4)
    lost = lost_object(np.count_nonzero(before), np.count_nonzero(mask))
    if not mask.any():
        result.status, result.reason, result.iou = 'kept', lost, 0.0
        return
    new = cut_out(mask, box.top, box.left)
    change = _change(old, new, result.sureness)
    if lost:
        result.reason = lost
    elif 1 - change.iou > options.max_change:
        result.reason = 'it would change too much'
    elif sure < options.min_sureness:
        result.reason = 'the refiner is unsure'
    elif sure * (1 - change.iou) < options.min_gain and (mask != before).any():
        result.reason = 'the refiner expects hardly any gain'
    elif accurate:
        result.reason = ACCURATE
    else:
        return
    result.status = 'kept'
    result.iou, result.shift, result.parts, _ = change
    result.proposal = encode_rle(new, size)
