"""Masks of single objects from label maps."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError


def fill_void(labels: np.ndarray, void: int = 255, distance: float = 8.0) -> np.ndarray:
    """Give void pixels the label of the nearest pixel that has one.

    PASCAL VOC leaves a band of void along every outline. The outline was drawn in its middle.

    Args:
        labels: Label map, uint8 ``(H, W)``.
        void: Label of void.
        distance: Void pixels that are farther than this from every label stay void.

    Returns:
        Label map, uint8 ``(H, W)``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets.transforms import fill_void
        >>> fill_void(np.array([[1, 1, 255, 255, 2]], np.uint8))
        array([[1, 1, 1, 2, 2]], dtype=uint8)
    """
    is_void = labels == void
    if not is_void.any() or is_void.all():
        return labels
    away, nearest = cv2.distanceTransformWithLabels(
        is_void.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = labels[~is_void]  # which OpenCV numbers row by row, from 1 on
    near = is_void & (away <= distance)
    filled = labels.copy()
    filled[near] = known[nearest[near] - 1]
    return filled


@TRANSFORMS.register_module()
class PickObject(BaseTransform):
    """Turn a label map into the mask of one object or one class, which is drawn anew each time.

    It follows MMSeg's ``LoadAnnotations`` in the pipeline of any MMSeg data set. If a photo has no
    suitable object, the result is None and MMSeg draws another photo.

    Args:
        labels: Labels that may be drawn, all by default.
        exclude: Labels that may not be drawn, such as the background.
        one: ``'class'`` takes all pixels of a label. In label maps of instances this is one
            object. ``'component'`` takes one connected component of them (8 neighbours).
        min_area: Least area of a mask, pixels.
        max_share: Largest share of the photo that a mask may cover.
        void: Label of pixels without truth. It is never drawn.
        void_distance: See :func:`fill_void`. 0 makes void pixels background.

    Raises:
        InvalidValueError: ``one`` is neither.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import PickObject
        >>> labels = np.zeros((60, 60), np.uint8)
        >>> labels[10:50, 10:50] = 7
        >>> mask = PickObject(exclude=[0]).transform(dict(gt_seg_map=labels))['gt_seg_map']
        >>> np.unique(mask, return_counts=True)
        (array([  0, 255], dtype=uint8), array([2000, 1600]))
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
        """Replace the label map by the mask of one object.

        Args:
            results: The sample. ``gt_seg_map`` is the label map, uint8 ``(H, W)``.

        Returns:
            The same dict, with ``gt_seg_map`` uint8 ``(H, W)`` of 0 and 255. None if there is no
            suitable object.
        """
        labels = results['gt_seg_map']
        if self.void_distance:
            labels = fill_void(labels, self.void, self.void_distance)
        present = [
            label
            for label, area in enumerate(np.bincount(labels.ravel()))
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
        """One component that is large enough, or None."""
        _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        large = np.flatnonzero(np.bincount(parts.ravel())[1:] >= self.min_area) + 1
        return parts == np.random.choice(large) if len(large) else None
