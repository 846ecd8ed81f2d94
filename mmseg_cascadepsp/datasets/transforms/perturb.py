"""Making coarse masks from true ones (paper, section 3.3 and Fig. 8)."""

import math
import os.path as osp
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

ROUNDS = 250
OPERATIONS = 4


#: Rounds whose random numbers are drawn at once. Most masks need about 15.
BLOCK = 8

#: Kernels of dilation and erosion: by size from 3 to 9, then by form.
KERNELS = [
    [
        cv2.getStructuringElement(form, (width, height))
        for form, width, height in (
            (cv2.MORPH_RECT, size, size),
            (cv2.MORPH_ELLIPSE, size, size),
            (cv2.MORPH_ELLIPSE, size, size // 2),
            (cv2.MORPH_ELLIPSE, size // 2, size),
        )
    ]
    for size in range(3, 10)
]


@contextmanager
def seeded_by_name(path: str, seed: int | None) -> Iterator[None]:
    """NumPy's generator seeded by the name of a file, wherever it lies, and afterwards as before.

    Without a seed nothing is done.

    Example:
        >>> drawn = []
        >>> for folder in ('a', 'b'):
        ...     with seeded_by_name(f'{folder}/photo.jpg', 0):
        ...         drawn.append(np.random.random_sample())
        >>> drawn[0] == drawn[1]
        True
    """
    if seed is None:
        yield
        return
    state = np.random.get_state()
    np.random.seed((zlib.crc32(osp.basename(path).encode()) + seed) % 2**32)
    try:
        yield
    finally:
        np.random.set_state(state)


def _subsample_contours(mask: np.ndarray, rate: float = 0.1) -> np.ndarray:
    """Redraw a mask from a tenth of the vertices of its contours.

    A run of a tenth of the vertices is left out of each contour, too.

    Args:
        mask: uint8 ``(H, W)``, 0 or 255.
        rate: Share of vertices that are kept, and share that is left out as one run.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    kept = []
    for contour in contours:
        if len(contour) < 10:
            continue
        run = int(len(contour) * rate)
        # Of the runs whose ends lie closest, which are spikes and bays.
        x, y = (contour[: len(contour) - run] - contour[run:]).reshape(-1, 2).T
        gap = x * x + y * y
        shortest = np.argsort(gap, kind='stable')[: math.ceil(0.1 * len(gap))]
        start = np.random.choice(shortest)
        contour = np.concatenate((contour[:start], contour[start + run :]))
        count = int(len(contour) * rate)
        if count:
            kept.append(contour[np.sort(np.random.choice(len(contour), count, replace=False))])
    if not kept:
        return mask.copy()
    # One call fills all contours by the even-odd rule, so holes stay.
    return cv2.drawContours(np.zeros_like(mask), kept, -1, 255, -1)


def _below(share: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """Uniform in [0, 1) -> uniform integers in [0, count)."""
    return (share * count).astype(np.int64)


def _random_operations(count: int, height: int, width: int) -> list[list[int]]:
    """``count`` times (left, top, right, bottom, centre pixel or -1, dilates, size, form)."""
    random = np.random.random_sample((9, count))
    left, top = _below(random[0], width), _below(random[1], height)
    right = left + 1 + _below(random[2], width - left)
    bottom = top + 1 + _below(random[3], height - top)
    pixel = np.where(random[4] < 0.25, 255 * _below(random[5], 2), -1)
    size, form = _below(random[7], len(KERNELS)), _below(random[8], len(KERNELS[0]))
    return np.stack((left, top, right, bottom, pixel, random[6] < 0.5, size, form)).T.tolist()


def perturb_mask(mask: np.ndarray, iou_target: float) -> np.ndarray:
    """Make a coarse mask from a true mask as the release does (paper, section 3.3).

    Contours are redrawn from some of their vertices. Then random boxes of the mask are dilated and
    eroded, round after round.

    Args:
        mask: True mask, uint8 ``(H, W)``. Values above 0 are foreground.
        iou_target: The rounds stop once IoU with the *redrawn* mask falls below it.

    Returns:
        uint8 ``(H, W)``, 0 or 255.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets.transforms import perturb_mask
        >>> np.random.seed(0)
        >>> mask = np.zeros((60, 60), np.uint8)
        >>> mask[10:50, 10:50] = 1
        >>> np.unique(perturb_mask(mask, iou_target=0.8))
        array([  0, 255], dtype=uint8)
    """
    start = _subsample_contours((mask > 0).astype(np.uint8) * 255)
    coarse, common = start.copy(), np.empty_like(start)
    area = cv2.countNonZero(start)
    for number in range(ROUNDS):
        if number % BLOCK == 0:
            operations = iter(_random_operations(BLOCK * OPERATIONS, *mask.shape))
        for left, top, right, bottom, pixel, dilates, size, form in islice(operations, OPERATIONS):
            if pixel >= 0:
                coarse[(top + bottom) // 2, (left + right) // 2] = pixel
            # A picture of its own: nothing outside the box reaches in.
            box = coarse[top:bottom, left:right]
            (cv2.dilate if dilates else cv2.erode)(box, KERNELS[size][form], dst=box)
        intersection = cv2.countNonZero(cv2.bitwise_and(coarse, start, dst=common))
        union = area + cv2.countNonZero(coarse) - intersection
        if union and intersection / union < iou_target:
            break
    return coarse


@TRANSFORMS.register_module()
class PerturbMask(BaseTransform):
    """Make the coarse mask from the true mask as the release does (paper, section 3.3).

    See :func:`perturb_mask`. A coarse mask that is already there is kept.

    Args:
        iou_target: Range of the target.
        seed: With a seed the same photo always gets the same coarse mask, for validation.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import PerturbMask
        >>> mask = np.zeros((60, 60), np.uint8)
        >>> mask[10:50, 10:50] = 255
        >>> results = dict(img_path='a.jpg', gt_seg_map=mask)
        >>> np.unique(PerturbMask(seed=0).transform(results)['coarse_mask'])
        array([  0, 255], dtype=uint8)
    """

    def __init__(
        self, iou_target: tuple[float, float] = (0.8, 1.0), seed: int | None = None
    ) -> None:
        self.iou_target = iou_target
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Add ``coarse_mask``.

        Args:
            results: The sample. ``gt_seg_map`` is uint8 ``(H, W)`` of 0 to 255.

        Returns:
            The same dict, changed. ``coarse_mask`` is uint8 ``(H, W)`` of 0 and 255.
        """
        if 'coarse_mask' in results:
            return results
        with seeded_by_name(results.get('img_path', ''), self.seed):
            target = np.random.uniform(*self.iou_target)
            truth = (results['gt_seg_map'] > 127).astype(np.uint8)
            results['coarse_mask'] = perturb_mask(truth, target)
        return results
