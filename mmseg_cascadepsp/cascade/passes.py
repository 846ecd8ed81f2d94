"""The passes of one network, coarse to fine (paper, Fig. 4 and Fig. 5)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .network import Passes

#: Slots of the mask channels behind the coarse mask itself.
SLOTS = (8, 4)


def mask_channels(mask: Tensor, intermediate: dict[int, Tensor]) -> Tensor:
    """The three mask channels of a pass: coarse mask, slot of stride 8, slot of stride 4.

    A slot without an output of its own stride takes that of the next coarser stride. Where there
    is none, it takes the coarse mask.

    Args:
        mask: Coarse mask, (B, 1, H, W) in [-1, 1].
        intermediate: stride -> (B, 1, H, W) in [-1, 1].

    Returns:
        (B, 3, H, W).

    Example:
        >>> import torch
        >>> channels = mask_channels(torch.ones(1, 1, 8, 8), {8: torch.zeros(1, 1, 8, 8)})
        >>> channels.mean((0, 2, 3))
        tensor([1., 0., 0.])
    """
    channels = [mask]
    for slot in SLOTS:
        coarser = [stride for stride in intermediate if stride >= slot]
        channels.append(intermediate[min(coarser)] if coarser else mask)
    return torch.cat(channels, dim=1)


def run_cascade(
    passes: Passes,
    mask: Tensor,
    strides: Sequence[int],
    given: dict[int, Tensor] | None = None,
    final: Sequence[int] | None = None,
) -> list[dict[int, Tensor]]:
    """Run the passes of a cascade (paper, sections 3.2.1 and 3.2.2).

    Pass ``k`` gives ``strides[:k + 1]``. Its logits, through tanh, are mask channels of pass
    ``k + 1``. The paper's Global step has the strides ``(8, 4, 1)``. Those of its ablations
    are ``(8, 1)``, ``(1,)`` and ``(8,)`` (Table 1).

    Args:
        passes: Passes over an image, see :meth:`~mmseg_cascadepsp.cascade.Network.for_image`.
        mask: Coarse mask, (B, 1, H, W) in [-1, 1].
        strides: Output strides, coarse to fine.
        given: Intermediates that exist already, stride -> (B, 1, H, W) in [-1, 1], used as they
            are. The pass that would only make ``strides[0]`` is left out then: so the Local step
            starts from the Global step's stride-4 output.
        final: Strides that the caller reads of the last pass, all by default. What nobody reads
            is not computed.

    Returns:
        For each pass: stride -> logits (B, 1, H, W).

    Example:
        >>> import torch
        >>> passes = lambda masks, strides: {stride: masks[:, :1] for stride in strides}
        >>> [tuple(outputs) for outputs in run_cascade(passes, torch.ones(1, 1, 8, 8), (8, 4, 1))]
        [(8,), (8, 4), (8, 4, 1)]
    """
    intermediate = dict(given or {})
    outputs = []
    for last in range(1 if given else 0, len(strides)):
        is_last = last == len(strides) - 1
        wanted = final if is_last and final is not None else strides[: last + 1]
        outputs.append(passes(mask_channels(mask, intermediate), tuple(wanted)))
        if not is_last:
            intermediate |= {stride: torch.tanh(logits) for stride, logits in outputs[-1].items()}
    return outputs
