"""Keeping a photo's own pixels for the refiner."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError

MORE_KEYS = ('ori_img', 'object_class')


@TRANSFORMS.register_module()
class KeepOriginalImage(BaseTransform):
    """Keep a copy of a photo's pixels for the refiner.

    It goes right after the loading, and :class:`PackRefinedInputs` passes the copy on. Photos that
    are files can be read again, so only photos that come as arrays need it.

    Args:
        channel_order: Colour order of ``img``: ``'bgr'``, as MMSeg loads, or ``'rgb'``.

    Raises:
        InvalidValueError: ``channel_order`` is neither.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import KeepOriginalImage
        >>> results = dict(img=np.full((1, 1, 3), (10, 100, 200), np.uint8))
        >>> KeepOriginalImage().transform(results)['ori_img'].tolist()
        [[[200, 100, 10]]]
    """

    def __init__(self, channel_order: str = 'bgr') -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise InvalidValueError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}")
        self.channel_order = channel_order

    def transform(self, results: dict) -> dict:
        """Add ``ori_img``.

        Args:
            results: The sample, with ``img``.

        Returns:
            The same dict, changed. ``ori_img`` is RGB uint8 ``(H, W, 3)``.

        Raises:
            InvalidValueError: ``img`` is not of shape ``(H, W, 3)`` with values from 0 to 255.
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
    """MMSeg's packing, with two more values in the data sample.

    These are ``ori_img`` (of :class:`KeepOriginalImage`) and ``object_class`` (of
    :class:`~mmseg_cascadepsp.datasets.BIGDataset` and the like), where they are there.

    Args:
        kwargs: See :class:`mmseg.datasets.transforms.PackSegInputs`.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import PackRefinedInputs
        >>> results = dict(img=np.zeros((20, 30, 3), np.uint8), object_class=12)
        >>> PackRefinedInputs().transform(results)['data_samples'].object_class
        12
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.meta_keys = (*self.meta_keys, *MORE_KEYS)
