"""Class-agnostic pairs out of any MMSeg data set."""

from collections.abc import Sequence

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_cascadepsp.datasets.class_agnostic import ClassAgnosticDataset
from mmseg_cascadepsp.errors import InvalidValueError


@DATASETS.register_module()
class LabelMapObjectsDataset(BaseSegDataset):
    """The photos of any MMSeg data set, each time with the mask of one of its objects or classes:
    one more source of training pairs, beside :class:`ClassAgnosticDataset` in MMEngine's
    ``ConcatDataset``.

    Args:
        dataset: Config of a :class:`mmseg.datasets.BaseSegDataset`, without pipeline.
        pipeline: As that of the other sources: in the place of its ``LoadMasks`` the label map is
            loaded and an object picked.
        pick: Arguments of :class:`~mmseg_cascadepsp.datasets.PickObject`: which labels, one class
            or one component, how large.
        kwargs: See :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        ValueError: ``pipeline`` has no ``LoadMasks``.
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
        """The samples of the source."""
        return [self.source.get_data_info(index) for index in range(len(self.source))]
