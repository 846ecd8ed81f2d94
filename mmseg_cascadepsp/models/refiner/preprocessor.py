"""Data preprocessor that joins image and coarse mask."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError


@MODELS.register_module()
class RefinementPreProcessor(SegDataPreProcessor):
    """MMSeg's data preprocessor that appends the coarse mask to the image as a fourth channel.

    ``data_samples[i].coarse_mask``, uint8 (1, H, W) in 0..255, becomes a channel in [-1, 1].
    Images come in BGR and leave in RGB if ``bgr_to_rgb=True``.

    Args:
        size_divisor: Height and width are padded to multiples of this.
        seg_pad_val: Label of padded pixels in the ground truth.
        kwargs: See :class:`mmseg.models.SegDataPreProcessor`.

    Example:
        >>> preprocessor = RefinementPreProcessor(mean=[127.5] * 3, std=[127.5] * 3)
        >>> preprocessor.normalize(torch.full((1, 3, 2, 2), 255)).max()
        tensor(1.)
    """

    def __init__(self, size_divisor: int = 8, seg_pad_val: int = 0, **kwargs) -> None:
        super().__init__(size_divisor=size_divisor, seg_pad_val=seg_pad_val, **kwargs)

    def normalize(self, image: Tensor) -> Tensor:
        """Normalise images.

        Args:
            image: (B, 3, H, W), RGB, uint8 or float in 0..255.

        Returns:
            (B, 3, H, W) float32 on the device of the model.
        """
        return (image.to(self.mean.device, torch.float32) - self.mean) / self.std

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Stack and normalise a batch.

        Args:
            data: ``inputs``, a list of (3, H, W) uint8 images, and ``data_samples``. Without
                samples no mask is appended.
            training: Whether the batch is for training.

        Returns:
            The batch, with ``inputs`` (B, 4, H, W) float32.

        Raises:
            InvalidValueError: A sample has no coarse mask, or one larger than its image.
        """
        data = super().forward(data, training)
        inputs, samples = data['inputs'], data['data_samples']
        if not samples:
            return data
        masks = []
        for sample in samples:
            if 'coarse_mask' not in sample:
                raise InvalidValueError(
                    'data_samples: a sample has no coarse_mask. Put PackRefinementInputs at the '
                    'end of the pipeline, after PerturbMask or a dataset that gives coarse_path.'
                )
            mask = sample.coarse_mask.data.to(inputs) / 127.5 - 1
            lack = (inputs.shape[-1] - mask.shape[-1], inputs.shape[-2] - mask.shape[-2])
            if min(lack) < 0:
                raise InvalidValueError(
                    f'data_samples: got a coarse_mask of {tuple(mask.shape[-2:])} for an image of '
                    f'{tuple(inputs.shape[-2:])}. Transforms must resize and crop both alike.'
                )
            masks.append(F.pad(mask, (0, lack[0], 0, lack[1]), value=-1))
        data['inputs'] = torch.cat((inputs, torch.stack(masks)), dim=1)
        return data
