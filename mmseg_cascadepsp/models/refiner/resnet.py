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
    """MMSeg's ResNet over image and mask channels, with the skips that the refinement head reads
    (paper, section 3.1).

    Two things differ from :class:`mmseg.models.ResNet`: the first skip is the stem convolution's
    response **before** its normalisation, as in the authors' release, and the width of each stage
    can be given.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: 3 of the image and those of the masks.
        stage_channels: width of each stage (its bottleneck's inner width, for 50 layers or more);
            by default ``base_channels`` times 1, 2, 4, 8.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` takes ImageNet weights of three
            channels too: those of the mask channels start at zero.
        kwargs: see :class:`mmseg.models.ResNet`.
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
        """Build one stage; ``stage_channels`` replaces the doubling of widths."""
        if self.stage_channels is not None:
            stage = len(self.res_layers)
            kwargs['planes'] = self.stage_channels[stage]
            if stage > 0:
                kwargs['inplanes'] = self.stage_channels[stage - 1] * self.block.expansion
        return super().make_res_layer(**kwargs)

    @property
    def stem_conv(self) -> nn.Conv2d:
        """The convolution over image and mask channels."""
        return self.conv1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, in_channels, H, W) -> stem response (/2, before its norm), first stage (/4), last
        stage.
        """
        return self.from_stem(self.stem_response(x, self.stem_conv), x.shape[-2:])

    def stem_response(self, x: Tensor, conv: nn.Module) -> Tensor:
        """Response of ``conv``, the stem's convolution or that over some of its channels."""
        return conv(x)

    def from_stem(self, stem: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """What :meth:`forward` returns, from the stem's response to an input of ``size``."""
        x = self.maxpool(self.relu(self.norm1(stem)))
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i == 0:
                first = x
        return stem, first, x

    def init_weights(self) -> None:
        """Initialise; ImageNet weights of three input channels are widened by zeros.

        Raises:
            OSError: the file of ``init_cfg`` cannot be had.
            ValueError: it does not fit.
        """
        cfg = self.init_cfg
        if not (isinstance(cfg, dict) and cfg.get('type') == 'Pretrained'):
            return super().init_weights()
        source = cfg['checkpoint']
        try:
            state = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        except OSError as error:
            raise FileError(
                f'init_cfg: {source} cannot be read ({error}); give the file with --cfg-options '
                'model.backbone.init_cfg.checkpoint=FILE, or start without it with '
                'model.backbone.init_cfg=None'
            ) from error
        state = dict(state.get('state_dict', state))
        weight = state.get('conv1.weight')
        if weight is not None and weight.shape[1] < self.conv1.in_channels:
            state['conv1.weight'] = torch.zeros_like(self.conv1.weight)
            state['conv1.weight'][:, : weight.shape[1]] = weight
        lacking = self.load_state_dict(state, strict=False).missing_keys
        if lacking:
            raise InvalidValueError(
                f'init_cfg: {source} does not fit ResNet-{self.depth}: it lacks '
                f'{", ".join(lacking[:3])}'
            )
        self._is_init = True
