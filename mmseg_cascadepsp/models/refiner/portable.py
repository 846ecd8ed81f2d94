"""The refiner's pass as a graph that other runtimes take: one function of two tensors, of any
size.
"""

import copy

import torch
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from torch import Tensor, nn

from .cascade_psp import CascadePSP
from .inference import FastNetwork


class PortableNetwork(nn.Module):
    """A :class:`CascadePSP` as ``torch.export`` takes it with sizes left open: its function, to
    rounding, without anything that is decided by a size.

    Norms are folded, paddings that depend on the size are fixed (all maps that have them are of
    even size), and adaptive pooling is :func:`pool_by_products`.

    Args:
        model: has a backbone that :class:`FastNetwork` takes.
            It stays as it is.
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
        """One pass.

        Args:
            image: (B, 3, H, W), normalised; H and W multiples of 8.
            masks: (B, 3, H, W) in [-1, 1].

        Returns:
            Logits (B, 1, H, W) of each stride of ``strides``.
        """
        backbone = self.backbone
        stem = backbone.stem_response(torch.cat((image, masks), dim=1), backbone.stem_conv)
        feats = backbone.from_stem(stem, image.shape[-2:])
        return tuple(self.decode_head(feats, image, self.strides).values())


def pool_by_products(x: Tensor, size: int) -> Tensor:
    """``F.adaptive_avg_pool2d(x, size)`` as two matrix products, whose matrices are made of the
    size of ``x`` within the graph.

    Args:
        x: (B, C, H, W).
        size: side of the grid.

    Returns:
        (B, C, size, size).
    """
    height, width = x.shape[-2:]
    along = _averages(width, size, x).transpose(0, 1)
    return _averages(height, size, x) @ (x @ along)


def _averages(length: int, size: int, like: Tensor) -> Tensor:
    """(size, length): row ``i`` averages from ``floor(i length / size)`` up to
    ``ceil((i + 1) length / size)``.
    """
    cells = torch.arange(size, device=like.device)[:, None]
    pixels = torch.arange(length, device=like.device)[None]
    first = cells * length // size
    end = ((cells + 1) * length + size - 1) // size
    inside = (pixels >= first) & (pixels < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)


def _fix_paddings(module: nn.Module) -> None:
    """Replace convolutions that pad by the size of their input, which is a multiple of their
    stride, by such as pad always the same.
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
