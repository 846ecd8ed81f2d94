"""The refinement module's decoder: pyramid pooling, upsampling blocks, one output per stride
(paper, section 3.1 and Fig. 2).
"""

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError

#: Stride of the backbone's last feature map, and of the pyramid pooling's output.
FEATURE_STRIDE = 8


def _resize(x: Tensor, **kwargs) -> Tensor:
    return F.interpolate(x, mode='bilinear', align_corners=False, **kwargs)


class PyramidPooling(BaseModule):
    """PSPNet's pyramid pooling as the release has it: no norm or activation in its branches.

    The bottleneck is linear and commutes with the bilinear resize of the branches, so each slice
    of its weight is applied on the branch's own small grid: the same result (8e-7) without the
    concatenated map of five times the channels.

    Args:
        in_channels: channels of the feature map.
        out_channels: channels after the bottleneck.
        pool_sizes: sides of the pooled grids.
    """

    #: What averages a map over a grid of that side.
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
        """(B, in_channels, h, w) -> (B, out_channels, h, w)."""
        *slices, last = self.bottleneck.weight.split(x.shape[1], dim=1)
        out = F.conv2d(x, last, self.bottleneck.bias)
        for size, stage, weight in zip(self.pool_sizes, self.stages, slices, strict=True):
            branch = F.conv2d(stage(self.pool(x, size)), weight)
            out += _resize(branch, size=x.shape[-2:])
        return F.relu(out, inplace=True)


class UpsamplingBlock(BaseModule):
    """Bilinear x2, then two pre-activation residual blocks over the features and a skip.

    Args:
        in_channels: channels of the coarser features.
        skip_channels: channels of the skip.
        out_channels: channels of the result.
        norm_cfg: normalisation layer.
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
        """(B, in_channels, h, w) and (B, skip_channels, 2h, 2w) -> (B, out_channels, 2h, 2w)."""
        # 1x1 convolution and bilinear resize commute; before the resize it has a quarter of the
        # pixels.
        shortcut = _resize(self.shortcut(x), scale_factor=2)
        x = _resize(x, scale_factor=2)
        # Under autocast a float32 skip would make the whole concatenation float32.
        p = self.conv(torch.cat((x, skip.to(x.dtype)), dim=1)).add_(shortcut)
        return self.conv2(p).add_(p)


@MODELS.register_module()
class RefinementHead(BaseModule):
    """Decoder of the refinement module: one segmentation output per stride.

    Args:
        in_channels: channels of the backbone's stem response (/2), first stage (/4) and last stage
            (/8).
        pool_channels: channels after the pyramid pooling.
        up_channels: channels after the upsampling blocks at strides 4, 2 and 1.
        out_channels: hidden channels of the outputs.
        pool_sizes: sides of the pyramid pooling's grids.
        strides: output strides, coarse to fine, out of 8, 4, 2 and 1: the levels of the cascade.
        norm_cfg: normalisation of the upsampling blocks.
        losses: for each stride, as ``s8``, ``s4``, ``s1``, the losses of every output of that
            stride. Those with an attribute ``soft_target`` get the truth as floats in [0, 1]; all
            others (MMSeg's own) the labels 0 and 1.
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
            raise InvalidValueError(f'strides must fall, each one of 8, 4, 2 and 1, got {strides}')
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
                    # The finest output sees the image once more.
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
        """Decode.

        Args:
            feats: the backbone's stem response, first stage, last stage.
            image: normalised image, (B, 3, H, W).
            strides: outputs wanted; all by default. Nothing finer than the finest is computed.

        Returns:
            stride -> logits (B, 1, H, W).
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
        """Losses of all outputs of all passes (paper, section 3.1, "Loss").

        Args:
            passes: what :func:`~mmseg_cascadepsp.cascade.run_cascade` returned.
            truth: (B, 1, H, W) float in [0, 1].

        Returns:
            ``pass1.s8.loss_ce`` and so on -> scalar.
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
