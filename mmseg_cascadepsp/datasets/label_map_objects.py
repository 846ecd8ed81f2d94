"""Pairs of photos and masks of objects from any MMSeg data set."""

from collections.abc import Sequence

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_cascadepsp.errors import InvalidValueError

from .class_agnostic import ClassAgnosticDataset


@DATASETS.register_module()
class LabelMapObjectsDataset(BaseSegDataset):
    """The photos of any MMSeg data set, each with the mask of one of its objects or classes.

    This is one more source of pairs to train on. MMEngine's ``ConcatDataset`` puts it beside
    :class:`ClassAgnosticDataset`. The object is drawn anew each time that a sample is loaded.

    Args:
        dataset: Config of a :class:`mmseg.datasets.BaseSegDataset`, without pipeline.
        pipeline: The same as that of the other sources. In the place of its ``LoadMasks`` the
            label map is loaded and an object is picked.
        pick: Arguments of :class:`~mmseg_cascadepsp.datasets.PickObject`: which labels, one class
            or one component, how large.
        kwargs: See :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        InvalidValueError: ``pipeline`` has no ``LoadMasks``.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmengine.registry import init_default_scope
        >>> from mmseg_cascadepsp.datasets import LabelMapObjectsDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> write_png(f'{root}/images/a.png', np.zeros((60, 80, 3), np.uint8))
        >>> write_png(f'{root}/labels/a.png', np.tri(60, 80, dtype=np.uint8) * 7)
        >>> source = dict(
        ...     type='BaseSegDataset',
        ...     img_suffix='.png',
        ...     data_root=root,
        ...     data_prefix=dict(img_path='images', seg_map_path='labels'),
        ... )
        >>> init_default_scope('mmseg')  # as MMEngine's runner does
        >>> pipeline = [dict(type='LoadPhoto'), dict(type='LoadMasks')]
        >>> dataset = LabelMapObjectsDataset(source, pipeline, pick=dict(labels=[7]))
        >>> np.unique(dataset[0]['gt_seg_map'])
        array([  0, 255], dtype=uint8)
    """

    METAINFO = ClassAgnosticDataset.METAINFO

    def __init__(
        self, dataset: dict, pipeline: Sequence[dict], pick: dict | None = None, **kwargs
    ) -> None:
        steps = []
        for step in pipeline:
            if step['type'] == 'LoadMasks':
                steps += [dict(type='LoadAnnotations'), dict(type='PickObject', **(pick or {}))]
            else:
                steps.append(step)
        if len(steps) == len(pipeline):
            raise InvalidValueError(
                'pipeline must have a LoadMasks, in whose place label maps are loaded, got '
                f'{[step["type"] for step in pipeline]}'
            )
        #: The data set whose photos and label maps are taken.
        self.source = DATASETS.build(dict(dataset, pipeline=[]))
        super().__init__(pipeline=steps, reduce_zero_label=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Take the samples of the source.

        Returns:
            The samples of MMSeg, one for each photo.
        """
        return [self.source.get_data_info(index) for index in range(len(self.source))]
