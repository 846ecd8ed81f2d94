"""One pass of the refiner in a form that can be exported for any input size."""

import copy

import torch
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from torch import Tensor, nn

from .cascade_psp import CascadePSP
from .inference import FastNetwork


class PortableNetwork(nn.Module):
    """Copy of a :class:`CascadePSP` that ``torch.export`` can export with dynamic sizes.

    Its results are those of the model up to rounding. Norms are folded into convolutions, paddings
    that depend on the input size become constant, and adaptive pooling becomes
    :func:`pool_by_products`.

    Args:
        model: The refiner, with a backbone that :class:`FastNetwork` accepts. It is not changed.

    Example:
        >>> from mmseg_cascadepsp.models.refiner.zoo import build_model
        >>> network = PortableNetwork(build_model('lite')[0])
        >>> image, masks = torch.zeros(2, 1, 3, 16, 24)
        >>> [tuple(logits.shape) for logits in network(image, masks)]
        [(1, 1, 16, 24), (1, 1, 16, 24), (1, 1, 16, 24)]
    """

    def __init__(self, model: CascadePSP) -> None:
        super().__init__()
        network = FastNetwork(model)
        self.strides = tuple(model.cascade_strides)
        self.backbone, self.decode_head = network.backbone, network.decode_head
        self.decode_head.losses = nn.ModuleDict()
        self.decode_head.psp.pool = pool_by_products
        _fix_paddings(self.backbone)
        self.eval()

    def forward(self, image: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        """Run one pass.

        Args:
            image: (B, 3, H, W), normalised. H and W are multiples of 8.
            masks: (B, 3, H, W) in [-1, 1].

        Returns:
            Logits (B, 1, H, W) of each stride, from coarse to fine.
        """
        backbone = self.backbone
        stem = backbone.stem_response(torch.cat((image, masks), dim=1), backbone.stem_conv)
        feats = backbone.from_stem(stem, image.shape[-2:])
        return tuple(self.decode_head(feats, image, self.strides).values())


def pool_by_products(x: Tensor, size: int) -> Tensor:
    """``F.adaptive_avg_pool2d(x, size)`` as two matrix products, for inputs of dynamic size.

    Args:
        x: (B, C, H, W).
        size: Side of the grid.

    Returns:
        (B, C, size, size).

    Example:
        >>> x = torch.rand(1, 2, 7, 10)
        >>> expected = torch.nn.functional.adaptive_avg_pool2d(x, 3)
        >>> torch.allclose(pool_by_products(x, 3), expected, atol=1e-6)
        True
    """
    height, width = x.shape[-2:]
    along = _averages(width, size, x).transpose(0, 1)
    return _averages(height, size, x) @ (x @ along)


def _averages(length: int, size: int, like: Tensor) -> Tensor:
    """Matrix (size, length) whose row i averages the pixels of cell i.

    The cell goes from ``floor(i * length / size)`` to ``ceil((i + 1) * length / size)``.
    """
    cells = torch.arange(size, device=like.device)[:, None]
    pixels = torch.arange(length, device=like.device)[None]
    first = cells * length // size
    end = ((cells + 1) * length + size - 1) // size
    inside = (pixels >= first) & (pixels < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)


def _fix_paddings(module: nn.Module) -> None:
    """Replace convolutions whose padding depends on the input size by ones of constant padding.

    Both pad alike, because all inputs are multiples of the stride.
    """
    for name, child in module.named_children():
        if isinstance(child, Conv2dAdaptivePadding):
            lacks = [
                max(dilation * (kernel - 1) + 1 - stride, 0)
                for kernel, stride, dilation in zip(
                    child.kernel_size, child.stride, child.dilation, strict=True
                )
            ]
            conv = copy.copy(child)
            conv.__class__ = nn.Conv2d
            down, along = lacks
            pad = nn.ZeroPad2d((along // 2, along - along // 2, down // 2, down - down // 2))
            setattr(module, name, nn.Sequential(pad, conv))
        else:
            _fix_paddings(child)
