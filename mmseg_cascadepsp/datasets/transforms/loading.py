"""Reading and packing of pairs."""

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS


def _read_grey(path: str) -> np.ndarray:
    mask = mmcv.imfrombytes(fileio.get(path), flag='grayscale', backend='cv2')
    if mask is None:
        raise OSError(f'mask: {path} cannot be read as a picture; it may be truncated')
    return mask


@TRANSFORMS.register_module()
class LoadMasks(BaseTransform):
    """Read the true mask, and the coarse one where the dataset names it, as grey 0..255.

    Adds ``gt_seg_map`` (uint8, (H, W): soft masks stay soft) and ``coarse_mask`` (uint8, (H, W): 0
    or 255, cut above 127).
    """

    def transform(self, results: dict) -> dict:
        """See the class.

        Raises:
            ValueError: a mask has another size than the photo.
            OSError: a mask cannot be read.
        """
        results['gt_seg_map'] = _read_grey(results['seg_map_path'])
        results['seg_fields'].append('gt_seg_map')
        if 'coarse_path' in results:
            results['coarse_mask'] = (_read_grey(results['coarse_path']) > 127).astype(
                np.uint8
            ) * 255
        # Behind a Resize of the photo alone, masks still have the size of the file.
        size = tuple(results.get('ori_shape', results['img'].shape)[:2])
        for key, path in (('gt_seg_map', 'seg_map_path'), ('coarse_mask', 'coarse_path')):
            if key in results and results[key].shape != size:
                raise ValueError(
                    f'mask: {results[path]} is {results[key].shape[::-1]} (width, height), '
                    f'its photo {results["img_path"]} is {size[::-1]}; '
                    'they must agree'
                )
        return results


@TRANSFORMS.register_module()
class PackRefinementInputs(PackSegInputs):
    """MMSeg's packing, with the coarse mask in the data sample.

    ``inputs``: the image, uint8 (3, H, W), colour order as read. ``data_samples``: ``gt_sem_seg``
        and ``coarse_mask``, uint8 (1, H, W), 0..255.
    """

    def transform(self, results: dict) -> dict:
        """See the class."""
        packed = super().transform(results)
        sample = packed['data_samples']
        if 'gt_sem_seg' in sample:
            sample.gt_sem_seg.data = sample.gt_sem_seg.data.to(torch.uint8)
        sample.coarse_mask = PixelData(
            data=torch.from_numpy(np.ascontiguousarray(results['coarse_mask']))[None]
        )
        return packed
