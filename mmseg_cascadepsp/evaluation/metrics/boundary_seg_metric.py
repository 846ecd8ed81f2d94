"""Before and after of refined label maps."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.evaluation.functional.scores import (
    LABEL_SCORES,
    label_scores_compute,
    label_scores_update,
)
from mmseg_cascadepsp.evaluation.metrics.samples import percentages, pixels, save, where

CLASS_SCORES = ('IoU', 'mBA', 'BoundaryIoU')


@METRICS.register_module()
class BoundarySegMetric(BaseMetric):
    """mIoU, mBA and Boundary IoU of label maps, before and after refinement.

    Reports, in per cent, ``mIoU``, ``mBA`` and ``BoundaryIoU``, each also as ``*_before`` and
    ``*_gain`` where samples hold the unrefined label map as ``pred_sem_seg_coarse``; without it
    the metric serves any plain segmentor. See :func:`mmseg_cascadepsp.evaluation.label_scores`; an
    image without boundary does not enter mBA. mIoU equals that of MMSeg's ``IoUMetric``.

    Data samples need ``pred_sem_seg`` and ``gt_sem_seg``, (1, H, W) of class indices. Number and
    names of the classes come from the dataset.

    Args:
        r0: Smallest radius of mBA: 1 as in the release and later papers, 3 as in the paper.
        dilation_ratio: Of Boundary IoU, share of the diagonal.
        ignore_index: Void in the truth.
        output_dir: Folder for the refined label maps, numbered as the dataset's annotations:
            ``--out`` of MMSeg's own test script. None: none are written.
        keep_results: Of no effect; MMSeg's script gives it.
        per_class: Also report ``IoU.NAME``, ``mBA.NAME`` (pixels right near the boundary of that
            class) and ``BoundaryIoU.NAME`` of every class, and print them as a table.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`, as ``prefix``.
        prefix: Put before the names of the scores; needed beside ``IoUMetric``, which also has
            a ``mIoU``.
    """

    def __init__(
        self,
        r0: int = 1,
        dilation_ratio: float = 0.02,
        ignore_index: int = 255,
        per_class: bool = False,
        output_dir: str | None = None,
        keep_results: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.r0, self.dilation_ratio = r0, dilation_ratio
        self.ignore_index, self.per_class = ignore_index, per_class
        self.output_dir, self._saved = output_dir, {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count in each image; what is kept of it are a few numbers per class.

        Raises:
            ValueError: a sample lacks a map, its maps differ in size, or its truth holds an id
                that is neither a class nor void.
        """
        num_classes = len(self.dataset_meta['classes'])
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
                            self.ignore_index,
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

    def compute_metrics(self, results: list[list[dict[str, np.ndarray]]]) -> dict[str, float]:
        """Scores of the whole set from what :meth:`process` kept."""
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
        for index, name in enumerate(self.dataset_meta['classes']):
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
