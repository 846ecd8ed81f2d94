"""Global step and Local step: one refinement module, images of any size (paper, section 3.2).

Where the paper and the authors' package differ, the package is followed; the arguments of
:func:`refine` name the other choices. Probabilities live on the CPU, so that the memory of the
device depends on ``L`` alone (paper, section 3.2.3).
"""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Crop, check_crop_size, crop_grid, pad, resize_longer_side
from .passes import RefinePass, run_cascade

#: (B, 3, H, W) RGB in 0..255, uint8 or float -> normalised float on the device of the network.
Normalize = Callable[[Tensor], Tensor]
#: Called with (crops done, crops to do).
Progress = Callable[[int, int], None]

STRIDES = (8, 4, 1)


def _has_boundary(mask: Tensor) -> bool:
    return bool(mask.any()) and not bool(mask.all())


def _is_balanced(mask: Tensor) -> bool:
    share = mask.float().mean()
    return not (share > 0.9 or share < 0.1)


#: name -> whether a crop is refined, given its binarised S1, (h, w) bool. ``release`` is the rule
#: of the authors' code, which leaves thin and small objects without a Local step; the paper has
#: none.
CROP_FILTERS: dict[str, Callable[[Tensor], bool]] = {
    'boundary': _has_boundary,
    'release': _is_balanced,
    'all': lambda mask: True,
}


def padded_cascade(refine_pass: RefinePass,
                   image: Tensor,
                   mask: Tensor,
                   strides: Sequence[int] = STRIDES,
                   given: dict[int, Tensor] | None = None,
                   final: Sequence[int] | None = None) -> dict[int, Tensor]:
    """The cascade for images of any size: padded, refined, cropped back.

    Args:
        refine_pass: see :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (B, 3, H, W) normalised; padded with 0.
        mask: (B, 1, H, W) in [-1, 1], on any device; padded with -1.
        strides, given, final: as in :func:`~mmseg_cascadepsp.cascade.passes.run_cascade`;
            ``given`` is padded with -1.

    Returns:
        stride -> (B, 1, H, W) float32 in [0, 1], on the network's device, per stride of ``final``.
    """
    height, width = image.shape[-2:]
    given = {stride: pad(value.to(image.device), -1.) for stride, value in (given or {}).items()}
    outputs = run_cascade(refine_pass, pad(image), pad(mask.to(image.device), -1.), strides,
                          given=given, final=final)
    return {stride: logits[..., :height, :width].float().sigmoid()
            for stride, logits in outputs[-1].items()}


@torch.no_grad()
def global_step(refine_pass: RefinePass,
                image: Tensor,
                mask: Tensor,
                *,
                L: int = 900,
                enlarge: bool = True,
                normalize: Normalize | None = None,
                strides: Sequence[int] = STRIDES,
                final: Sequence[int] | None = None) -> dict[int, Tensor]:
    """Global step (paper, section 3.2.1): all passes of the cascade over the whole, resized image.

    Args:
        refine_pass: see :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W), uint8 or float; see :func:`refine`.
        mask: (1, H, W) in [-1, 1]; stays soft when shrunk.
        L: longer side that the network sees.
        enlarge: whether smaller images are enlarged to ``L`` (image bicubic, mask bilinear), as
            the package does.
        normalize: applied after resizing.
        strides: output strides of the cascade.
        final: strides wanted; all by default.

    Returns:
        stride -> (1, 1, H', W') float32 probability on the CPU, at the resized size.
    """
    longer = max(image.shape[-2:])
    if longer > L:
        image = resize_longer_side(image, L, 'area')
        mask = resize_longer_side(mask, L, 'area')
    elif longer < L and enlarge:
        image = resize_longer_side(image, L, 'bicubic')
        mask = resize_longer_side(mask, L, 'bilinear')
    image = image[None] if normalize is None else normalize(image[None])
    outputs = padded_cascade(refine_pass, image, mask[None], strides, final=final)
    return {stride: output.cpu() for stride, output in outputs.items()}


def _cut(tensor: Tensor, crops: Sequence[Crop]) -> Tensor:
    """(C, H, W) -> (B, C, h, w). All crops of one image have the same size."""
    return torch.stack([tensor[(..., *crop.outer.slices)] for crop in crops])


@torch.no_grad()
def local_step(refine_pass: RefinePass,
               image: Tensor,
               coarse: dict[int, Tensor],
               *,
               L: int = 900,
               crop_filter: str = 'boundary',
               normalize: Normalize | None = None,
               strides: Sequence[int] = STRIDES,
               final: Sequence[int] | None = None,
               batch_size: int = 1,
               progress: Progress | None = None) -> dict[int, Tensor]:
    """Local step (paper, section 3.2.2): crops at full resolution, refined and averaged.

    The coarse mask of a crop, M1, is the binarised finest output of the step before (S1); its
    second finest one (S4) enters as the intermediates, without tanh, and the cascade starts at its
    second pass. The user's mask is not read any more.

    Args:
        refine_pass: see :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W), uint8 or float; see :func:`refine`.
        coarse: outputs of the step before, stride -> (1, 1, h, w) probability on the CPU at any
            size, for the two finest of ``strides``.
        L: side of the crops, at least 66.
        crop_filter: name of :data:`CROP_FILTERS`.
        normalize: applied to each crop.
        strides: output strides of the cascade.
        final: strides wanted; the finest alone by default.
        batch_size: crops per pass of the network.
        progress: called after each batch.

    Returns:
        stride -> (1, 1, H, W) float32 probability on the CPU. Where no crop was refined it is M1
        (0 or 1) for the finest stride, the resized coarse output for another.
    """
    height, width = size = image.shape[-2:]
    finest, final = strides[-1], tuple(final or strides[-1:])
    start = {stride: F.interpolate(value, size=size, mode='bilinear', align_corners=False)
             for stride, value in coarse.items()}
    hard = start.pop(finest) > 0.5
    middle = start[strides[-2]] if len(strides) > 1 else None

    total = {stride: torch.zeros(1, 1, height, width) for stride in final}
    weight = torch.zeros(1, 1, height, width, dtype=torch.int16)
    wanted = CROP_FILTERS[crop_filter]
    crops = [crop for crop in crop_grid(height, width, L) if wanted(hard[0, 0][crop.outer.slices])]
    for first in range(0, len(crops), batch_size):
        batch = crops[first:first + batch_size]
        part = _cut(image, batch)
        if normalize is not None:
            part = normalize(part)
        given = {}
        if middle is not None:
            given = dict.fromkeys(strides[:-1], _cut(middle[0], batch) * 2 - 1)
        outputs = padded_cascade(refine_pass, part, _cut(hard[0], batch).float() * 2 - 1, strides,
                                 given=given, final=final)
        for index, crop in enumerate(batch):
            where = (..., *crop.inner.slices)
            kept = (index, ..., *crop.inner.relative_to(crop.outer).slices)
            for stride, output in outputs.items():
                total[stride][where] += output[kept].cpu()
            weight[where] += 1
        if progress is not None:
            progress(first + len(batch), len(crops))

    untouched = weight == 0
    weight.clamp_(min=1)
    for stride, value in total.items():
        before = hard.float() if stride == finest else start[stride]
        torch.where(untouched, before, value.div_(weight), out=value)
    return total


def _check_inputs(image: Tensor, mask: Tensor, normalize: Normalize | None) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ValueError('image must have shape (3, H, W) with at least one pixel, '
                         f'got {tuple(image.shape)}')
    if mask.shape != (1, *image.shape[-2:]):
        raise ValueError(f'mask must have shape {(1, *image.shape[-2:])} like the image, '
                         f'got {tuple(mask.shape)}')
    if normalize is None and not image.is_floating_point():
        raise TypeError(f'image must be normalised float, got {image.dtype}: normalise it first '
                        'or pass normalize')
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(f'mask must be bool or float in [-1, 1], got {mask.dtype}')


@torch.no_grad()
def refine(refine_pass: RefinePass,
           image: Tensor,
           mask: Tensor,
           *,
           fast: bool = False,
           L: int = 900,
           crop_filter: str = 'boundary',
           local: str = 'always',
           enlarge: bool = True,
           levels: int = 1,
           normalize: Normalize | None = None,
           strides: Sequence[int] = STRIDES,
           batch_size: int = 1,
           progress: Progress | None = None) -> Tensor:
    """Refine one mask of one image: Global step, then Local step (paper, section 3.2).

    Args:
        refine_pass: one pass of the network, see
            :data:`~mmseg_cascadepsp.cascade.passes.RefinePass`.
        image: (3, H, W) RGB: uint8 with ``normalize``, or normalised float without. H, W >= 1.
        mask: (1, H, W) coarse mask, bool or float in [-1, 1].
        fast: Global step alone.
        L: longer side of the Global step and side of the Local step's crops, at least 66; the
            device's memory grows with it (paper, section 3.2.3).
        crop_filter: crops that the Local step refines: ``boundary``, those in which the binarised
            S1 takes both values; ``release``, those with a foreground share of 0.1 to 0.9, as the
            authors' code does; ``all``.
        local: ``always``, as the package; ``auto``, only for images with max(H, W) >= L, as the
            paper (there both are 900).
        enlarge: whether images smaller than ``L`` are enlarged for the Global step, as the package
            does.
        levels: number n of Local steps, coarse to fine (paper, end of section 3.2.2), for images
            much larger than ``L``: step k works at longer side ``L * (max(H, W) / L) ** (k / n)``.
            Images up to ``L`` take one.
        normalize: (B, 3, H, W) RGB 0..255 -> normalised float on the network's device; applied
            after resizing and per crop, so that no full-size normalised copy of the image exists.
        strides: output strides of the cascade, coarse to fine.
        batch_size: crops of the Local step per pass of the network.
        progress: called with (crops done, crops to do) in each Local step.

    Returns:
        (H, W) float32 probability on the CPU.

    Raises:
        ValueError: ``L`` below 66, wrong shapes, unknown ``crop_filter`` or ``local``, ``levels``
            or ``batch_size`` below 1.
        TypeError: wrong dtypes.
    """
    check_crop_size(L)
    _check_inputs(image, mask, normalize)
    for name, value, known in (('crop_filter', crop_filter, tuple(CROP_FILTERS)),
                               ('local', local, ('always', 'auto'))):
        if value not in known:
            raise ValueError(f'{name} must be one of {known}, got {value!r}')
    for name, value in (('levels', levels), ('batch_size', batch_size)):
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')

    size, longer = image.shape[-2:], max(image.shape[-2:])
    if mask.dtype == torch.bool:
        mask = mask.float() * 2 - 1
    with_local = not fast and (local == 'always' or longer >= L)
    finest, two_finest = tuple(strides[-1:]), tuple(strides[:-3:-1])
    common = {'L': L, 'normalize': normalize, 'strides': strides}
    output = global_step(refine_pass, image, mask, enlarge=enlarge,
                         final=two_finest if with_local else finest, **common)
    if not with_local:
        probability = output[strides[-1]]
        if longer > L:
            probability = F.interpolate(probability, size=size, mode='bilinear',
                                        align_corners=True)
        elif longer < L and enlarge:
            probability = F.interpolate(probability, size=size, mode='area')
        return probability[0, 0]

    del mask
    count = levels if longer > L else 1
    for level in range(1, count + 1):
        last = level == count
        side = round(L * (longer / L)**(level / count))
        scaled = image if last else resize_longer_side(image, side, 'area')
        output = local_step(refine_pass, scaled, output, crop_filter=crop_filter,
                            batch_size=batch_size, progress=progress,
                            final=finest if last else two_finest, **common)
    return output[strides[-1]][0, 0]
