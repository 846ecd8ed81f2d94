"""Augmentation of a photo and its masks together."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import RandomFlip
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomZoomCrop(BaseTransform):
    """Cut a random crop, at a random zoom, from a photo and its masks.

    ``zoom=(1, 1)`` is the release's random crop without rescaling. Pictures that are smaller than
    the crop are padded with black on both sides.

    Args:
        size: Side of the crop, pixels.
        zoom: Range of the zoom, drawn log-uniformly. At 2 the crop shows half the side, enlarged.
        min_share: Least share of the crop that foreground and background must each have. If none
            of ``tries`` crops has it, the last is taken. 0 takes the first crop.
        tries: See ``min_share``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import RandomZoomCrop
        >>> results = dict(
        ...     img=np.zeros((60, 80, 3), np.uint8), gt_seg_map=np.zeros((60, 80), np.uint8)
        ... )
        >>> RandomZoomCrop(size=32, zoom=(0.5, 2)).transform(results)['img'].shape
        (32, 32, 3)
    """

    def __init__(
        self,
        size: int = 224,
        zoom: tuple[float, float] = (1.0, 1.0),
        min_share: float = 0.0,
        tries: int = 10,
    ) -> None:
        self.size = size
        self.zoom = zoom
        self.min_share = min_share
        self.tries = tries

    def transform(self, results: dict) -> dict:
        """Crop ``img``, ``gt_seg_map``, and ``coarse_mask`` if there is one.

        Args:
            results: The sample. ``img`` is uint8 ``(H, W, 3)``, the masks are uint8 ``(H, W)``.

        Returns:
            The same dict, changed. Soft masks stay soft.
        """
        mask = results['gt_seg_map']
        zoom = np.exp(np.random.uniform(*np.log(self.zoom)))
        side = max(round(self.size / zoom), 1)
        for _ in range(self.tries if self.min_share else 1):
            # Padding by what is lacking on both sides lets a small picture stand anywhere in the
            # crop.
            (top, bottom), (left, right) = (self._interval(length, side) for length in mask.shape)
            crop = mask[max(top, 0) : bottom, max(left, 0) : right]
            share = np.count_nonzero(crop > 127) / side**2
            if self.min_share <= share <= 1 - self.min_share:
                break
        pad = (
            max(-top, 0),
            max(bottom - mask.shape[0], 0),
            max(-left, 0),
            max(right - mask.shape[1], 0),
        )
        for key in ('img', 'gt_seg_map', 'coarse_mask'):
            if key not in results:
                continue
            array = results[key][max(top, 0) : bottom, max(left, 0) : right]
            if any(pad):
                array = cv2.copyMakeBorder(array, *pad, cv2.BORDER_CONSTANT, value=0)
            if side != self.size:
                method = (
                    cv2.INTER_AREA
                    if zoom < 1
                    else cv2.INTER_CUBIC
                    if key == 'img'
                    else cv2.INTER_LINEAR
                )
                array = cv2.resize(array, (self.size, self.size), interpolation=method)
            results[key] = np.ascontiguousarray(array)
        results['img_shape'] = results['img'].shape[:2]
        return results

    @staticmethod
    def _interval(length: int, side: int) -> tuple[int, int]:
        slack = abs(length - side)
        start = np.random.randint(slack + 1)
        start = start if length >= side else start - slack
        return start, start + side


@TRANSFORMS.register_module()
class FlipPair(RandomFlip):
    """MMSeg's ``RandomFlip``, with the same samples, which leaves the photo contiguous.

    MMSeg's leaves a view with negative strides. Whatever comes next copies it, which costs
    more than the flip itself.

    Args:
        kwargs: See :class:`mmseg.datasets.transforms.RandomFlip`.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import FlipPair
        >>> results = dict(img=np.eye(2, dtype=np.uint8))
        >>> FlipPair(prob=1.0).transform(results)['img'].tolist()
        [[0, 1], [1, 0]]
    """

    #: Directions of MMSeg -> codes of OpenCV.
    CODES = dict(horizontal=1, vertical=0, diagonal=-1)

    def _flip(self, results: dict) -> None:
        image = results['img']
        super()._flip(results)
        results['img'] = cv2.flip(image, self.CODES[results['flip_direction']])


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Change brightness, contrast and saturation by random factors, in random order.

    At times the picture becomes grey. This is the jitter of the release (of torchvision).

    Args:
        brightness: The factor is from ``1 - brightness`` to ``1 + brightness``.
        contrast: The same for the difference from the mean grey.
        saturation: The same for the difference from the grey picture.
        grey: Probability of a grey picture.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import ColorJitter
        >>> results = dict(img=np.full((1, 1, 3), (10, 100, 200), np.uint8))
        >>> float(ColorJitter(grey=1).transform(results)['img'].std())
        0.0
    """

    #: Weights of ITU-R 601 for B, G, R.
    LUMA = np.array([0.114, 0.587, 0.299], np.float32)

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.05,
        saturation: float = 0.05,
        grey: float = 0.1,
    ) -> None:
        self.ranges: Sequence[float] = (brightness, contrast, saturation)
        self.grey = grey

    def transform(self, results: dict) -> dict:
        """Change ``img``.

        Args:
            results: The sample. ``img`` is BGR uint8 ``(H, W, 3)``.

        Returns:
            The same dict, changed.
        """
        image = results['img'].astype(np.float32)
        for kind in np.random.permutation(3):
            factor = np.random.uniform(1 - self.ranges[kind], 1 + self.ranges[kind])
            if kind == 2:  # one product of matrices for the blend with the grey picture
                blend = factor * np.eye(3, dtype=np.float32) + (1 - factor) * self.LUMA
                image = cv2.transform(image, blend)
            else:
                mean = np.dot(cv2.mean(image)[:3], self.LUMA) if kind == 1 else 0.0
                image *= factor
                if kind == 1:
                    image += float(mean) * (1 - factor)
            np.clip(image, 0, 255, out=image)
        if np.random.rand() < self.grey:
            image = cv2.transform(image, np.repeat(self.LUMA[None], 3, axis=0))
        results['img'] = image.astype(np.uint8)
        return results
