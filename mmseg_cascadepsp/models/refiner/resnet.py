"""The six-channel ResNet of the refinement module."""

from collections.abc import Sequence

import torch
from mmengine.runner import CheckpointLoader
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_cascadepsp.errors import FileError, InvalidValueError


@MODELS.register_module()
class RefinementResNet(ResNet):
    """MMSeg's ResNet over image and masks, with the skip connections of the refinement head.

    It differs from :class:`mmseg.models.ResNet` in two ways. The first skip connection is the
    output of the stem's convolution **before** its normalisation, as in the authors' release. The
    width of each stage can be given.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of image and masks together.
        stage_channels: Width of each stage. For 50 layers and more it is the inner width of the
            bottlenecks. By default ``base_channels`` times 1, 2, 4 and 8.
        kwargs: See :class:`mmseg.models.ResNet`. With ``init_cfg=dict(type='Pretrained',
            checkpoint=...)``, ImageNet weights of three input channels are accepted, too. Weights
            of the mask channels then start at zero.

    Example:
        >>> layout = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), norm_cfg=dict(type='BN'))
        >>> backbone = RefinementResNet(
        ...     18, stem_channels=8, stage_channels=(8, 8, 8, 8), **layout
        ... )
        >>> [tuple(feature.shape[1:]) for feature in backbone(torch.zeros(1, 6, 32, 32))]
        [(8, 16, 16), (8, 8, 8), (8, 4, 4)]
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 6,
        stage_channels: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        self.stage_channels = stage_channels
        super().__init__(depth, in_channels=in_channels, **kwargs)

    def make_res_layer(self, **kwargs):
        """Build one stage, of the width in ``stage_channels`` if that is given."""
        if self.stage_channels is not None:
            stage = len(self.res_layers)
            kwargs['planes'] = self.stage_channels[stage]
            if stage > 0:
                kwargs['inplanes'] = self.stage_channels[stage - 1] * self.block.expansion
        return super().make_res_layer(**kwargs)

    @property
    def stem_conv(self) -> nn.Conv2d:
        """Convolution of the stem, which reads image and masks."""
        return self.conv1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute features.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            Output of the stem's convolution (stride 2), of the first stage (stride 4) and of the
            last stage.
        """
        return self.from_stem(self.stem_response(x, self.stem_conv), x.shape[-2:])

    def stem_response(self, x: Tensor, conv: nn.Module) -> Tensor:
        """Apply the stem's convolution, or a part of it that reads some of the channels.

        Args:
            x: (B, C, H, W), the channels that ``conv`` reads.
            conv: :attr:`stem_conv`, or a convolution over some of its input channels.

        Returns:
            (B, stem channels, H / 2, W / 2).
        """
        return conv(x)

    def from_stem(self, stem: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute what :meth:`forward` returns from the output of the stem's convolution.

        Args:
            stem: (B, stem channels, H / 2, W / 2).
            size: (H, W) of the input.

        Returns:
            See :meth:`forward`.
        """
        x = self.maxpool(self.relu(self.norm1(stem)))
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i == 0:
                first = x
        return stem, first, x

    def init_weights(self) -> None:
        """Initialise the weights. ImageNet weights of three channels get zeros for the masks.

        Raises:
            FileError: The checkpoint of ``init_cfg`` cannot be read.
            InvalidValueError: The checkpoint does not fit.
        """
        cfg = self.init_cfg
        if not (isinstance(cfg, dict) and cfg.get('type') == 'Pretrained'):
            return super().init_weights()
        source = cfg['checkpoint']
        try:
            state = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        except OSError as error:
            raise FileError(
                f'init_cfg: {source} cannot be read ({error}). Give the file with --cfg-options '
                'model.backbone.init_cfg.checkpoint=FILE, or start without it with '
                'model.backbone.init_cfg=None.'
            ) from error
        state = dict(state.get('state_dict', state))
        weight = state.get('conv1.weight')
        if weight is not None and weight.shape[1] < self.conv1.in_channels:
            state['conv1.weight'] = torch.zeros_like(self.conv1.weight)
            state['conv1.weight'][:, : weight.shape[1]] = weight
        lacking = self.load_state_dict(state, strict=False).missing_keys
        if lacking:
            raise InvalidValueError(
                f'init_cfg: {source} does not fit ResNet-{self.depth}: it has no '
                f'{", ".join(lacking[:3])}.'
            )
        self._is_init = True
