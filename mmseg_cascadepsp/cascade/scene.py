"""Refining label maps: divide, conquer, fuse (paper, section 4.3).

:func:`refine_scene` refines every component in its own region, :func:`refine_classes` every class
over the whole image. Images are RGB tensors as in :mod:`~mmseg_cascadepsp.cascade.steps`, label
maps numpy arrays.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.cascade.components import (
    COMPAT,
    MIN_AREA,
    PADDING,
    Component,
    check_labels,
    divide,
)
from mmseg_cascadepsp.cascade.fusion import (
    ATTENUATION,
    PRIOR_WEIGHT,
    THRESHOLD,
    Fusion,
    SceneResult,
)
from mmseg_cascadepsp.cascade.geometry import (
    Box,
    check_crop_size,
    pad,
    padded_size,
    resize_longer_side,
    resized_sides,
)
from mmseg_cascadepsp.cascade.local import Progress
from mmseg_cascadepsp.cascade.passes import STRIDES, Normalize, RefinePass, finished, run_cascade
from mmseg_cascadepsp.cascade.steps import refine
from mmseg_cascadepsp.errors import InvalidValueError

#: Smaller regions are enlarged to this longer side for the Global step.
MIN_SIZE = 224
#: Probability of the pixels of a component that is kept as it is.
KEPT = 0.75


def _check(image: Tensor, **ranges: tuple[float, float, float]) -> None:
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
        got = tuple(image.shape) if hasattr(image, 'shape') else type(image).__name__
        raise InvalidValueError(f'image must be a tensor (3, H, W), got {got}.')
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise InvalidValueError(f'{name} must be from {low} to {high}, got {value}.')


def _check_logits(
    logits: Any, labels: np.ndarray, ignore_index: int | None, background: int | None = None
) -> None:
    if logits is None:
        return
    classes = int(np.max(labels, initial=background or 0, where=labels != ignore_index)) + 1
    shape = tuple(getattr(logits, 'shape', ()))
    if len(shape) != 3 or shape[1:] != labels.shape or shape[0] < classes:
        raise InvalidValueError(
            f'logits must be (classes, {labels.shape[0]}, {labels.shape[1]}) with at '
            f'least {classes} classes, got {shape or type(logits).__name__}.'
        )


def _seen(height: int, width: int, min_size: int, L: int) -> tuple[int, int]:
    """Sides at which the network sees a region."""
    longer = min(max(height, width, min_size), L)
    if longer == max(height, width):
        return height, width
    return resized_sides(height, width, longer)


def _resize(tensor: Tensor, min_size: int, L: int, enlarge: str) -> Tensor:
    """(C, h, w) -> the sides of :func:`_seen`."""
    longer = max(tensor.shape[-2:])
    if longer > L:
        return resize_longer_side(tensor, L, 'area')
    return resize_longer_side(tensor, min_size, enlarge) if longer < min_size else tensor


def global_step_of_regions(
    refine_pass: RefinePass,
    image: Tensor,
    components: Sequence[Component],
    *,
    L: int = 900,
    min_size: int = MIN_SIZE,
    normalize: Normalize | None = None,
    strides: Sequence[int] = STRIDES,
    batch_size: int = 8,
    bucket: int = 8,
) -> Iterator[tuple[int, np.ndarray]]:
    """Conquer: Global step of every component, each in its own region.

    Regions whose padded sizes agree share a batch, of at most ``L * L`` pixels if there are
    several, so that memory depends on ``L`` alone.

    Args:
        refine_pass: see :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W), see :func:`refine_scene`.
        components: what :func:`~mmseg_cascadepsp.cascade.components.divide` found.
        L: longer regions are shrunk to it.
        min_size: smaller ones are enlarged to it.
        normalize: applied to every region after resizing.
        strides: output strides of the cascade.
        batch_size: most regions of a batch.
        bucket: sides are padded to multiples of this multiple of 8. Above 8 more regions share a
            batch, but the network sees more padding, which changes the result a little.

    Yields:
        (index into ``components``, (h, w) float32 probability), grouped by size, not in order.
    """
    min_size = min(min_size, L)
    groups: dict[tuple[int, int], list[int]] = {}
    for index, component in enumerate(components):
        seen = _seen(*component.mask.shape, min_size, L)
        groups.setdefault(padded_size(*seen, bucket), []).append(index)

    for size, members in groups.items():
        step = max(1, min(batch_size, L * L // (size[0] * size[1])))
        for first in range(0, len(members), step):
            batch = members[first : first + step]
            images, masks = [], []
            for index in batch:
                box, mask = components[index].box, torch.from_numpy(components[index].mask)
                part = _resize(image[(..., *box.slices)], min_size, L, 'bicubic')[None]
                part = part if normalize is None else normalize(part)
                mask = _resize(mask[None].float() * 2 - 1, min_size, L, 'bilinear')[None]
                images.append(pad(part, 0.0, bucket))
                masks.append(pad(mask.to(part.device), -1.0, bucket))
            output = (
                run_cascade(
                    refine_pass, torch.cat(images), torch.cat(masks), strides, final=strides[-1:]
                )[-1][strides[-1]]
                .float()
                .sigmoid()
            )
            for part, index, probability in zip(images, batch, output, strict=True):
                shape = components[index].mask.shape
                height, width = _seen(*shape, min_size, L)
                probability = probability[None, :, :height, :width]
                if max(shape) < min_size:
                    probability = F.interpolate(probability, size=shape, mode='area')
                    part = image[(..., *components[index].box.slices)][None]
                    probability = finished(refine_pass, part, probability, normalize)
                else:
                    part = part[..., :height, :width]
                    probability = finished(refine_pass, part, probability)
                if max(shape) > L:
                    probability = F.interpolate(
                        probability, size=shape, mode='bilinear', align_corners=False
                    )
                yield index, probability[0, 0].cpu().numpy()


@torch.no_grad()
def refine_scene(
    refine_pass: RefinePass,
    image: Tensor,
    labels: np.ndarray,
    *,
    stuff: Collection[int] = (),
    attenuation: float = ATTENUATION,
    threshold: float = THRESHOLD,
    protect: bool = True,
    logits: Tensor | np.ndarray | None = None,
    prior_weight: float = PRIOR_WEIGHT,
    keep: Collection[int] = (),
    min_area: int = MIN_AREA,
    max_components: int | None = None,
    padding: float = PADDING,
    fast: bool = True,
    L: int = 900,
    min_size: int = MIN_SIZE,
    batch_size: int = 8,
    bucket: int = 8,
    compat: str | None = None,
    normalize: Normalize | None = None,
    strides: Sequence[int] = STRIDES,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    progress: Progress | None = None,
) -> SceneResult:
    """Scene parsing: components of every class, refined each in its region, fused.

    Args:
        refine_pass: see :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W) RGB: uint8 with ``normalize``, or normalised float without.
        labels: (H, W) integer, 0-based ids.
        stuff: ids of classes whose probability is attenuated.
        attenuation, threshold, protect, logits, prior_weight: see
            :class:`~mmseg_cascadepsp.cascade.fusion.Fusion`.
        keep: ids of classes that are not refined, but give way to neighbours that are surer than
            ``KEPT``: what one sees through (foliage, fences) has no edge to follow.
        min_area: smaller classes and components are left as they are.
        max_components: the largest so many are refined; all by default.
        padding: growth of the regions, see :func:`~mmseg_cascadepsp.cascade.components.region`.
        fast: Global step alone. Otherwise regions of at least ``L`` get the Local step, too; with
            ``compat='release'`` all of them, and none is enlarged.
        L: longest side of a region that the network sees, at least 66.
        min_size: longer side to which smaller regions are enlarged.
        batch_size, bucket: see :func:`global_step_of_regions`.
        compat: ``'release'``: the authors' scripts to the pixel: their disc, regions, order, and
            probabilities in steps of 1/255; neither ``protect`` nor ``logits``.
        normalize: (B, 3, H, W) RGB 0..255 -> normalised float on the network's device.
        strides: output strides of the cascade.
        num_classes: ids in ``labels`` must be below it.
        ignore_index: void pixels: they stay and are no class. None: there are none.
        progress: called with (components done, components to do).

    Returns:
        :class:`~mmseg_cascadepsp.cascade.fusion.SceneResult`. Without a component large enough,
        ``labels`` as they were.

    Raises:
        ValueError: wrong shapes, ids or settings.
        TypeError: wrong dtypes.
    """
    _check(
        image,
        attenuation=(attenuation, 0, 1),
        threshold=(threshold, 0, 1),
        padding=(padding, 0, 100),
        min_area=(min_area, 0, float('inf')),
        min_size=(min_size, 1, float('inf')),
        batch_size=(batch_size, 1, float('inf')),
        prior_weight=(prior_weight, 0, float('inf')),
    )
    check_labels(labels, image.shape[-2:], num_classes, ignore_index)
    check_crop_size(L)
    if compat is not None and compat not in COMPAT:
        raise InvalidValueError(f'compat must be None or one of {COMPAT}, got {compat!r}.')
    logits = None if compat or not prior_weight else logits
    _check_logits(logits, labels, ignore_index)
    if bucket < 8 or bucket % 8:
        raise InvalidValueError(f'bucket must be a multiple of 8, got {bucket}.')
    if max_components is not None and max_components < 0:
        raise InvalidValueError(f'max_components must be 0 or more, got {max_components}.')

    components = divide(
        labels, ignore_index=ignore_index, min_area=min_area, padding=padding, compat=compat
    )
    kept = [component for component in components if component.label in keep]
    components = [component for component in components if component.label not in keep]
    found = len(components)
    if max_components is not None and found > max_components:
        largest = sorted(range(found), key=lambda index: -components[index].area)[:max_components]
        components = [components[index] for index in sorted(largest)]

    def needs_local(component: Component) -> bool:
        return not fast and (compat == 'release' or max(component.mask.shape) >= L)

    def conquer() -> Iterator[tuple[int, np.ndarray]]:
        common: dict[str, Any] = {'L': L, 'normalize': normalize, 'strides': strides}
        alone = [index for index, part in enumerate(components) if not needs_local(part)]
        for index, probability in global_step_of_regions(
            refine_pass,
            image,
            [components[index] for index in alone],
            min_size=min_size,
            batch_size=batch_size,
            bucket=bucket,
            **common,
        ):
            yield alone[index], probability
        for index in sorted(set(range(len(components))) - set(alone)):
            component = components[index]
            yield (
                index,
                refine(
                    refine_pass,
                    image[(..., *component.box.slices)],
                    torch.from_numpy(component.mask)[None],
                    enlarge=False,
                    crop_filter=compat or 'boundary',
                    **common,
                ).numpy(),
            )

    fusion = Fusion(
        labels,
        stuff=frozenset(stuff),
        attenuation=attenuation,
        threshold=threshold,
        ignore_index=ignore_index,
        protect=protect and compat is None,
        logits=logits,
        prior_weight=prior_weight,
    )
    for index, component in enumerate(kept, len(components)):
        fusion.add(
            index,
            component.label,
            component.box,
            component.mask,
            component.mask * np.float32(KEPT),
        )
    for done, (index, probability) in enumerate(conquer(), 1):
        if compat == 'release':
            probability = np.floor(probability * 255) / np.float32(255)
        component = components[index]
        fusion.add(index, component.label, component.box, component.mask, probability)
        if progress is not None:
            progress(done, len(components))
    return fusion.result(components, found)


@torch.no_grad()
def refine_classes(
    refine_pass: RefinePass,
    image: Tensor,
    labels: np.ndarray,
    *,
    background: int | None = None,
    stuff: Collection[int] = (),
    attenuation: float = ATTENUATION,
    threshold: float = THRESHOLD,
    protect: bool = True,
    logits: Tensor | np.ndarray | None = None,
    prior_weight: float = PRIOR_WEIGHT,
    min_area: int = 0,
    max_components: int | None = None,
    fast: bool = False,
    L: int = 900,
    crops: str = 'uniform',
    crop_filter: str = 'boundary',
    local: str = 'always',
    enlarge: bool = True,
    batch_size: int = 1,
    normalize: Normalize | None = None,
    strides: Sequence[int] = STRIDES,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    progress: Progress | None = None,
) -> SceneResult:
    """One mask per class, refined over the whole image with Global and Local step, then fused.

    Args:
        refine_pass, image, labels, normalize, strides, num_classes, ignore_index: as in
            :func:`refine_scene`.
        background: id of the class that has no mask of its own and takes the pixels that classes
            give up. None: every class has a mask, and a pixel that nobody claims stays.
        stuff, attenuation, threshold, protect, logits, prior_weight: see
            :class:`~mmseg_cascadepsp.cascade.fusion.Fusion`.
        min_area: classes of at most so many pixels are left as they are.
        max_components: the largest so many classes are refined; all by default.
        fast, L, crops, crop_filter, local, enlarge, batch_size: see
            :func:`~mmseg_cascadepsp.cascade.steps.refine`.
        progress: called with (classes done, classes to do).

    Returns:
        :class:`~mmseg_cascadepsp.cascade.fusion.SceneResult`; a component is a class, its box the
        whole image. A single class that fills the image comes back as it is.

    Raises:
        ValueError: wrong shapes, ids or settings.
        TypeError: wrong dtypes.
    """
    _check(
        image,
        attenuation=(attenuation, 0, 1),
        threshold=(threshold, 0, 1),
        min_area=(min_area, 0, float('inf')),
        prior_weight=(prior_weight, 0, float('inf')),
    )
    check_labels(labels, image.shape[-2:], num_classes, ignore_index)
    if background is not None and not 0 <= background <= np.iinfo(labels.dtype).max:
        raise InvalidValueError(
            f'background must be an id that labels of {labels.dtype} can hold, got {background}.'
        )
    logits = logits if prior_weight else None
    _check_logits(logits, labels, ignore_index, background)
    if max_components is not None and max_components < 0:
        raise InvalidValueError(f'max_components must be 0 or more, got {max_components}.')
    whole = Box(0, 0, *labels.shape)
    components = []
    for label in np.unique(labels):
        mask = labels == label
        area = int(mask.sum())
        # A class that fills the image has no boundary to refine.
        if label not in (ignore_index, background) and min_area < area < labels.size:
            components.append(Component(int(label), area, whole, mask))
    found = len(components)
    components = sorted(components, key=lambda part: -part.area)[:max_components]
    fusion = Fusion(
        labels,
        stuff=frozenset(stuff),
        attenuation=attenuation,
        threshold=threshold,
        ignore_index=ignore_index,
        background=background,
        protect=protect,
        logits=logits,
        prior_weight=prior_weight,
    )
    for index, component in enumerate(components):
        probability = refine(
            refine_pass,
            image,
            torch.from_numpy(component.mask)[None],
            fast=fast,
            L=L,
            crops=crops,
            crop_filter=crop_filter,
            local=local,
            enlarge=enlarge,
            batch_size=batch_size,
            normalize=normalize,
            strides=strides,
        )
        fusion.add(index, component.label, whole, component.mask, probability.numpy())
        if progress is not None:
            progress(index + 1, len(components))
    return fusion.result(components, found)
