"""Before and after of refined label maps."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmseg_cascadepsp.errors import InvalidValueError

from ..functional.checks import check_number
from ..functional.scores import (
    LABEL_SCORES,
    label_scores_compute,
    label_scores_update,
    percentages,
)
from ..metrics.samples import pixels, save, where

CLASS_SCORES = ('IoU', 'mBA', 'BoundaryIoU')


@METRICS.register_module()
class BoundarySegMetric(BaseMetric):
    """mIoU, mBA and Boundary IoU of label maps, before and after refinement.

    It reports, in per cent, ``mIoU``, ``mBA`` and ``BoundaryIoU``, see
    :func:`mmseg_cascadepsp.evaluation.label_scores`. An image without boundary does not enter mBA.
    mIoU is that of MMSeg's ``IoUMetric``. Where samples hold the unrefined label map as
    ``pred_sem_seg_coarse``, each score also comes as ``*_before`` and ``*_gain``. Without it the
    metric serves any segmentor.

    Data samples need ``pred_sem_seg`` and ``gt_sem_seg``, ``(1, H, W)`` of class indices. The
    dataset says the number and the names of the classes. A single name is that of an object, which
    is 1, and 0 is its background.

    Args:
        r0: Smallest radius of mBA: 1 as in the release and later papers, 3 as in the paper.
        dilation_ratio: Width of Boundary IoU, as a share of the diagonal.
        ignore_index: Void in the truth. By default that of the dataset, which
            :class:`~mmseg_cascadepsp.engine.RefinedResultsHook` tells, or 255.
        per_class: Also report ``IoU.NAME``, ``mBA.NAME`` (pixels right near the boundary of that
            class) and ``BoundaryIoU.NAME`` of every class, and print them as a table.
        output_dir: Folder for the refined label maps, with the ids of the dataset's annotations.
            MMSeg's own test script sets it for ``--out``. None: no label maps are written.
        keep_results: Has no effect. MMSeg's test script passes it.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: Put before the names of the scores. It is needed beside ``IoUMetric``, which also
            has an ``mIoU``.

    Example:
        >>> import torch
        >>> from mmseg_cascadepsp.evaluation import BoundarySegMetric
        >>> truth = torch.zeros(1, 40, 40, dtype=torch.long)
        >>> truth[:, 10:30, 10:30] = 1
        >>> sample = dict(
        ...     gt_sem_seg=dict(data=truth),
        ...     pred_sem_seg_coarse=dict(data=truth.roll(2, 2)),
        ...     pred_sem_seg=dict(data=truth),
        ... )
        >>> metric = BoundarySegMetric(prefix='cats')
        >>> metric.dataset_meta = dict(classes=('background', 'cat'))
        >>> metric.process({}, [sample])
        >>> scores = metric.evaluate(size=1)
        >>> round(scores['cats/mIoU_before'], 2), scores['cats/mIoU']
        (87.68, 100.0)
    """

    def __init__(
        self,
        r0: int = 1,
        dilation_ratio: float = 0.02,
        ignore_index: int | None = None,
        per_class: bool = False,
        output_dir: str | None = None,
        keep_results: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_number('r0', r0, 1, 5, whole=True)
        check_number('dilation_ratio', dilation_ratio, 0, 1)
        if ignore_index is not None:
            check_number('ignore_index', ignore_index, -(2**63), 2**63, whole=True)
        self.r0, self.dilation_ratio = r0, dilation_ratio
        self.ignore_index, self.per_class = ignore_index, per_class
        self.output_dir, self._saved = output_dir, {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count in each image. Only a few numbers per class are kept.

        Args:
            data_batch: Not used.
            data_samples: See the class.

        Raises:
            InvalidValueError: A sample lacks a map, its maps differ in size, its truth holds an
                id that is neither a class nor void, or the dataset has no names of classes.
        """
        num_classes = len(self._names())
        void = self.ignore_index
        if void is None:
            void = self.dataset_meta.get('ignore_index', 255)
        for sample in data_samples:
            name = type(self).__name__
            truth = pixels(sample, 'gt_sem_seg', name)
            labels = [
                pixels(sample, key, name)
                for key in ('pred_sem_seg', 'pred_sem_seg_coarse')
                if key in sample or key == 'pred_sem_seg'
            ]
            try:
                self.results.append(
                    [
                        label_scores_update(
                            labels_,
                            truth,
                            num_classes,
                            void,
                            self.r0,
                            self.dilation_ratio,
                            self.per_class,
                        )
                        for labels_ in labels
                    ]
                )
            except ValueError as error:
                raise InvalidValueError(f'{where(sample)}: {error}') from error
            if self.output_dir:
                save(self.output_dir, labels[0], sample, self.dataset_meta, self._saved)

    def _names(self) -> Sequence[str]:
        """Names of all classes."""
        classes = (self.dataset_meta or {}).get('classes')
        if not classes:
            raise InvalidValueError(
                f'{type(self).__name__} needs the names of the classes: give the dataset '
                "metainfo=dict(classes=('road', ...))."
            )
        return ('background', *classes) if len(classes) == 1 else classes

    def compute_metrics(self, results: list[list[dict[str, np.ndarray]]]) -> dict[str, float]:
        """Compute the scores of the whole set.

        Args:
            results: What :meth:`process` kept, a list for each image.

        Returns:
            Name -> score.

        Raises:
            InvalidValueError: Some samples have an unrefined label map and some have none.
        """
        if len({len(counts) for counts in results}) > 1:
            raise InvalidValueError(
                'Some data samples have a pred_sem_seg_coarse and some have none; '
                'all of them have to come from the same segmentor.'
            )
        after, *before = (label_scores_compute(counts) for counts in zip(*results, strict=True))
        metrics = percentages(after, before[0] if before else None, LABEL_SCORES)
        if self.per_class:
            metrics.update(self._per_class(after, before[0] if before else None))
        return metrics

    def _per_class(self, after: dict, before: dict | None) -> dict[str, float]:
        table = PrettyTable()
        metrics = {}
        for index, name in enumerate(self._names()):
            scores, coarse = (
                states and {key: float(states[f'{key}_of_class'][index]) for key in CLASS_SCORES}
                for states in (after, before)
            )
            row = percentages(scores, coarse, CLASS_SCORES)
            table.field_names = ['class', *row]
            table.add_row([name, *(f'{value:.2f}' for value in row.values())])
            metrics.update({f'{key}.{name}': value for key, value in row.items()})
        print_log(f'per class:\n{table}', logger=MMLogger.get_current_instance())
        return metrics
