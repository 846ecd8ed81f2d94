"""Reading and packing of pairs."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import FileError, InvalidValueError
from mmseg_cascadepsp.files import read_mask


def _read(path: str) -> np.ndarray:
    with fileio.get_local_path(path) as local:  # itself, or a copy of a remote one
        return read_mask(local)


@TRANSFORMS.register_module()
class LoadPhoto(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile``, whose faults do not name the file when it is empty or cut.

    For pipelines that train or validate a refiner; MMSegmentation's inference looks for
    ``LoadImageFromFile`` by its name, so pipelines of segmentors keep that one.
    """

    def transform(self, results: dict) -> dict | None:
        """See the class.

        Raises:
            OSError: the photo cannot be read.
        """
        try:
            return super().transform(results)
        except OSError:  # names the file
            raise
        except Exception as error:  # decoders raise whatever they stumble over
            raise FileError(
                f'photo: {results["img_path"]} cannot be read, it is empty, cut or no picture '
                f'({" ".join(str(error).split())})'
            ) from error


@TRANSFORMS.register_module()
class LoadMasks(BaseTransform):
    """Read the true mask, and the coarse one where the dataset names it, as
    :func:`~mmseg_cascadepsp.utils.read_mask` does: 0/255, 0/1, palettes and cut-outs alike.

    Adds ``gt_seg_map`` (uint8, (H, W): soft masks stay soft) and ``coarse_mask`` (uint8, (H, W): 0
    or 255, cut above 127).
    """

    def transform(self, results: dict) -> dict:
        """See the class.

        Raises:
            ValueError: a mask has another size than the photo.
            OSError: a mask cannot be read, or its colours do not say what is object.
        """
        results['gt_seg_map'] = _read(results['seg_map_path'])
        results['seg_fields'].append('gt_seg_map')
        if 'coarse_path' in results:
            results['coarse_mask'] = (_read(results['coarse_path']) > 127).astype(np.uint8) * 255
            results['seg_fields'].append('coarse_mask')
        # Behind a Resize of the photo alone, masks still have the size of the file.
        size = tuple(results.get('ori_shape', results['img'].shape)[:2])
        for key, path in (('gt_seg_map', 'seg_map_path'), ('coarse_mask', 'coarse_path')):
            if key in results and results[key].shape != size:
                raise InvalidValueError(
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
