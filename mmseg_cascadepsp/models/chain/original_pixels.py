"""Where the wrapper gets a photo's own pixels and a label map of their size from."""

import functools
import logging

import cv2
import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine import fileio
from mmengine.logging import print_log
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_cascadepsp.errors import InvalidValueError


@functools.cache
def _say_once(sentence: str) -> None:
    print_log(sentence, logger='current', level=logging.WARNING)


def original_pixels(
    sample: SegDataSample,
    size: tuple[int, int],
    inputs: Tensor | None = None,
    preprocessor: nn.Module | None = None,
) -> Tensor:
    """The photo at its original resolution.

    Taken from the first of these that has it: ``sample.ori_img`` (RGB uint8 (H, W, 3), of
    :class:`~mmseg_cascadepsp.datasets.KeepOriginalImage`), the file ``sample.img_path``, the
    de-normalised input of the segmentor. If that one is smaller or larger than the photo was, it
    is resized, and a warning says so.

    Args:
        sample: Its meta information is read.
        size: (H, W) of the photo.
        inputs: (3, h, w), what the segmentor saw.
        preprocessor: An :class:`mmseg.models.SegDataPreProcessor`, which made ``inputs``.

    Returns:
        RGB uint8 (3, H, W), on the CPU or where ``inputs`` is.

    Raises:
        ValueError: There is none of the three, or only an input that is no photo.
    """
    kept, path = sample.get('ori_img'), sample.get('img_path')
    lacks = []
    if kept is not None:
        if kept.shape == (*size, 3):
            return torch.from_numpy(np.ascontiguousarray(kept.transpose(2, 0, 1)))
        lacks.append(f'ori_img is of shape {kept.shape}')
    if path is not None:
        try:
            image = mmcv.imfrombytes(fileio.get(path), channel_order='rgb')
        except (OSError, ValueError, cv2.error) as error:
            image = None
            lacks.append(f'img_path cannot be read ({error})')
        if image is not None and image.shape == (*size, 3):
            return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        if image is not None:
            lacks.append(f'{path} is of shape {image.shape}')
    if (
        inputs is not None
        and inputs.shape[0] == 3
        and (preprocessor is None or hasattr(preprocessor, 'channel_conversion'))
    ):
        image = _denormalise(sample, inputs, preprocessor)
        if image.shape[-2:] != size:
            _say_once(
                f'refinement: the original pixels ({size[0]}x{size[1]}) are not at hand, so what '
                f'the segmentor saw ({image.shape[-2]}x{image.shape[-1]}) is resized; for a '
                'sharper result give a file, or put KeepOriginalImage behind the loading and '
                'PackRefinedInputs at the end of the pipeline'
            )
            image = F.interpolate(image[None], size=size, mode='bicubic', align_corners=False)[0]
        return image.round().clamp_(0, 255).to(torch.uint8)
    raise InvalidValueError(
        f'refinement needs the photo of {size[0]}x{size[1]} pixels, RGB, and none will do: '
        f'{"; ".join(lacks) or "the sample has neither ori_img nor img_path"}; the input is '
        f'{"missing" if inputs is None else f"of shape {tuple(inputs.shape)}"}. Put '
        'KeepOriginalImage behind the loading and PackRefinedInputs at the end of the pipeline.'
    )


def _denormalise(sample: SegDataSample, inputs: Tensor, preprocessor: nn.Module | None) -> Tensor:
    """What was before normalisation, padding, channel conversion and flip: RGB (3, h, w) float."""
    image = inputs.float()
    if getattr(preprocessor, '_enable_normalize', False):
        image = image * preprocessor.std.to(image) + preprocessor.mean.to(image)
    if preprocessor is not None and not preprocessor.channel_conversion:
        image = image.flip(0)  # it stayed as MMSeg loads it, BGR
    left, right, top, bottom = sample.get('img_padding_size', sample.get('padding_size', [0] * 4))
    image = image[:, top : image.shape[1] - bottom, left : image.shape[2] - right]
    if sample.get('flip'):
        image = image.flip(2 if sample.get('flip_direction') == 'horizontal' else 1)
    return image


def enlarge_labels(labels: Tensor, size: tuple[int, int], mode: str = 'bicubic') -> Tensor:
    """Resize a label map smoothly: the class whose resized mask is largest at a pixel.

    For two classes this is the paper's way of bringing low-resolution results to the photo's size
    (masks bicubic, cut at 0.5; section 4.2).

    Args:
        labels: (h, w), integer.
        size: (H, W) wanted.
        mode: See :func:`torch.nn.functional.interpolate`.

    Returns:
        (H, W), dtype of ``labels``.
    """
    best = torch.full(size, -float('inf'), device=labels.device)
    result = torch.zeros(size, dtype=labels.dtype, device=labels.device)
    for label in labels.unique():
        mask = (labels == label).float()[None, None]
        mask = F.interpolate(mask, size=size, mode=mode, align_corners=False)[0, 0]
        closer = mask > best
        best[closer], result[closer] = mask[closer], label
    return result
