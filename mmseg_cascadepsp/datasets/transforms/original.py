"""Keeping what a refiner wants of a photo: its own pixels."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError

MORE_KEYS = ('ori_img', 'object_class')


@TRANSFORMS.register_module()
class KeepOriginalImage(BaseTransform):
    """Keep a copy of the pixels, to be refined with; place it right after the loading.

    Adds ``ori_img``, RGB uint8 (H, W, 3), for :class:`PackRefinedInputs`. Where photos are files,
    they can be read again instead, so this is for pictures that come as arrays.

    Args:
        channel_order: That of ``img``: ``'bgr'``, as MMSeg loads, or ``'rgb'``.
    """

    def __init__(self, channel_order: str = 'bgr') -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise InvalidValueError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}")
        self.channel_order = channel_order

    def transform(self, results: dict) -> dict:
        """See the class.

        Raises:
            ValueError: ``img`` is not of shape (H, W, 3) with values from 0 to 255.
        """
        image = results['img']
        if image.ndim != 3 or image.shape[2] != 3 or image.min() < 0 or image.max() > 255:
            raise InvalidValueError(
                'img must be of shape (H, W, 3) with values from 0 to 255 for '
                f'KeepOriginalImage, got {image.shape} from {image.min()} to '
                f'{image.max()}; put it before normalisation'
            )
        image = image[..., ::-1] if self.channel_order == 'bgr' else image
        results['ori_img'] = np.ascontiguousarray(image.astype(np.uint8, copy=False)).copy()
        return results


@TRANSFORMS.register_module()
class PackRefinedInputs(PackSegInputs):
    """MMSeg's packing; the data sample also keeps ``ori_img`` (of :class:`KeepOriginalImage`) and
    ``object_class`` (of :class:`~mmseg_cascadepsp.datasets.BIGDataset` and the like)."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.meta_keys = (*self.meta_keys, *MORE_KEYS)
