"""3x3 convolutions with fewer products."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_CHANNELS = 256
"""Of inputs and outputs: below, the transforms cost more than the products saved."""
MIN_TILES = 128
STRIP = 2**18
"""Tiles times channels that are transformed at once: 16 MB, about what stays in the cache."""
#: Kernel transform of F(2x2, 3x3).
_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 as Lavin and Gray's F(2x2, 3x3): 16 products for four outputs
    in the place of 36, as 16 matrix products. For full precision on the CPU, where PyTorch does
    without.

    All its factors are 0, 1 and 1/2, and its sums are shorter: against double precision its error
    is below that of the direct form. Inference alone: it has no gradient.

    Args:
        conv: what is computed; see :meth:`pays`. Small maps go through it as before.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        transform = torch.tensor(_KERNEL, dtype=torch.float64)
        kernels = torch.einsum('ij,ocjk,lk->ilco', transform, conv.weight.double(), transform)
        self.register_buffer('kernels', kernels.flatten(0, 1).to(conv.weight.dtype))

    @staticmethod
    def pays(conv: nn.Module) -> bool:
        """Whether a module is a convolution that is computed faster so."""
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
        if apart > 1:  # every so manieth row and column is a picture of its own
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
