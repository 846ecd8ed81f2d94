"""Augmentation of photo and true mask together."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomZoomCrop(BaseTransform):
    """A random crop at a random zoom of photo and mask.

    ``zoom=(1, 1)`` is the release's random crop without rescaling; smaller pictures are padded
    black on both sides.

    Args:
        size: side of the crop, pixels.
        zoom: range of the zoom, drawn log-uniformly: at 2 the crop shows half the side, enlarged.
        min_share: the crop's foreground and background must each have this share where ``tries``
            draws find one such; 0 takes the first.
        tries: see ``min_share``.
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
        """Crop ``img``, ``gt_seg_map`` and a given ``coarse_mask`` (uint8, soft masks stay so)."""
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
class ColorJitter(BaseTransform):
    """Brightness, contrast and saturation by random factors in random order, then grey at times,
    as the release's (torchvision's) jitter.

    Args:
        brightness: factor from 1 - brightness to 1 + brightness.
        contrast: likewise, towards the mean grey.
        saturation: likewise, towards the grey picture.
        grey: probability of a grey picture.
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
        """Change ``img``, BGR uint8 (H, W, 3)."""
        image = results['img'].astype(np.float32)
        for kind in np.random.permutation(3):
            factor = np.random.uniform(1 - self.ranges[kind], 1 + self.ranges[kind])
            if kind == 0:
                image *= factor
            else:
                grey = (image @ self.LUMA)[..., None]
                image = image * factor + (grey.mean() if kind == 1 else grey) * (1 - factor)
            np.clip(image, 0, 255, out=image)
        if np.random.rand() < self.grey:
            image = np.repeat((image @ self.LUMA)[..., None], 3, axis=2)
        results['img'] = image.astype(np.uint8)
        return results
