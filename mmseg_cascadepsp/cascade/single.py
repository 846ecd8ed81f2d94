"""One mask of one photo: the whole of it, or regions around the object."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError

from .geometry import Box, resize_longer_side
from .memory import told_memory
from .network import Network, Progress
from .regions import MIN_SIDE, are_small, object_regions
from .settings import CascadeSettings
from .steps import global_probabilities, global_step, local_step
from .threads import check_threads


def refine(
    network: Network,
    image: Tensor,
    mask: Tensor,
    settings: CascadeSettings | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Refine one coarse mask of one image: Global step, then Local step (paper, section 3.2).

    Args:
        network: The refiner.
        image: (3, H, W), RGB in 0..255, uint8 or float. H, W >= 1.
        mask: Coarse mask, (1, H, W), bool, or float in [-1, 1].
        settings: How the cascade runs, by default as ``network.defaults`` says.
        progress: Called with (crops done, crops to do) in each Local step.

    Returns:
        (H, W) float32 probability on the CPU.

    Raises:
        InvalidValueError: Wrong shapes.
        InvalidTypeError: Wrong dtypes.
        DeviceMemoryError: The device has too little memory for ``L``.

    Example:
        See :class:`~mmseg_cascadepsp.cascade.Network`.
    """
    settings = settings or network.defaults
    check_threads()
    _check_inputs(image, mask)
    with torch.no_grad(), told_memory(network, settings.L, settings.batch_size):
        size, as_object = tuple(image.shape[-2:]), settings.region == 'object'
        if as_object or (settings.region == 'auto' and max(size) > settings.L):
            hard = mask if mask.dtype == torch.bool else mask > 0
            boxes = object_regions(hard[0].cpu().numpy())
            if boxes and (as_object or are_small(boxes, size, settings.L)):
                return _refine_regions(network, image, mask, boxes, settings, progress)
        return _refine_photo(network, image, mask, settings, progress)


def _refine_regions(
    network: Network,
    image: Tensor,
    mask: Tensor,
    boxes: Sequence[Box],
    settings: CascadeSettings,
    progress: Progress | None,
) -> Tensor:
    """Refine an object in the regions ``boxes``. Elsewhere its probability is 0."""
    result = torch.zeros(image.shape[-2:])
    alone, local = [], []
    for box in boxes:
        size = box.bottom - box.top, box.right - box.left
        (local if settings.with_local_step(size) else alone).append(box)
    parts = [(image[(..., *box.slices)], mask[(..., *box.slices)]) for box in alone]
    for index, value in global_probabilities(network, parts, settings, MIN_SIDE, batch_size=8):
        result[alone[index].slices] = value
    for box in local:
        part = image[(..., *box.slices)], mask[(..., *box.slices)]
        result[box.slices] = _refine_photo(network, *part, settings, progress)
    return result


def _refine_photo(
    network: Network,
    image: Tensor,
    mask: Tensor,
    settings: CascadeSettings,
    progress: Progress | None,
) -> Tensor:
    """Global step and Local step over the whole of an image."""
    size = tuple(image.shape[-2:])
    if not settings.with_local_step(size):
        smallest = settings.L if settings.enlarge else 1
        [(_, probability)] = global_probabilities(network, [(image, mask)], settings, smallest)
        return probability
    finest, two_finest = network.strides[-1], network.strides[:-3:-1]
    if settings.steps == 'local':
        whole = mask.float() if mask.dtype == torch.bool else (mask + 1) / 2
        coarse = dict.fromkeys(two_finest, whole[None].cpu())
    else:
        coarse = global_step(network, image, mask, settings, final=two_finest)
    count = settings.levels if max(size) > settings.L else 1
    for level in range(1, count):
        longer = round(settings.L * (max(size) / settings.L) ** (level / count))
        scaled = resize_longer_side(image, longer, 'area')
        coarse = local_step(network, scaled, coarse, settings, two_finest, progress)
    last = local_step(network, image, coarse, settings, (finest,), progress, last=True)
    return last[finest][0, 0]


def _check_inputs(image: Tensor, mask: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise InvalidValueError(
            'image must have the shape (3, H, W) with at least one pixel, '
            f'got {tuple(image.shape)}.'
        )
    if mask.shape != (1, *image.shape[-2:]):
        raise InvalidValueError(
            f'mask must have the shape {(1, *image.shape[-2:])} like the image, '
            f'got {tuple(mask.shape)}.'
        )
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InvalidTypeError(f'mask must be bool or float in [-1, 1], got {mask.dtype}.')
