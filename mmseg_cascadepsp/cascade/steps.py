"""Global step and Local step: one network, images of any size (paper, section 3.2).

Probabilities live on the CPU, so that the memory of the device depends on ``L`` alone (paper,
section 3.2.3).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .crops import adaptive_crops, boundary_cells
from .geometry import (
    Box,
    Crop,
    crop_grid,
    pad,
    padded_size,
    resize_longer_side,
    resize_window,
    resized_sides,
    strips,
)
from .network import Network, Progress
from .overview import MIN_OVERVIEW, look_over
from .passes import run_cascade
from .settings import CascadeSettings
from .tidy import tidy


def padded_cascade(
    network: Network,
    image: Tensor,
    mask: Tensor,
    settings: CascadeSettings,
    given: dict[int, Tensor] | None = None,
    final: Sequence[int] | None = None,
) -> dict[int, Tensor]:
    """A cascade over images of any size: padded, looked over, refined, cropped back.

    Args:
        network: Runs the passes.
        image: (B, 3, H, W), normalised. It is padded with 0.
        mask: Coarse mask, (B, 1, H, W) in [-1, 1], on any device. It is padded with -1.
        settings: Of them ``overview`` and ``tidy`` are read.
        given, final: See :func:`run_cascade`. ``given`` is padded with -1. With it there is no
            overview, since the Global step has looked over the image already.

    Returns:
        stride -> (B, 1, H, W) float32 probability on the network's device, per stride of
        ``final``.

    Example:
        See :func:`local_step`.
    """
    height, width = image.shape[-2:]
    strides = network.strides
    image, mask = pad(image), pad(mask.to(image.device), -1.0)
    given = {stride: pad(value.to(image.device), -1.0) for stride, value in (given or {}).items()}
    coarse, share, is_whole = mask, settings.overview, not given
    several = len(strides) > 1
    if several and share and not given and share * max(image.shape[-2:]) >= MIN_OVERVIEW:
        # Half and half: where the two agree the mask stays sure, elsewhere it leaves it open.
        mask = (mask + look_over(network, image, mask, share)) / 2
        given = {strides[0]: mask}
    outputs = run_cascade(network.for_image(image), mask, strides, given, final)[-1]
    if several and settings.tidy:
        outputs = tidy(outputs, coarse, is_whole)
    return {
        stride: logits[..., :height, :width].float().sigmoid()
        for stride, logits in outputs.items()
    }


def run_global(
    network: Network,
    image: Tensor,
    mask: Tensor,
    settings: CascadeSettings,
    *,
    final: Sequence[int] | None = None,
    last: bool = False,
) -> dict[int, Tensor]:
    """Global step over an image that has its size already (paper, section 3.2.1).

    Args:
        network: The refiner.
        image: (3, H, W), RGB in 0..255.
        mask: Coarse mask, (1, H, W) in [-1, 1].
        settings: How the cascade runs.
        final: Strides wanted, all by default.
        last: Whether no other step follows, so that the finest probability is filtered.

    Returns:
        stride -> (1, 1, H, W) float32 probability on the CPU.

    Example:
        See :func:`global_step`.
    """
    image = network.normalize(image[None])
    outputs = padded_cascade(network, image, mask[None], settings, final=final)
    if last:
        finest = network.strides[-1]
        outputs[finest] = _filtered(image, outputs[finest], settings)
    return {stride: value.cpu() for stride, value in outputs.items()}


def global_step(
    network: Network,
    image: Tensor,
    mask: Tensor,
    settings: CascadeSettings,
    final: Sequence[int] | None = None,
) -> dict[int, Tensor]:
    """Global step over an image that is resized to ``settings.L`` (paper, section 3.2.1).

    Args:
        network, image, mask, settings: See :func:`refine`.
        final: Strides wanted, all by default.

    Returns:
        stride -> (1, 1, H', W') float32 probability on the CPU, at the size the network saw.

    Example:
        See :func:`local_step`.
    """
    smallest = settings.L if settings.enlarge else 1
    return run_global(network, *_resized(image, mask, smallest, settings.L), settings, final=final)


def _resized(image: Tensor, mask: Tensor, smallest: int, L: int) -> tuple[Tensor, Tensor]:
    """Image and mask (in [-1, 1]) with a longer side from ``smallest`` to ``L``."""
    longer = max(image.shape[-2:])
    is_hard = mask.dtype == torch.bool
    if longer > L:
        image, mask = (resize_longer_side(part, L, 'area') for part in (image, mask))
    elif longer < smallest:
        image = resize_longer_side(image, smallest, 'bicubic')
        mask = resize_longer_side(mask, smallest, 'bilinear')
    if is_hard:  # only now: a large mask never exists as a whole in float
        mask = mask.float() * 2 - 1
    return image, mask


def global_probabilities(
    network: Network,
    parts: Sequence[tuple[Tensor, Tensor]],
    settings: CascadeSettings,
    smallest: int,
    batch_size: int = 1,
    bucket: int = 8,
) -> Iterator[tuple[int, Tensor]]:
    """Global step alone, over several images, and back to their sizes.

    Images whose padded sizes agree share a batch of at most ``L * L`` pixels (one image may have
    more), so that memory depends on ``L`` alone.

    Args:
        network: The refiner.
        parts: Images (3, H, W), RGB in 0..255, with their coarse masks (1, H, W), bool or in
            [-1, 1].
        settings: How the cascade runs.
        smallest: Images with a shorter longer side are enlarged to it. At most ``L``.
        batch_size: Most images of a batch.
        bucket: Sides are padded to multiples of it, a multiple of 8.

    Yields:
        (index into ``parts``, (H, W) float32 probability on the CPU), grouped by size.

    Example:
        See :func:`~mmseg_cascadepsp.cascade.refine_scene`, which refines regions with it.
    """
    L = settings.L
    smallest = min(smallest, L)
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (image, _) in enumerate(parts):
        longer = min(max(*image.shape[-2:], smallest), L)
        seen = tuple(image.shape[-2:])
        seen = seen if longer == max(seen) else resized_sides(*seen, longer)
        groups.setdefault(padded_size(*seen, bucket), []).append(index)
    finest = network.strides[-1]
    for (height, width), members in groups.items():
        step = max(1, min(batch_size, L * L // (height * width)))
        for first in range(0, len(members), step):
            batch = members[first : first + step]
            seen = [_resized(*parts[index], smallest, L) for index in batch]
            images = [network.normalize(image[None]) for image, _ in seen]
            masks = [
                mask[None].to(image.device) for image, (_, mask) in zip(images, seen, strict=True)
            ]
            outputs = padded_cascade(
                network,
                torch.cat([pad(image, 0.0, bucket) for image in images]),
                torch.cat([pad(mask, -1.0, bucket) for mask in masks]),
                settings,
                final=(finest,),
            )[finest]
            for index, image, output in zip(batch, images, outputs, strict=True):
                value = output[None, :, : image.shape[-2], : image.shape[-1]]
                yield index, _to_size(network, parts[index][0], image, value, settings)[0, 0]


def _to_size(
    network: Network, image: Tensor, seen: Tensor, value: Tensor, settings: CascadeSettings
) -> Tensor:
    """A probability, (1, 1, h, w), at the size of the image, filtered where edges are sharpest."""
    size = image.shape[-2:]
    if max(size) < max(seen.shape[-2:]):
        value = F.interpolate(value, size=size, mode='area')
        if settings.guided_filter is not None:
            value = _filtered(network.normalize(image[None]), value, settings)
        return value.cpu()
    value = _filtered(seen, value, settings).cpu()
    if tuple(size) != tuple(seen.shape[-2:]):
        corners = settings.compat == 'release'
        value = F.interpolate(value, size=size, mode='bilinear', align_corners=corners)
    return value


def _filtered(image: Tensor, value: Tensor, settings: CascadeSettings) -> Tensor:
    """``value`` after the guided filter, if there is one. ``image`` is normalised."""
    guided_filter = settings.guided_filter
    return value if guided_filter is None else guided_filter(image, value.to(image.device))


def _has_boundary(mask: Tensor) -> bool:
    return bool(mask.any()) and not bool(mask.all())


def _is_balanced(mask: Tensor) -> bool:
    return 0.1 <= mask.float().mean().item() <= 0.9


_FILTERS: dict[str, Callable[[Tensor], bool]] = {
    'boundary': _has_boundary,
    'release': _is_balanced,
    'all': lambda mask: True,
}


def local_crops(
    coarse: dict[int, Tensor], size: tuple[int, int], settings: CascadeSettings
) -> list[Crop]:
    """The crops that the Local step refines.

    Args:
        coarse: Outputs of the step before, stride -> (1, 1, h, w) probability at any size.
        size: (H, W) of the image.
        settings: ``L``, ``crops`` and ``crop_filter`` are read.

    Returns:
        Crops, from top to bottom.

    Example:
        >>> half = torch.zeros(1, 1, 100, 300)
        >>> half[..., 150:] = 1
        >>> crops = local_crops({1: half}, (100, 300), CascadeSettings(L=100))
        >>> [crop.outer.left for crop in crops]
        [75, 100, 125]
    """
    finest = coarse[min(coarse)]

    def hard(box: Box) -> Tensor:
        return resize_window(finest, size, box) > 0.5

    if settings.crops == 'adaptive':
        cells = boundary_cells(lambda top, bottom: hard(Box(top, 0, bottom, size[1])), *size)
        laid = adaptive_crops(cells, *size, settings.L)
    else:
        laid = sorted(crop_grid(*size, settings.L, settings.compat))
    wanted = _FILTERS[settings.crop_filter]
    return [crop for crop in laid if wanted(hard(crop.outer))]


def refine_crops(
    network: Network,
    cut: Callable[[Box], Tensor],
    coarse: dict[int, Tensor],
    size: tuple[int, int],
    settings: CascadeSettings,
    crops: Sequence[Crop],
    *,
    final: Sequence[int] | None = None,
    last: bool = False,
) -> Iterator[tuple[Crop, dict[int, Tensor]]]:
    """Refine crops at full resolution (paper, section 3.2.2).

    The coarse mask of a crop is the binarised finest output of the step before, S1. Its second
    finest output, S4, enters as the intermediates, without tanh, and the cascade starts at its
    second pass. The user's mask is not read any more.

    Args:
        network: The refiner.
        cut: Gives the part of the image in a box, (3, h, w), RGB in 0..255.
        coarse: Outputs of the step before, stride -> (1, 1, h, w) probability on the CPU, for the
            two finest strides of the network, at any size.
        size: (H, W) of the image.
        settings: How the cascade runs.
        crops: What to refine, see :func:`local_crops`.
        final: Strides wanted, the finest alone by default.
        last: Whether no other step follows, so that the finest probability is filtered.

    Yields:
        (crop, stride -> (h, w) float32 probability on the CPU of ``crop.inner``).

    Example:
        See :func:`local_step`, which averages them.
    """
    strides = network.strides
    finest = strides[-1]
    for first in range(0, len(crops), settings.batch_size):
        batch = crops[first : first + settings.batch_size]
        images = network.normalize(torch.stack([cut(crop.outer) for crop in batch]))
        hard = torch.stack([resize_window(coarse[finest], size, crop.outer) for crop in batch])
        masks = (hard > 0.5)[:, None].float() * 2 - 1
        given = {}
        if len(strides) > 1:
            middle = coarse[strides[-2]]
            soft = torch.stack([resize_window(middle, size, crop.outer) for crop in batch])
            given = dict.fromkeys(strides[:-1], soft[:, None] * 2 - 1)
        outputs = padded_cascade(network, images, masks, settings, given, final or (finest,))
        if last:
            outputs[finest] = _filtered(images, outputs[finest], settings)
        for index, crop in enumerate(batch):
            inner = (index, 0, *crop.inner.relative_to(crop.outer).slices)
            yield crop, {stride: value[inner].cpu() for stride, value in outputs.items()}


def local_step(
    network: Network,
    image: Tensor,
    coarse: dict[int, Tensor],
    settings: CascadeSettings,
    final: Sequence[int] | None = None,
    progress: Progress | None = None,
    *,
    last: bool = False,
) -> dict[int, Tensor]:
    """Local step (paper, section 3.2.2): crops refined at full resolution and averaged.

    Args:
        network, coarse, settings, final, last: See :func:`refine_crops`.
        image: (3, H, W), RGB in 0..255.
        progress: Called with (crops done, crops to do).

    Returns:
        stride -> (1, 1, H, W) float32 probability on the CPU. Where no crop was refined, it is
        the binarised coarse output (0 or 1) for the finest stride, and the resized coarse output
        for another.

    Example:
        >>> class Unchanged(Network):
        ...     def normalize(self, image):
        ...         return image.float()
        ...
        ...     def for_image(self, image):
        ...         return lambda masks, strides: {s: masks[:, :1] * 9 for s in strides}
        >>> image = torch.zeros(3, 100, 300, dtype=torch.uint8)
        >>> mask = torch.zeros(1, 100, 300, dtype=torch.bool)
        >>> mask[..., 150:] = True
        >>> settings = CascadeSettings(L=100)
        >>> coarse = global_step(Unchanged(), image, mask, settings, final=(4, 1))
        >>> {stride: tuple(value.shape) for stride, value in coarse.items()}
        {4: (1, 1, 33, 100), 1: (1, 1, 33, 100)}
        >>> refined = local_step(Unchanged(), image, coarse, settings)[1]
        >>> refined[0, 0, 50, [0, 100, 200, 299]].round().tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    finest = network.strides[-1]
    final = tuple(final or (finest,))
    size = height, width = tuple(image.shape[-2:])
    crops = local_crops(coarse, size, settings)
    sums = {stride: torch.zeros(size) for stride in final}
    weight = torch.zeros(size, dtype=torch.int16)

    def cut(box: Box) -> Tensor:
        return image[(..., *box.slices)]

    refined = refine_crops(network, cut, coarse, size, settings, crops, final=final, last=last)
    for done, (crop, outputs) in enumerate(refined, 1):
        for stride, output in outputs.items():
            sums[stride][crop.inner.slices] += output
        weight[crop.inner.slices] += 1
        if progress is not None:
            progress(done, len(crops))
    for top, bottom in strips(0, height, width):
        box = Box(top, 0, bottom, width)
        for stride, value in sums.items():
            average(
                value[top:bottom], weight[top:bottom], coarse[stride], size, box, stride == finest
            )
    return {stride: value[None, None] for stride, value in sums.items()}


def average(
    sums: Tensor, weight: Tensor, coarse: Tensor, size: tuple[int, int], box: Box, is_finest: bool
) -> None:
    """Turn the sums of crops, in place, into their means, and fill in what no crop covers.

    Args:
        sums: (h, w) float32, sums of the crops in ``box``.
        weight: (h, w), how many crops there are.
        coarse: (1, 1, h', w'), the output of the step before.
        size: (H, W) of the image.
        box: What ``sums`` is of the image.
        is_finest: Whether this is the finest stride. Its coarse output is binarised.

    Example:
        >>> sums, weight = torch.tensor([[1.0, 0.0]]), torch.tensor([[2, 0]])
        >>> average(sums, weight, torch.full((1, 1, 1, 2), 0.7), (1, 2), Box(0, 0, 1, 2), True)
        >>> sums
        tensor([[0.5000, 1.0000]])
    """
    untouched = weight == 0
    sums.div_(weight.clamp(min=1))
    if untouched.any():
        old = resize_window(coarse, size, box)
        torch.where(untouched, (old > 0.5).float() if is_finest else old, sums, out=sums)
