"""Decoder of the refinement module (paper, section 3.1 and Fig. 2)."""

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError

#: Stride of the backbone's last feature map and of the pyramid pooling.
FEATURE_STRIDE = 8


def _resize(x: Tensor, **kwargs) -> Tensor:
    return F.interpolate(x, mode='bilinear', align_corners=False, **kwargs)


class PyramidPooling(BaseModule):
    """PSPNet's pyramid pooling, without norms and activations in its branches as in the release.

    The 1x1 bottleneck is applied to each branch before the branch is enlarged. Both steps are
    linear, so the result is the same, and no concatenated map of five times the channels is
    needed.

    Args:
        in_channels: Channels of the feature map.
        out_channels: Channels after the bottleneck.
        pool_sizes: Sides of the pooled grids.

    Example:
        >>> PyramidPooling(4, 8)(torch.zeros(1, 4, 10, 12)).shape
        torch.Size([1, 8, 10, 12])
    """

    #: Function that averages a map over a grid of the given side.
    pool = staticmethod(F.adaptive_avg_pool2d)

    def __init__(
        self, in_channels: int, out_channels: int, pool_sizes: Sequence[int] = (1, 2, 3, 6)
    ) -> None:
        super().__init__()
        self.pool_sizes = tuple(pool_sizes)
        self.stages = nn.ModuleList(
            nn.Conv2d(in_channels, in_channels, 1, bias=False) for _ in pool_sizes
        )
        self.bottleneck = nn.Conv2d(in_channels * (len(pool_sizes) + 1), out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a feature map.

        Args:
            x: (B, in_channels, h, w).

        Returns:
            (B, out_channels, h, w).
        """
        *slices, last = self.bottleneck.weight.split(x.shape[1], dim=1)
        out = F.conv2d(x, last, self.bottleneck.bias)
        for size, stage, weight in zip(self.pool_sizes, self.stages, slices, strict=True):
            branch = F.conv2d(stage(self.pool(x, size)), weight)
            out += _resize(branch, size=x.shape[-2:])
        return F.relu(out, inplace=True)


class UpsamplingBlock(BaseModule):
    """Bilinear upsampling by 2, then two pre-activation residual blocks with a skip connection.

    Args:
        in_channels: Channels of the coarser features.
        skip_channels: Channels of the skip connection.
        out_channels: Channels of the result.
        norm_cfg: Config of the normalisation layers.

    Example:
        >>> block = UpsamplingBlock(4, 3, 2, dict(type='BN'))
        >>> block(torch.zeros(1, 4, 5, 6), torch.zeros(1, 3, 10, 12)).shape
        torch.Size([1, 2, 10, 12])
    """

    def __init__(
        self, in_channels: int, skip_channels: int, out_channels: int, norm_cfg: dict
    ) -> None:
        super().__init__()
        self.conv = self._two_convs(in_channels + skip_channels, out_channels, norm_cfg)
        self.conv2 = self._two_convs(out_channels, out_channels, norm_cfg)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    @staticmethod
    def _two_convs(in_channels: int, out_channels: int, norm_cfg: dict) -> nn.Sequential:
        layers = []
        for channels in (in_channels, out_channels):
            layers += [
                build_norm_layer(norm_cfg, channels)[1],
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, out_channels, 3, padding=1),
            ]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Upsample features.

        Args:
            x: (B, in_channels, h, w).
            skip: (B, skip_channels, 2h, 2w).

        Returns:
            (B, out_channels, 2h, 2w).
        """
        # The 1x1 convolution gives the same result after the resize, on four times the pixels.
        shortcut = _resize(self.shortcut(x), scale_factor=2)
        # Under autocast a float32 skip would make the whole concatenation float32.
        x = torch.cat((_resize(x, scale_factor=2), skip.to(x.dtype)), dim=1)
        # One by one, so that each map is freed with the next one: these are the largest of all.
        for layer in self.conv:
            x = layer(x)
        p = x.add_(shortcut)
        return self.conv2(p).add_(p)


@MODELS.register_module()
class RefinementHead(BaseModule):
    """Decoder of the refinement module with one segmentation output per stride.

    Args:
        in_channels: Channels of the backbone's three outputs, which are the response of the stem
            (stride 2), the first stage (stride 4) and the last map (stride 8).
        pool_channels: Channels after the pyramid pooling.
        up_channels: Channels after the upsampling blocks of stride 4, 2 and 1.
        out_channels: Hidden channels of each output.
        pool_sizes: Sides of the grids of the pyramid pooling.
        strides: Output strides, which are the levels of the cascade. Each is 8, 4, 2 or 1, from
            coarse to fine.
        norm_cfg: Config of the normalisation layers, batch norm by default.
        losses: Configs of the losses of each stride, under ``s8``, ``s4`` and so on. A loss with
            the attribute ``soft_target`` gets the ground truth as floats in [0, 1]. Other losses,
            such as MMSeg's, get labels 0 and 1.
        init_cfg: See :class:`mmengine.model.BaseModule`.

    Raises:
        InvalidValueError: ``strides`` are not among 8, 4, 2 and 1, or do not decrease.

    Example:
        >>> head = RefinementHead((4, 4, 4), 4, (4, 4, 4), strides=(8, 1))
        >>> feats = [torch.zeros(2, 4, 48 // s, 48 // s) for s in (2, 4, 8)]
        >>> outputs = head(feats, torch.zeros(2, 3, 48, 48))
        >>> {stride: tuple(logits.shape) for stride, logits in outputs.items()}
        {8: (2, 1, 48, 48), 1: (2, 1, 48, 48)}
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 256, 2048),
        pool_channels: int = 1024,
        up_channels: Sequence[int] = (512, 256, 32),
        out_channels: int = 32,
        pool_sizes: Sequence[int] = (1, 2, 3, 6),
        strides: Sequence[int] = (8, 4, 1),
        norm_cfg: dict | None = None,
        losses: dict[str, list[dict]] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        strides = tuple(strides)
        if (
            not strides
            or list(strides) != sorted(set(strides), reverse=True)
            or not set(strides) <= {8, 4, 2, 1}
        ):
            raise InvalidValueError(
                f'strides must be among 8, 4, 2 and 1 and decrease, got {strides}.'
            )
        self.strides = strides
        norm_cfg = norm_cfg or dict(type='BN')
        stem, first, last = in_channels
        self.psp = PyramidPooling(last, pool_channels, pool_sizes)
        self.ups = nn.ModuleList()
        widths = {FEATURE_STRIDE: pool_channels}
        for stride, skip, width in zip((4, 2, 1), (first, stem, 3), up_channels, strict=True):
            if stride < strides[-1]:
                break
            self.ups.append(UpsamplingBlock(widths[2 * stride], skip, width, norm_cfg))
            widths[stride] = width
        self.outputs = nn.ModuleDict(
            {
                str(stride): nn.Sequential(
                    # The finest output reads the image, too.
                    nn.Conv2d(widths[stride] + (3 if stride == 1 else 0), out_channels, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(out_channels, 1, 1),
                )
                for stride in strides
            }
        )
        self.losses = nn.ModuleDict()
        for name, cfgs in (losses or {}).items():
            self.losses[name] = nn.ModuleList(MODELS.build(cfg) for cfg in cfgs)

    def forward(
        self, feats: Sequence[Tensor], image: Tensor, strides: Sequence[int] | None = None
    ) -> dict[int, Tensor]:
        """Decode features.

        Args:
            feats: The three outputs of the backbone, of stride 2, 4 and 8.
            image: (B, 3, H, W), normalised.
            strides: Strides of the outputs to return, all by default. Levels that are finer than
                all of these are not computed.

        Returns:
            Logits (B, 1, H, W) of each stride.
        """
        strides = self.strides if strides is None else strides
        stem, first, last = feats
        x = self.psp(last)
        outputs = {}
        for level, stride in enumerate((8, 4, 2, 1)):
            if stride < min(strides):
                break
            if level > 0:
                x = self.ups[level - 1](x, (first, stem, image)[level - 1])
            if stride in strides:
                features = torch.cat((x, image.to(x.dtype)), dim=1) if stride == 1 else x
                logits = self.outputs[str(stride)](features)
                outputs[stride] = logits if stride == 1 else _resize(logits, scale_factor=stride)
        return outputs

    def loss(self, passes: Sequence[dict[int, Tensor]], truth: Tensor) -> dict[str, Tensor]:
        """Compute the losses of all outputs of all passes (paper, section 3.1, "Loss").

        Args:
            passes: Result of :func:`~mmseg_cascadepsp.cascade.run_cascade`.
            truth: (B, 1, H, W) float in [0, 1].

        Returns:
            Scalars under names such as ``pass1.s8.loss_ce``.
        """
        labels = (truth > 0.5).long().squeeze(1)
        result = {}
        for number, outputs in enumerate(passes, 1):
            for stride, logits in outputs.items():
                for loss in self.losses[f's{stride}']:
                    target = truth if getattr(loss, 'soft_target', False) else labels
                    result[f'pass{number}.s{stride}.{loss.loss_name}'] = loss(
                        logits.float(), target
                    )
        return result
