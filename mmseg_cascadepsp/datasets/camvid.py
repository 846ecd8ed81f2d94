"""CamVid, which MMSegmentation does not read itself."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """Street frames of CamVid in the eleven classes of the literature (SegNet's split and
    numbers): ``images/{train,val,test}`` and ``annotations/{train,val,test}`` of the same stems.

    Id 11 in the files is void.

    Args:
        kwargs: see :class:`mmseg.datasets.BaseSegDataset`.
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
        """Ids in the files -> ids in training; void is ignored."""
        return {**(super().get_label_map(new_classes) or {}), len(cls.METAINFO['classes']): 255}
