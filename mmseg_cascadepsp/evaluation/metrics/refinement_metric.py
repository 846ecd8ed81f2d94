"""Before and after of one refined mask per image."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.evaluation.functional.scores import (
    MASK_SCORES,
    mask_scores_compute,
    mask_scores_update,
)
from mmseg_cascadepsp.evaluation.metrics.samples import percentages, pixels, save, where


@METRICS.register_module()
class RefinementMetric(BaseMetric):
    """Class-agnostic scores of refined masks and of the coarse masks they came from.

    Reports, in per cent, ``IoU`` (areas summed over the set), ``mBA``, ``BoundaryIoU`` (summed),
    ``IoU_per_image`` and ``BoundaryIoU_per_image``, each also as ``*_before`` (the coarse mask)
    and ``*_gain`` (after minus before). See :func:`mmseg_cascadepsp.evaluation.mask_scores`; an
    image whose truth has no boundary does not enter mBA.

    Data samples need ``pred_sem_seg`` (1, H, W) of 0 and 1, and ``gt_sem_seg`` (1, H, W) uint8 of
    0 to 255. Without ``coarse_mask`` (1, H, W) uint8 of 0 to 255, only the values after are
    reported.

    Args:
        r0: Smallest radius of mBA: 1 as in the release and later papers, 3 as in the paper.
        dilation_ratio: Of Boundary IoU, share of the diagonal.
        threshold: Truth and coarse mask are foreground above it. The release's scripts take 128,
            which differs only for soft masks.
        output_dir: Folder for the refined masks, PNG of 0 and 255: ``--out`` of MMSeg's own test
            script. None: none are written.
        keep_results: Of no effect; MMSeg's script gives it.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`, as ``prefix``.
        prefix: Put before the names of the scores.
    """

    def __init__(
        self,
        r0: int = 1,
        dilation_ratio: float = 0.02,
        threshold: int = 127,
        output_dir: str | None = None,
        keep_results: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.r0, self.dilation_ratio, self.threshold = r0, dilation_ratio, threshold
        self.output_dir, self._saved = output_dir, {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count in each image; what is kept of it are 14 numbers per mask.

        Raises:
            ValueError: a sample lacks a map, its maps differ in size, or its prediction is not of
                0 and 1.
        """
        for sample in data_samples:
            name = type(self).__name__
            truth = pixels(sample, 'gt_sem_seg', name) > self.threshold
            masks = [pixels(sample, 'pred_sem_seg', name)]
            if 'coarse_mask' in sample:
                masks.append(pixels(sample, 'coarse_mask', name) > self.threshold)
            try:
                self.results.append(
                    np.stack(
                        [
                            mask_scores_update(mask, truth, self.r0, self.dilation_ratio)
                            for mask in masks
                        ]
                    )
                )
            except ValueError as error:
                raise InvalidValueError(f'{where(sample)}: {error}') from error
            if self.output_dir:
                save(self.output_dir, masks[0], sample, {}, self._saved)

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Scores of the whole set from what :meth:`process` kept."""
        if len({len(counts) for counts in results}) > 1:
            raise InvalidValueError(
                'Some data samples have a coarse_mask and some have none; give it to '
                'all of them or to none.'
            )
        after, *before = (mask_scores_compute(counts) for counts in np.stack(results, axis=1))
        return percentages(after, before[0] if before else None, MASK_SCORES)
