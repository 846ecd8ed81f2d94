"""Before and after of one refined mask per image."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from mmseg_cascadepsp.errors import InvalidValueError

from ..functional.checks import check_number
from ..functional.scores import (
    MASK_SCORES,
    mask_report,
    mask_scores_compute,
    mask_scores_update,
    percentages,
)
from ..metrics.samples import pixels, save, where


@METRICS.register_module()
class RefinementMetric(BaseMetric):
    """Class-agnostic scores of refined masks and of the coarse masks that they came from.

    It reports, in per cent, ``IoU`` (areas summed over the set), ``mBA``, ``BoundaryIoU``
    (summed), ``IoU_per_image`` and ``BoundaryIoU_per_image``, see
    :func:`mmseg_cascadepsp.evaluation.mask_scores`. An image whose truth has no boundary does not
    enter mBA. Each score also comes as ``*_before`` (the coarse masks) and ``*_gain`` (after minus
    before). It also reports the harm that refinement did: ``harmed_0.5``, ``harmed_2`` and
    ``worst_tenth`` in per cent, ``speckles_before`` and ``speckles`` as numbers, see
    :func:`mmseg_cascadepsp.evaluation.mask_harm`.

    Data samples need ``pred_sem_seg`` ``(1, H, W)`` of 0 and 1, and ``gt_sem_seg`` ``(1, H, W)``
    uint8 of 0 to 255. They may have ``coarse_mask`` ``(1, H, W)`` uint8 of 0 to 255. Without it
    only the scores after are reported.

    Args:
        r0: Smallest radius of mBA: 1 as in the release and later papers, 3 as in the paper.
        dilation_ratio: Width of Boundary IoU, as a share of the diagonal.
        threshold: Truth and coarse mask are foreground above it. The release's scripts take 128,
            which differs for soft masks only.
        output_dir: Folder for the refined masks, PNG of 0 and 255. MMSeg's own test script sets it
            for ``--out``. None: no masks are written.
        keep_results: Has no effect. MMSeg's test script passes it.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: Put before the names of the scores.

    Example:
        >>> import torch
        >>> from mmseg_cascadepsp.evaluation import RefinementMetric
        >>> truth = torch.zeros(1, 40, 40, dtype=torch.uint8)
        >>> truth[:, 10:30, 10:30] = 255
        >>> sample = dict(
        ...     gt_sem_seg=dict(data=truth),
        ...     coarse_mask=dict(data=truth.roll(2, 2)),
        ...     pred_sem_seg=dict(data=truth // 255),
        ... )
        >>> metric = RefinementMetric(prefix='cats')
        >>> metric.process({}, [sample])
        >>> scores = metric.evaluate(size=1)
        >>> round(scores['cats/IoU_before'], 2), scores['cats/IoU'], scores['cats/harmed_2']
        (81.82, 100.0, 0.0)
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
        check_number('r0', r0, 1, 5, whole=True)
        check_number('dilation_ratio', dilation_ratio, 0, 1)
        check_number('threshold', threshold, 0, 254)
        self.r0, self.dilation_ratio, self.threshold = r0, dilation_ratio, threshold
        self.output_dir, self._saved = output_dir, {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count in each image. Only 15 numbers per mask are kept.

        Args:
            data_batch: Not used.
            data_samples: See the class.

        Raises:
            InvalidValueError: A sample lacks a map, its maps differ in size, or its prediction
                is not of 0 and 1.
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
        """Compute the scores of the whole set.

        Args:
            results: What :meth:`process` kept, an array for each image.

        Returns:
            Name -> score.

        Raises:
            InvalidValueError: Some samples have a coarse mask and some have none.
        """
        if len({len(counts) for counts in results}) > 1:
            raise InvalidValueError(
                'Some data samples have a coarse_mask and some have none; give it to '
                'all of them or to none.'
            )
        after, *before = np.stack(results, axis=1)
        if before:
            return mask_report(before[0], after)
        return percentages(mask_scores_compute(after), None, MASK_SCORES)
