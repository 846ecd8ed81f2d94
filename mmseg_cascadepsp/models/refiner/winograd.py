"""Faster 3x3 convolutions for CPUs (Winograd)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_CHANNELS = 256
"""Least number of input and output channels that makes the transforms worth their cost."""
MIN_TILES = 128
"""Least number of tiles of 2x2 outputs. Smaller maps are convolved directly."""
STRIP = 2**18
"""Tiles times channels that are transformed at once. This is 16 MB, which fits the cache."""
#: Kernel transform of F(2x2, 3x3).
_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 by Winograd's method F(2x2, 3x3) (Lavin and Gray, 2016).

    It needs 16 products for four outputs instead of 36, computed as 16 matrix products. It is
    meant for float32 on CPUs, where PyTorch has no such kernel. Its rounding error is smaller than
    that of the direct form. It is for inference only and has no gradient.

    Args:
        conv: The convolution to compute, one that :meth:`pays` accepts. Small maps are still
            computed by ``conv`` itself.

    Example:
        >>> conv = nn.Conv2d(256, 256, 3, padding=1).requires_grad_(False)
        >>> x = torch.randn(1, 256, 32, 32)
        >>> torch.allclose(WinogradConv2d(conv)(x), conv(x), atol=1e-4)
        True
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        transform = torch.tensor(_KERNEL, dtype=torch.float64)
        kernels = torch.einsum('ij,ocjk,lk->ilco', transform, conv.weight.double(), transform)
        self.register_buffer('kernels', kernels.flatten(0, 1).to(conv.weight.dtype))

    @staticmethod
    def pays(conv: nn.Module) -> bool:
        """Whether Winograd's method makes a module faster."""
        return (
            type(conv) is nn.Conv2d
            and conv.kernel_size == (3, 3)
            and conv.stride == (1, 1)
            and conv.groups == 1
            and conv.padding == conv.dilation == (conv.dilation[0],) * 2
            and conv.padding_mode == 'zeros'
            and conv.weight.dtype in (torch.float32, torch.float64)
            and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        batch, channels, height, width = x.shape
        apart = self.conv.dilation[0]
        rows, columns = -(-height // apart), -(-width // apart)
        if batch * (apart * rows // 2) * (apart * columns // 2) < MIN_TILES:
            return self.conv(x)
        x = x.permute(0, 2, 3, 1)
        if apart > 1:  # dilation: split into images of every apart-th row and column
            x = F.pad(x, (0, 0, 0, columns * apart - width, 0, rows * apart - height))
            x = x.reshape(batch, rows, apart, columns, apart, channels)
            x = x.permute(0, 2, 4, 1, 3, 5).reshape(-1, rows, columns, channels)
        x = self._convolve(x)
        if apart > 1:
            x = x.reshape(batch, apart, apart, rows, columns, -1).permute(0, 3, 1, 4, 2, 5)
            x = x.reshape(batch, rows * apart, columns * apart, -1)[:, :height, :width]
        return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def _convolve(self, x: Tensor) -> Tensor:
        """(N, h, w, in_channels) -> (N, h, w, out_channels), padded with zeros."""
        number, height, width, channels = x.shape
        down, along = -(-height // 2), -(-width // 2)  # tiles of 2x2 outputs
        x = F.pad(x, (0, 0, 1, 2 * along - width + 1, 1, 2 * down - height + 1))
        out = x.new_empty(number, 2 * down, 2 * along, self.kernels.shape[-1])
        images = max(1, STRIP // (channels * down * along))
        lines = max(1, min(down, STRIP // (channels * along)))
        for first in range(0, number, images):
            for line in range(0, down, lines):
                part = x[first : first + images, 2 * line : 2 * (line + lines) + 2]
                target = out[first : first + images, 2 * line : 2 * (line + lines)]
                self._convolve_strip(part, target)
        return out[:, :height, :width]

    def _convolve_strip(self, x: Tensor, out: Tensor) -> None:
        """(n, 2 k + 2, 2 t + 2, in_channels) -> out, (n, 2 k, 2 t, out_channels)."""
        number, height, width, channels = x.shape
        lines, along = height // 2 - 1, width // 2 - 1
        a, b, c, d = (x[:, i : i + 2 * lines - 1 : 2] for i in range(4))
        tiles = x.new_empty(4, 4, number, lines, along, channels)
        for tile, line in zip(tiles, (a - c, b + c, c - b, b - d), strict=True):
            p, q, r, s = (line[:, :, i : i + 2 * along - 1 : 2] for i in range(4))
            torch.sub(p, r, out=tile[0])
            torch.add(q, r, out=tile[1])
            torch.sub(r, q, out=tile[2])
            torch.sub(q, s, out=tile[3])
        products = torch.bmm(tiles.view(16, -1, channels), self.kernels)
        products = products.view(4, 4, number, lines, along, -1)
        if self.conv.bias is not None:
            products[1, 1] += self.conv.bias  # what all four outputs add once
        upper = (products[0] + products[1]).add_(products[2])
        lower = (products[1] - products[2]).sub_(products[3])
        for i, (p, q, r, s) in enumerate((upper, lower)):
            torch.add(p + q, r, out=out[:, i::2, 0::2])
            torch.sub(q - r, s, out=out[:, i::2, 1::2])
