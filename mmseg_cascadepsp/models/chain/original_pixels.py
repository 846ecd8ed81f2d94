"""Photos and label maps at the photo's original resolution."""

import functools
import io
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
from mmseg_cascadepsp.files.opening import ORIENTATION, open_header

ALIKE = 0.9
"""Correlation of thumbnails of one photo, however it was resized."""
THUMB = 16
"""Sides of a thumbnail."""


@functools.cache
def _say_once(sentence: str) -> None:
    print_log(sentence, logger='current', level=logging.WARNING)


def original_pixels(
    sample: SegDataSample,
    size: tuple[int, int],
    inputs: Tensor | None = None,
    preprocessor: nn.Module | None = None,
) -> Tensor:
    """Find the photo of a sample at its original resolution.

    The first of these is taken:

    - ``sample.ori_img``, (H, W, 3), RGB uint8, which
      :class:`~mmseg_cascadepsp.datasets.KeepOriginalImage` keeps
    - the file ``sample.img_path``, turned as its EXIF orientation says or not, whichever the
      segmentor saw. A file that does not look like the segmentor's input is passed over, with a
      warning, because the pipeline has changed its pixels' places.
    - the input of the segmentor, after undoing its normalisation. An input of another size than
      the photo is resized, with a warning.

    Args:
        sample: Sample of the photo.
        size: (H, W) of the photo.
        inputs: (3, h, w), the input of the segmentor.
        preprocessor: The :class:`mmseg.models.SegDataPreProcessor` that made ``inputs``.

    Returns:
        (3, H, W), RGB uint8, on the CPU or on the device of ``inputs``.

    Raises:
        InvalidValueError: None of the three is an RGB photo.

    Example:
        >>> sample = SegDataSample(metainfo={'ori_img': np.zeros((4, 6, 3), np.uint8)})
        >>> original_pixels(sample, (4, 6)).shape
        torch.Size([3, 4, 6])
    """
    kept, path = sample.get('ori_img'), sample.get('img_path')
    lacks = []
    has_input = (
        inputs is not None
        and inputs.shape[0] == 3
        and (preprocessor is None or hasattr(preprocessor, 'channel_conversion'))
    )
    seen = _denormalise(sample, inputs, preprocessor) if has_input else None
    if kept is not None:
        if kept.shape == (*size, 3):
            return torch.from_numpy(np.ascontiguousarray(kept.transpose(2, 0, 1)))
        lacks.append(f'ori_img is of shape {kept.shape}')
    if path is not None:
        try:
            found = _from_file(path, size, seen, lacks)
        except (OSError, ValueError, cv2.error) as error:
            found = None
            lacks.append(f'img_path cannot be read ({error})')
        if found is not None:
            return found
    if seen is not None:
        image = seen
        if image.shape[-2:] != size:
            _say_once(
                f'refinement: the original photo ({size[0]}x{size[1]}) is not available, so the '
                f'input of the segmentor ({image.shape[-2]}x{image.shape[-1]}) is resized. For a '
                'sharper result give a file, or put KeepOriginalImage after the loading and '
                'PackRefinedInputs at the end of the pipeline.'
            )
            image = F.interpolate(image[None], size=size, mode='bicubic', align_corners=False)[0]
        return image.round().clamp_(0, 255).to(torch.uint8)
    raise InvalidValueError(
        f'refinement needs the RGB photo of {size[0]}x{size[1]} pixels, and found none: '
        f'{"; ".join(lacks) or "the sample has neither ori_img nor img_path"}; the input is '
        f'{"missing" if inputs is None else f"of shape {tuple(inputs.shape)}"}. Put '
        'KeepOriginalImage after the loading and PackRefinedInputs at the end of the pipeline.'
    )


def _from_file(
    path: str, size: tuple[int, int], seen: Tensor | None, lacks: list[str]
) -> Tensor | None:
    """The photo as the segmentor saw it, (3, H, W) RGB uint8. None where it saw another one: then
    ``lacks`` says more.
    """
    content = fileio.get(path)
    flags = ['color']
    if _is_turned(content):
        flags.append('color_ignore_orientation')  # as some pipelines load it
    images = [mmcv.imfrombytes(content, flag) for flag in flags]  # BGR, whatever the flag
    images = [image[..., ::-1] for image in images if image is not None]
    fitting = [image for image in images if image.shape == (*size, 3)]
    if not fitting:
        lacks.extend(f'{path} is of shape {image.shape}' for image in images[:1])
        return None
    photos = [
        torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in fitting
    ]
    if seen is None:
        return photos[0]
    likeness = [_likeness(photo, seen) for photo in photos]
    best = int(np.argmax(likeness))
    if likeness[best] >= ALIKE:
        return photos[best]
    _say_once(
        f'refinement: {path} does not look like the picture that the pipeline gave to the '
        f'segmentor (correlation {likeness[best]:.2f}), so that picture is refined on. Where a '
        "transform of the pipeline's own turns, cuts or moves photos, put KeepOriginalImage "
        'behind it and PackRefinedInputs at the end.'
    )
    lacks.append(f'{path} does not look like the input')
    return None


def _is_turned(content: bytes) -> bool:
    """Whether EXIF says that a picture is to be turned."""
    try:
        with open_header(io.BytesIO(content)) as picture:
            return picture.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # OpenCV may know it
        return False


def _likeness(photo: Tensor, seen: Tensor) -> float:
    """Correlation of thumbnails, which does not depend on brightness, contrast and the order of
    colours.
    """
    first, second = _thumbnail(photo), _thumbnail(seen)
    spread = float(first.square().sum().sqrt() * second.square().sum().sqrt())
    if spread < first.numel():  # a wall, a sky: all is alike
        return 1.0
    return float((first * second).sum()) / spread


def _thumbnail(image: Tensor) -> Tensor:
    """(1, 16, 16), grey and around 0, of some of the pixels of a large photo."""
    step = max(1, min(image.shape[-2:]) // (16 * THUMB))
    small = F.adaptive_avg_pool2d(image[None, :, ::step, ::step].float().cpu(), THUMB).mean(1)
    return small - small.mean()


def _denormalise(sample: SegDataSample, inputs: Tensor, preprocessor: nn.Module | None) -> Tensor:
    """Undo normalisation, padding, channel conversion and flip, to RGB (3, h, w) float."""
    image = inputs.float()
    if getattr(preprocessor, '_enable_normalize', False):
        image = image * preprocessor.std.to(image) + preprocessor.mean.to(image)
    if preprocessor is not None and not preprocessor.channel_conversion:
        image = image.flip(0)  # still BGR, as MMSeg loads images
    left, right, top, bottom = sample.get('img_padding_size', sample.get('padding_size', [0] * 4))
    image = image[:, top : image.shape[1] - bottom, left : image.shape[2] - right]
    if sample.get('flip'):
        image = image.flip(2 if sample.get('flip_direction') == 'horizontal' else 1)
    return image


def enlarge_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a label map with smooth boundaries.

    The mask of each class is resized bicubically, and each pixel gets the class with the largest
    value. For two classes this is how the paper enlarges results of low resolution (section 4.2).

    Args:
        labels: (h, w), integer.
        size: (H, W) of the result.

    Returns:
        (H, W), with the dtype of ``labels``.

    Example:
        >>> enlarge_labels(torch.tensor([[3, 7]]), (2, 4))
        tensor([[3, 3, 7, 7],
                [3, 3, 7, 7]])
    """
    best = torch.full(size, -float('inf'), device=labels.device)
    result = torch.zeros(size, dtype=labels.dtype, device=labels.device)
    for label in labels.unique():
        mask = (labels == label).float()[None, None]
        mask = F.interpolate(mask, size=size, mode='bicubic', align_corners=False)[0, 0]
        closer = mask > best
        best[closer], result[closer] = mask[closer], label
    return result
