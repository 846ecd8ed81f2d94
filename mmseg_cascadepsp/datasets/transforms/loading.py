"""Reading and packing of photos and masks."""

import warnings
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import FileError, InvalidValueError
from mmseg_cascadepsp.files import Reading, read_mask
from mmseg_cascadepsp.files.reading import may_be_turned


def _read(path: str, reading: Reading) -> np.ndarray:
    with fileio.get_local_path(path) as local:  # itself, or a copy of a remote one
        return read_mask(local, reading)


@TRANSFORMS.register_module()
class LoadPhoto(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile``, with errors that name the file, and a warning of photos that
    are turned by EXIF, of which the size of the mask does not tell whether it is, too.

    It is for pipelines that train or validate a refiner. Pipelines of segmentors keep MMCV's own,
    because MMSegmentation's inference looks for ``LoadImageFromFile`` by its name.

    Args:
        kwargs: See :class:`mmcv.transforms.LoadImageFromFile`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import LoadPhoto
        >>> from mmseg_cascadepsp.files import write_png
        >>> path = f'{tempfile.mkdtemp()}/a.png'
        >>> write_png(path, np.zeros((20, 30, 3), np.uint8))
        >>> LoadPhoto().transform(dict(img_path=path))['img'].shape
        (20, 30, 3)
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._looked_at: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        """Read ``img``.

        Args:
            results: The sample, with ``img_path``.

        Returns:
            The same dict, changed.

        Raises:
            OSError: The photo cannot be read.
        """
        path, mask = results['img_path'], results.get('seg_map_path')
        if mask and 'ignore_orientation' not in self.color_type and path not in self._looked_at:
            self._looked_at.add(path)
            if may_be_turned(path, mask):
                warnings.warn(
                    f'{path} is turned, by its EXIF orientation; if the mask {mask} was made on '
                    'the pixels as they are stored, load photos with '
                    "LoadPhoto(color_type='color_ignore_orientation').",
                    stacklevel=2,
                )
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
    """Read the true mask, and the coarse mask if the data set names one.

    :func:`~mmseg_cascadepsp.files.read_mask` reads them, so masks of 0/255 or 0/1, palettes and
    cut-outs are all taken.

    Args:
        mask_values: Value of the object, or several, where masks do not say it. ``'soft'``: values
            are shares of the object. See :class:`~mmseg_cascadepsp.files.Reading`.
        ignore: Value of void, such as 255, which becomes background.
        coarse_values: The same as ``mask_values`` for coarse masks whose values are others. By
            default they are read as the true masks.

    Raises:
        InvalidValueError: An argument is none of these.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import LoadMasks
        >>> from mmseg_cascadepsp.files import write_png
        >>> path = f'{tempfile.mkdtemp()}/a.png'
        >>> write_png(path, np.eye(20, 30, dtype=np.uint8))
        >>> results = dict(img=np.zeros((20, 30, 3)), seg_map_path=path, seg_fields=[])
        >>> np.unique(LoadMasks().transform(results)['gt_seg_map'])
        array([  0, 255], dtype=uint8)
    """

    def __init__(
        self,
        mask_values: str | int | Sequence[int] | None = None,
        ignore: int | None = None,
        coarse_values: str | int | Sequence[int] | None = None,
    ) -> None:
        self.reading = Reading(mask_values, ignore)
        self.coarse = self.reading if coarse_values is None else Reading(coarse_values)

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``, and ``coarse_mask`` if there is a ``coarse_path``.

        Args:
            results: The sample, with ``seg_map_path``.

        Returns:
            The same dict, changed. ``gt_seg_map`` is uint8 ``(H, W)``, and soft masks stay soft.
            ``coarse_mask`` is uint8 ``(H, W)`` of 0 and 255, cut above 127.

        Raises:
            InvalidValueError: A mask has another size than the photo.
            FileError: A mask cannot be read, or its values do not say what is object.
        """
        results['gt_seg_map'] = _read(results['seg_map_path'], self.reading)
        results['seg_fields'].append('gt_seg_map')
        if 'coarse_path' in results:
            coarse = _read(results['coarse_path'], self.coarse) > 127
            results['coarse_mask'] = coarse.astype(np.uint8) * 255
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

    Args:
        kwargs: See :class:`mmseg.datasets.transforms.PackSegInputs`.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import PackRefinementInputs
        >>> mask = np.zeros((20, 30), np.uint8)
        >>> results = dict(img=np.zeros((20, 30, 3), np.uint8), gt_seg_map=mask, coarse_mask=mask)
        >>> packed = PackRefinementInputs(meta_keys=()).transform(results)
        >>> packed['inputs'].shape, packed['data_samples'].coarse_mask.data.shape
        (torch.Size([3, 20, 30]), torch.Size([1, 20, 30]))
    """

    def transform(self, results: dict) -> dict:
        """Pack the sample.

        Args:
            results: The sample.

        Returns:
            ``inputs``: the photo, uint8 ``(3, H, W)``, colours in the order as read.
            ``data_samples``: ``gt_sem_seg`` and ``coarse_mask``, uint8 ``(1, H, W)``, 0 to 255.
        """
        # MMSeg has nothing to copy where the planes lie one behind the other.
        photo = np.stack(cv2.split(results['img'])).transpose(1, 2, 0)
        given = dict(results, img=photo)
        truth = given.pop('gt_seg_map', None)  # MMSeg would make it int64
        packed = super().transform(given)
        if truth is not None:
            packed['data_samples'].gt_sem_seg = _packed(truth)
        packed['data_samples'].coarse_mask = _packed(results['coarse_mask'])
        return packed


def _packed(mask: np.ndarray) -> PixelData:
    return PixelData(data=torch.from_numpy(np.ascontiguousarray(mask, np.uint8))[None])
