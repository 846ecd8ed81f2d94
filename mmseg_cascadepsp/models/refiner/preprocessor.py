"""Image and coarse mask on their way into the network."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError


@MODELS.register_module()
class RefinementPreProcessor(SegDataPreProcessor):
    """MMSeg's preprocessor, with the coarse mask as a fourth channel behind the image.

    ``data_samples[i].coarse_mask`` (uint8, (1, H, W), 0..255) becomes a channel in [-1, 1]. Colour
    order: BGR in, RGB out with ``bgr_to_rgb=True``.

    Args:
        kwargs: see :class:`mmseg.models.SegDataPreProcessor`. What is padded in a batch of unequal
            crops is background.
    """

    def __init__(self, size_divisor: int = 8, seg_pad_val: int = 0, **kwargs) -> None:
        super().__init__(size_divisor=size_divisor, seg_pad_val=seg_pad_val, **kwargs)

    def normalize(self, image: Tensor) -> Tensor:
        """RGB (B, 3, H, W), uint8 or float 0..255 -> normalised float32 on the model's device."""
        return (image.to(self.mean.device, torch.float32) - self.mean) / self.std

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Stack and normalise; ``inputs`` becomes (B, 4, H, W).

        Raises:
            ValueError: a sample has no coarse mask, or one larger than its image.
        """
        data = super().forward(data, training)
        inputs, samples = data['inputs'], data['data_samples']
        if not samples:
            return data
        masks = []
        for sample in samples:
            if 'coarse_mask' not in sample:
                raise InvalidValueError(
                    'data_samples: a sample has no coarse_mask; end the pipeline with '
                    'PackRefinementInputs, after PerturbMask or a dataset with a coarse_path'
                )
            mask = sample.coarse_mask.data.to(inputs) / 127.5 - 1
            lack = (inputs.shape[-1] - mask.shape[-1], inputs.shape[-2] - mask.shape[-2])
            if min(lack) < 0:
                raise InvalidValueError(
                    f'data_samples: a coarse_mask of {tuple(mask.shape[-2:])} for an image of '
                    f'{tuple(inputs.shape[-2:])}; a transform changed one without the other'
                )
            masks.append(F.pad(mask, (0, lack[0], 0, lack[1]), value=-1))
        data['inputs'] = torch.cat((inputs, torch.stack(masks)), dim=1)
        return data
