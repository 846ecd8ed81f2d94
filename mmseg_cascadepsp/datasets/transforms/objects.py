"""Single objects out of label maps."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError


def fill_void(labels: np.ndarray, void: int = 255, distance: float = 8.0) -> np.ndarray:
    """Give void pixels the label of the nearest pixel that has one.

    PASCAL VOC leaves a band of void along every outline; its middle is where the outline was
    drawn.

    Args:
        labels: uint8 (H, W).
        void: the label of void.
        distance: void farther from all labels stays void.
    """
    is_void = labels == void
    if not is_void.any() or is_void.all():
        return labels
    away, nearest = cv2.distanceTransformWithLabels(
        is_void.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label_of = np.zeros(nearest.max() + 1, labels.dtype)
    label_of[nearest[~is_void]] = labels[~is_void]
    return np.where(is_void & (away <= distance), label_of[nearest], labels)


@TRANSFORMS.register_module()
class PickObject(BaseTransform):
    """Make a class-agnostic pair from a label map: the mask of one object, or of one class, drawn
    anew each time.

    Goes behind MMSeg's ``LoadAnnotations`` in the pipeline of any MMSeg data set. ``gt_seg_map``
    becomes a mask (uint8, (H, W), 0 or 255). A photo without a suitable object yields None: MMSeg
    then draws another photo.

    Args:
        labels: labels that may be drawn; all by default.
        exclude: labels that may not, such as the background.
        one: ``'class'`` takes all pixels of a label (with label maps of instances, one object),
            ``'component'`` one 8-connected part of them.
        min_area: smallest area of a mask, pixels.
        max_share: largest share of the photo.
        void: label of pixels without truth; never drawn.
        void_distance: see :func:`fill_void`; 0 leaves them as background.

    Raises:
        ValueError: ``one`` is neither.
    """

    def __init__(
        self,
        labels: Sequence[int] | None = None,
        exclude: Sequence[int] = (),
        one: str = 'class',
        min_area: int = 32 * 32,
        max_share: float = 0.9,
        void: int = 255,
        void_distance: float = 8.0,
    ) -> None:
        if one not in ('class', 'component'):
            raise InvalidValueError(f"one must be 'class' or 'component', got {one!r}")
        self.labels = None if labels is None else set(labels)
        self.exclude = {*exclude, void}
        self.one = one
        self.min_area = min_area
        self.max_share = max_share
        self.void = void
        self.void_distance = void_distance

    def transform(self, results: dict) -> dict | None:
        """See the class."""
        labels = results['gt_seg_map']
        if self.void_distance:
            labels = fill_void(labels, self.void, self.void_distance)
        present = [
            label
            for label, area in zip(*np.unique(labels, return_counts=True), strict=True)
            if area >= self.min_area
            and label not in self.exclude
            and (self.labels is None or label in self.labels)
        ]
        for label in np.random.permutation(present):
            mask = labels == label
            if self.one == 'component':
                mask = self._component(mask)
            if mask is not None and mask.mean() <= self.max_share:
                results['gt_seg_map'] = mask.astype(np.uint8) * 255
                return results
        return None

    def _component(self, mask: np.ndarray) -> np.ndarray | None:
        """One part that is large enough, or None."""
        _, parts, stats, _ = cv2.connectedComponentsWithStats(
            mask.astype(np.uint8), connectivity=8
        )
        large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= self.min_area) + 1
        return parts == np.random.choice(large) if len(large) else None
