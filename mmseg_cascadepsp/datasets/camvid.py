"""CamVid, which MMSegmentation does not read itself."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """Street frames of CamVid in eleven classes, with SegNet's split and numbers.

    Photos lie in ``images/{train,val,test}``, label maps of the same names in
    ``annotations/{train,val,test}``. Id 11 in the files is void.

    Args:
        img_suffix: Suffix of the photos.
        seg_map_suffix: Suffix of the label maps.
        kwargs: See :class:`mmseg.datasets.BaseSegDataset`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import CamVidDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> write_png(f'{root}/images/val/a.png', np.zeros((20, 30, 3), np.uint8))
        >>> write_png(f'{root}/annotations/val/a.png', np.full((20, 30), 3, np.uint8))
        >>> prefix = dict(img_path='images/val', seg_map_path='annotations/val')
        >>> dataset = CamVidDataset(img_suffix='.png', data_root=root, data_prefix=prefix)
        >>> len(dataset), dataset.metainfo['classes'][3]
        (1, 'road')
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'pavement',
            'tree',
            'sign',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs) -> None:
        super().__init__(
            img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, reduce_zero_label=False, **kwargs
        )

    @classmethod
    def get_label_map(cls, new_classes: list | None = None) -> dict[int, int]:
        """Map the ids in the files to those in training.

        Args:
            new_classes: Names of some of the classes, if not all are wanted.

        Returns:
            Id in the files -> id in training. Void becomes 255, which is ignored.
        """
        return {**(super().get_label_map(new_classes) or {}), len(cls.METAINFO['classes']): 255}
