"""Refining label maps: divide, conquer, fuse (paper, section 4.3).

:func:`refine_scene` refines every connected component in its own region, :func:`refine_classes`
every class over the whole image.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError

from .components import Component, check_labels, divide
from .fusion import Fusion, SceneResult
from .geometry import Box
from .memory import told_memory
from .network import Network, Progress
from .settings import CascadeSettings, FusionSettings
from .single import refine
from .steps import global_probabilities
from .threads import check_threads

#: Probability of the pixels of a component that is kept as it is.
KEPT = 0.75


def _check(
    image: Tensor,
    labels: np.ndarray,
    logits: Any,
    fusion: FusionSettings,
) -> None:
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
        got = tuple(image.shape) if hasattr(image, 'shape') else type(image).__name__
        raise InvalidValueError(f'image must be a tensor (3, H, W), got {got}.')
    check_threads()
    void, background = fusion.ignore_index, fusion.background
    check_labels(labels, image.shape[-2:], fusion.num_classes, void)
    if background is not None and not 0 <= background <= np.iinfo(labels.dtype).max:
        raise InvalidValueError(
            f'background must be an id that labels of {labels.dtype} can hold, got {background}.'
        )
    if logits is None:
        return
    classes = int(np.max(labels, initial=background or 0, where=labels != void)) + 1
    shape = tuple(logits.shape) if isinstance(logits, (Tensor, np.ndarray)) else ()
    if len(shape) != 3 or shape[1:] != labels.shape or shape[0] < classes:
        raise InvalidValueError(
            f'logits must be (classes, {labels.shape[0]}, {labels.shape[1]}) with at '
            f'least {classes} classes, got {shape or type(logits).__name__}.'
        )


def refine_regions(
    network: Network,
    image: Tensor,
    components: Sequence[Component],
    settings: CascadeSettings | None = None,
    fusion: FusionSettings | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Conquer: refine every component in its own region.

    Regions that get the Global step alone and have the same padded size share a batch.

    Args:
        network: The refiner.
        image: (3, H, W), RGB in 0..255.
        components: What :func:`~mmseg_cascadepsp.cascade.divide` found.
        settings: How a cascade runs, by default as ``network.defaults`` says. With
            ``steps='auto'`` regions of at least ``L`` get the Local step, too.
        fusion: ``min_size``, ``batch_size``, ``bucket`` and ``compat`` are read.

    Yields:
        (index into ``components``, (h, w) float32 probability), not in order.

    Example:
        See :func:`refine_scene`, which fuses them.
    """
    settings, fusion = settings or network.defaults, fusion or FusionSettings()
    # The authors' script resizes with align_corners=False, their package with True.
    settings = settings.replace(compat=None, enlarge=False, region='photo')
    alone, local = [], []
    for index, part in enumerate(components):
        (local if settings.with_local_step(part.mask.shape) else alone).append(index)

    def part(index: int) -> tuple[Tensor, Tensor]:
        component = components[index]
        return image[(..., *component.box.slices)], torch.from_numpy(component.mask)[None]

    parts = [part(index) for index in alone]
    with torch.no_grad(), told_memory(network, settings.L, fusion.batch_size):
        for index, probability in global_probabilities(
            network, parts, settings, fusion.min_size, fusion.batch_size, fusion.bucket
        ):
            yield alone[index], probability.numpy()
        for index in local:
            yield index, refine(network, *part(index), settings).numpy()


def refine_scene(
    network: Network,
    image: Tensor,
    labels: np.ndarray,
    fusion: FusionSettings | None = None,
    settings: CascadeSettings | None = None,
    logits: Tensor | np.ndarray | None = None,
    progress: Progress | None = None,
) -> SceneResult:
    """Scene parsing: components of every class, each refined in its region, fused.

    Args:
        network: The refiner.
        image: (3, H, W), RGB in 0..255, uint8 or float.
        labels: (H, W) integer, 0-based ids.
        fusion: How the label map is divided and fused.
        settings: How a cascade runs, see :func:`refine_regions`.
        logits: (classes, H, W), those of the segmentor. With them its own probability is weighed
            beside the refiner's.
        progress: Called with (components done, components to do).

    Returns:
        :class:`~mmseg_cascadepsp.cascade.SceneResult`. Where no component is large enough, its
        labels are ``labels``.

    Raises:
        InvalidValueError: Wrong shapes or ids.
        InvalidTypeError: Wrong dtypes.

    Example:
        >>> class Unchanged(Network):
        ...     def normalize(self, image):
        ...         return image.float()
        ...
        ...     def for_image(self, image):
        ...         return lambda masks, strides: {s: masks[:, :1] * 9 for s in strides}
        >>> image = torch.zeros(3, 80, 80, dtype=torch.uint8)
        >>> labels = np.zeros((80, 80), np.uint8)
        >>> labels[20:60, 20:60] = 7
        >>> result = refine_scene(Unchanged(), image, labels)
        >>> bool((result.labels == labels).all()), [part.label for part in result.components]
        (True, [0, 7])
    """
    fusion = fusion or FusionSettings()
    logits = logits if fusion.prior_weight else None
    _check(image, labels, logits, fusion)
    components = divide(labels, fusion)
    kept = [component for component in components if component.label in fusion.keep]
    components = [component for component in components if component.label not in fusion.keep]
    found = len(components)
    if fusion.max_components is not None and found > fusion.max_components:
        by_area = sorted(range(found), key=lambda index: -components[index].area)
        components = [components[index] for index in sorted(by_area[: fusion.max_components])]
    result = Fusion(labels, fusion, logits)
    for index, (label, _, box, mask) in enumerate(kept, len(components)):
        result.add(index, label, box, mask, mask * np.float32(KEPT))
    refined = refine_regions(network, image, components, settings, fusion)
    for done, (index, probability) in enumerate(refined, 1):
        if fusion.compat == 'release':
            probability = np.floor(probability * 255) / np.float32(255)
        label, _, box, mask = components[index]
        result.add(index, label, box, mask, probability)
        if progress is not None:
            progress(done, len(components))
    return result.result(components, found)


def refine_classes(
    network: Network,
    image: Tensor,
    labels: np.ndarray,
    fusion: FusionSettings | None = None,
    settings: CascadeSettings | None = None,
    logits: Tensor | np.ndarray | None = None,
    progress: Progress | None = None,
) -> SceneResult:
    """One mask per class, refined over the whole image with Global and Local step, then fused.

    Args:
        network, image, labels, logits: See :func:`refine_scene`.
        fusion: ``min_area`` is that of a class here. Classes other than ``background`` have a
            mask each. ``keep`` and what concerns regions is not read.
        settings: How a cascade runs, by default as ``network.defaults`` says.
        progress: Called with (classes done, classes to do).

    Returns:
        :class:`~mmseg_cascadepsp.cascade.SceneResult`. A component is a class, its box the whole
        image. A single class that fills the image comes back as it is.

    Raises:
        InvalidValueError: Wrong shapes or ids.
        InvalidTypeError: Wrong dtypes.

    Example:
        See :func:`refine_scene`.
    """
    fusion = fusion or FusionSettings(min_area=0)
    logits = logits if fusion.prior_weight else None
    _check(image, labels, logits, fusion)
    whole = Box(0, 0, *labels.shape)
    components = []
    for label in np.unique(labels):
        mask = labels == label
        area = int(mask.sum())
        # A class that fills the image has no boundary to refine.
        is_object = label not in (fusion.ignore_index, fusion.background)
        if is_object and fusion.min_area < area < labels.size:
            components.append(Component(int(label), area, whole, mask))
    found = len(components)
    components = sorted(components, key=lambda part: -part.area)[: fusion.max_components]
    result = Fusion(labels, fusion, logits)
    for index, (label, _, _, mask) in enumerate(components):
        probability = refine(network, image, torch.from_numpy(mask)[None], settings)
        result.add(index, label, whole, mask, probability.numpy())
        if progress is not None:
            progress(index + 1, len(components))
    return result.result(components, found)
