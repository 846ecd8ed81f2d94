"""Samples put together of several photos, of the same kind."""

import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class SameSetMixDataset(MultiImageMixDataset):
    """MMSeg's ``MultiImageMixDataset`` whose partners are of the sample's own set at times.

    A photo's set is the folder around its folder. Where sets hold one kind of object each, such as
    horses, :class:`~mmseg_cascadepsp.datasets.PasteObject` puts a horse beside a horse.

    Args:
        dataset, pipeline: See :class:`mmseg.datasets.MultiImageMixDataset`.
        same_set: Share of partners that are drawn from the sample's own set. The others are drawn
            from all.
        kwargs: See :class:`mmseg.datasets.MultiImageMixDataset`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmengine.registry import init_default_scope
        >>> from mmseg_cascadepsp.datasets import SameSetMixDataset
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> for name in ('cats', 'dogs'):
        ...     write_png(f'{root}/{name}/images/a.png', np.zeros((60, 60, 3), np.uint8))
        ...     write_png(f'{root}/{name}/masks/a.png', np.eye(60, dtype=np.uint8) * 255)
        >>> init_default_scope('mmseg')  # as MMEngine's runner does
        >>> source = dict(
        ...     type='ClassAgnosticDataset',
        ...     data_root=root,
        ...     data_prefix=dict(img_path='images', seg_map_path='masks'),
        ...     pipeline=[dict(type='LoadPhoto'), dict(type='LoadMasks')],
        ... )
        >>> dataset = SameSetMixDataset(source, [dict(type='PasteObject', prob=1)], same_set=1)
        >>> [len(dataset.partners(index)) for index in range(len(dataset))]
        [1, 1]
    """

    def __init__(
        self, dataset: dict, pipeline: Sequence[dict], same_set: float = 0.5, **kwargs
    ) -> None:
        super().__init__(dataset, pipeline, **kwargs)
        self.same_set = same_set
        folders = [
            osp.dirname(osp.dirname(self.dataset.get_data_info(index)['img_path']))
            for index in range(len(self.dataset))
        ]
        members = {name: [] for name in dict.fromkeys(folders)}
        for index, name in enumerate(folders):
            members[name].append(index)
        members = {name: np.array(indices, np.int32) for name, indices in members.items()}
        #: Of each sample, the samples of its set: one array for all of them.
        self._own = [members[name] for name in folders]

    def partners(self, index: int) -> Sequence[int]:
        """Draw what a sample may be put together with.

        Args:
            index: The sample.

        Returns:
            Indices of the samples of its set, or of all.
        """
        own = np.random.random_sample() < self.same_set
        return self._own[index] if own else range(len(self.dataset))

    def __getitem__(self, index: int) -> dict:
        results = dict(self.dataset[index])
        for transform in self.pipeline:
            if hasattr(transform, 'get_indices'):  # MMSeg's own protocol of such transforms
                partners = self.partners(index)
                drawn = transform.get_indices(partners)
                results['mix_results'] = [dict(self.dataset[int(partners[i])]) for i in drawn]
            results = transform(results)
            results.pop('mix_results', None)
        return results
