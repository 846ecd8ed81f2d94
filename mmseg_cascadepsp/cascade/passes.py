"""The cascade: several passes of one module, coarse to fine (paper, Fig. 4 and Fig. 5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.cascade.geometry import pad
from mmseg_cascadepsp.errors import InvalidValueError

#: One pass of the network: normalised image (B, 3, H, W), masks (B, 3, H, W) in [-1, 1] and the
#: output strides wanted -> {stride: logits (B, 1, H, W)}, resized to the input. H and W are
#: multiples of the coarsest stride. It may have a method ``for_image(image)`` that returns the
#: pass for that image, (masks, strides) -> logits: what depends on the image alone is then
#: computed once for all passes of a cascade. And attributes: ``finish``, a :data:`Finish`, and
#: ``overview``, the share of the size at which a cascade first looks over the whole
#: (:func:`look_over`), where that leaves :data:`MIN_OVERVIEW` pixels; 0: it does not. With either,
#: results must touch the coarse mask (:func:`remove_detached`); None, as the paper: neither.
RefinePass = Callable[[Tensor, Tensor, Sequence[int]], dict[int, Tensor]]

#: Normalised image (B, 3, H, W) and the finest probability of a cascade, (B, 1, H, W) -> that
#: probability, finished, such as :class:`~mmseg_cascadepsp.cascade.GuidedFilter`.
Finish = Callable[[Tensor, Tensor], Tensor]

#: (B, 3, H, W) RGB in 0..255, uint8 or float -> normalised float on the device of the network.
Normalize = Callable[[Tensor], Tensor]

#: Output strides of the cascade, coarse to fine.
STRIDES = (8, 4, 1)

#: Least longer side of an overview: on less, details are lost that no later pass wins back.
MIN_OVERVIEW = 224

#: Half the width, as a share of the longer side, of the strips in which an overview that disagrees
#: with the mask gives way: edges and thin parts are for passes that see every pixel.
STRIP = 0.01

#: Logits from which on what is detached goes, and what they become at most: a probability of 0.05
#: and 0.002.
FAINT, GONE = -3.0, -6.0

#: Slots of the mask channels behind the coarse mask itself.
SLOTS = (8, 4)


@dataclass(frozen=True)
class FinishedPass:
    """A :data:`RefinePass` with its ``finish`` and ``overview``."""

    refine_pass: RefinePass
    finish: Finish | None = None
    overview: float | None = None

    def __call__(self, image: Tensor, masks: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
        """One pass."""
        return self.refine_pass(image, masks, strides)


def mask_channels(mask: Tensor, intermediate: dict[int, Tensor]) -> Tensor:
    """The three mask channels of a pass: (coarse mask, slot of stride 8, slot of stride 4).

    A slot without an output of its own stride takes that of the next coarser one, and the coarse
    mask where there is none.

    Args:
        mask: coarse mask, (B, 1, H, W) in [-1, 1].
        intermediate: stride -> (B, 1, H, W) in [-1, 1].

    Returns:
        (B, 3, H, W).
    """
    channels = [mask]
    for slot in SLOTS:
        coarser = [stride for stride in intermediate if stride >= slot]
        channels.append(intermediate[min(coarser)] if coarser else mask)
    return torch.cat(channels, dim=1)


def run_cascade(
    refine_pass: RefinePass,
    image: Tensor,
    mask: Tensor,
    strides: Sequence[int] = STRIDES,
    given: dict[int, Tensor] | None = None,
    final: Sequence[int] | None = None,
) -> list[dict[int, Tensor]]:
    """Run the passes of the cascade (paper, sections 3.2.1 and 3.2.2).

    Pass ``k`` produces ``strides[:k + 1]``; its logits, through tanh, are mask channels of pass
    ``k + 1``. The paper's Global step is ``strides=(8, 4, 1)``; ``(8, 1)``, ``(1,)`` and ``(8,)``
    are its ablations (Table 1).

    Args:
        refine_pass: see :data:`RefinePass`.
        image: (B, 3, H, W), normalised.
        mask: coarse mask, (B, 1, H, W) in [-1, 1].
        strides: output strides, coarse to fine.
        given: intermediates that are there already, stride -> (B, 1, H, W) in [-1, 1], used as
            they are. The pass that would only make ``strides[0]`` is then left out (the Local step
            starts from the Global step's stride-4 output), and so is the overview.
        final: strides that the caller reads of the last pass; all by default. Inference asks for
            fewer: what nobody reads is not computed.

    Returns:
        For each pass: stride -> logits (B, 1, H, W).
    """
    share = getattr(refine_pass, 'overview', None)
    if share is None or len(strides) == 1:
        return _run_passes(refine_pass, image, mask, strides, given or {}, final)
    coarse = mask
    if share and not given and share * max(image.shape[-2:]) >= MIN_OVERVIEW:
        seen = look_over(refine_pass, image, mask, strides, share)
        # Half and half: where the two agree the mask stays sure, elsewhere it leaves it open.
        mask = (mask + seen) / 2
        given = {strides[0]: mask}
    outputs = _run_passes(refine_pass, image, mask, strides, given or {}, final)
    outputs[-1] = remove_detached(outputs[-1], coarse)
    return outputs


def _run_passes(
    refine_pass: RefinePass,
    image: Tensor,
    mask: Tensor,
    strides: Sequence[int],
    given: dict[int, Tensor],
    final: Sequence[int] | None,
) -> list[dict[int, Tensor]]:
    intermediate = dict(given)
    outputs = []
    for_image = getattr(refine_pass, 'for_image', None)
    run = for_image(image) if for_image else partial(refine_pass, image)
    for last in range(1 if given else 0, len(strides)):
        wanted = strides[: last + 1]
        if last == len(strides) - 1 and final is not None:
            wanted = final
        outputs.append(run(mask_channels(mask, intermediate), tuple(wanted)))
        if last < len(strides) - 1:
            intermediate.update(
                (stride, torch.tanh(logits)) for stride, logits in outputs[-1].items()
            )
    return outputs


def check_overview(share: float | None) -> float | None:
    """Return ``share`` of :func:`look_over`; 0 and None: no overview.

    Raises:
        ValueError: it is not from 0 to below 1.
    """
    if share is not None and not 0 <= share < 1:
        raise InvalidValueError(
            'overview must be a share of the size, from 0 (none) to below 1, such as 0.5, got '
            f'{share!r}'
        )
    return share


def look_over(
    refine_pass: RefinePass, image: Tensor, mask: Tensor, strides: Sequence[int], share: float
) -> Tensor:
    """Overview: the cascade over the whole, shrunk image. The network sees more of the object at
    once and mends what is too large to be seen through from within, such as a lost limb.

    Args:
        refine_pass, image, mask, strides: as in :func:`run_cascade`.
        share: of the sides, above 0 and below 1.

    Returns:
        (B, 1, H, W) in [-1, 1], at the size of the image: the mask, and in place of all it differs
        from by more than strips of :data:`STRIP`, the overview's finest probability.
    """
    height, width = image.shape[-2:]
    size = [max(round(side * share / 8), 1) * 8 for side in (height, width)]  # as passes take it
    small, coarse = (F.interpolate(part, size=size, mode='area') for part in (image, mask))
    passes = _run_passes(refine_pass, small, coarse, strides, {}, strides[-1:])
    seen = passes[-1][strides[-1]].float().sigmoid() * 2 - 1
    # Opened (what is thin goes, the rest stays), and a pixel wider for what is resized.
    radius = max(round(STRIP * max(size)), 1)
    agree = ((seen - coarse).abs() <= 1).to(seen)
    differ = _dilate(1 - _dilate(agree, radius), radius + 1)
    seen, differ = (
        F.interpolate(part, size=(height, width), mode='bilinear', align_corners=False)
        for part in (seen, differ)
    )
    return torch.lerp(mask.to(seen), seen, differ)


def remove_detached(outputs: dict[int, Tensor], mask: Tensor) -> dict[int, Tensor]:
    """Take away what does not touch the coarse mask: a network that has learnt to mend large
    errors now and then finds another object elsewhere, which is no part of this one.

    Args:
        outputs: stride -> logits (B, 1, H, W) of a pass; connected pieces are those of the finest.
        mask: coarse mask, (B, 1, H, W) in [-1, 1].

    Returns:
        The same; in all strides logits are at most :data:`GONE` where a piece was.
    """
    finest = outputs[min(outputs)]
    logits, masks = (part.float().cpu().numpy()[:, 0] for part in (finest, mask))
    detached = np.zeros(logits.shape, bool)
    for logit, coarse, lost in zip(logits, masks, detached, strict=True):
        # Thin parts and small objects of a mask that was shrunk are faint.
        own = coarse > min(-0.9, (coarse.max() - 1) / 2)
        for level in (FAINT, 0.0):  # with its surroundings; also where a faint bridge leads to it
            pieces = ((logit > level) & ~lost).astype(np.uint8)
            count, labels = cv2.connectedComponents(pieces, connectivity=8)
            touching = np.zeros(count, bool)
            touching[labels[own]] = True
            touching[0] = True
            lost |= ~touching[labels]
    if not detached.any():
        return outputs
    lost = torch.from_numpy(detached)[:, None].to(finest.device)
    return {
        stride: torch.where(lost, value.clamp(max=GONE), value)
        for stride, value in outputs.items()
    }


def _dilate(value: Tensor, radius: int) -> Tensor:
    """The largest value in the square of ``2 * radius + 1`` pixels around each."""
    rows = F.max_pool2d(value, (2 * radius + 1, 1), stride=1, padding=(radius, 0))
    return F.max_pool2d(rows, (1, 2 * radius + 1), stride=1, padding=(0, radius))


def padded_cascade(
    refine_pass: RefinePass,
    image: Tensor,
    mask: Tensor,
    strides: Sequence[int] = STRIDES,
    given: dict[int, Tensor] | None = None,
    final: Sequence[int] | None = None,
    last: bool = False,
) -> dict[int, Tensor]:
    """The cascade for images of any size: padded, refined, cropped back.

    Args:
        refine_pass: see :data:`RefinePass`.
        image: (B, 3, H, W) normalised; padded with 0.
        mask: (B, 1, H, W) in [-1, 1], on any device; padded with -1.
        strides, given, final: as in :func:`run_cascade`; ``given`` is padded with -1.
        last: whether this ends the refinement, so that the finest probability is finished.

    Returns:
        stride -> (B, 1, H, W) float32 in [0, 1], on the network's device, per stride of ``final``.
    """
    height, width = image.shape[-2:]
    given = {stride: pad(value.to(image.device), -1.0) for stride, value in (given or {}).items()}
    mask = pad(mask.to(image.device), -1.0)
    outputs = run_cascade(refine_pass, pad(image), mask, strides, given=given, final=final)
    probabilities = {
        stride: logits[..., :height, :width].float().sigmoid()
        for stride, logits in outputs[-1].items()
    }
    if last:
        probabilities[strides[-1]] = finished(refine_pass, image, probabilities[strides[-1]])
    return probabilities


def finished(
    refine_pass: RefinePass,
    image: Tensor,
    probability: Tensor,
    normalize: Normalize | None = None,
) -> Tensor:
    """The finest probability, (B, 1, H, W), after the ``finish`` of a pass if it has one.

    Args:
        refine_pass: see :data:`RefinePass`.
        image: (B, 3, H, W), normalised, or not with ``normalize``.
        probability: on any device.
        normalize: applied to the image.
    """
    finish = getattr(refine_pass, 'finish', None)
    if finish is None:
        return probability
    image = image if normalize is None else normalize(image)
    return finish(image, probability.to(image.device))
