"""Coarse masks made from true ones (paper, section 3.3 and Fig. 8)."""

import math
import os.path as osp
import zlib
from collections.abc import Sequence
from itertools import islice

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError

ROUNDS = 250
OPERATIONS = 4


#: Rounds whose random numbers are drawn in one go: most masks need some 15.
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


def _subsample_contours(mask: np.ndarray, rate: float = 0.1) -> np.ndarray:
    """Redraw the mask from a tenth of its contour vertices, one run of a tenth left out.

    Args:
        mask: uint8 (H, W), 0 or 255.
        rate: share of vertices kept, and share left out as one run.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    kept = []
    for contour in contours:
        if len(contour) < 10:
            continue
        run = int(len(contour) * rate)
        # Runs whose ends lie closest: spikes and bays go first.
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
    """Perturb a true mask into a coarse one as the release does (paper, section 3.3).

    Args:
        mask: uint8 (H, W); foreground where above 0.
        iou_target: the rounds of dilation and erosion stop once IoU with the *subsampled* mask
            falls below it.

    Returns:
        uint8 (H, W), 0 or 255.
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
            # As a picture of its own: what lies outside of the box does not reach in.
            box = coarse[top:bottom, left:right]
            (cv2.dilate if dilates else cv2.erode)(box, KERNELS[size][form], dst=box)
        intersection = cv2.countNonZero(cv2.bitwise_and(coarse, start, dst=common))
        union = area + cv2.countNonZero(coarse) - intersection
        if union and intersection / union < iou_target:
            break
    return coarse


@TRANSFORMS.register_module()
class PerturbMask(BaseTransform):
    """Make ``coarse_mask`` from ``gt_seg_map``: subsampled contours, random dilation and erosion
    (paper, section 3.3). A coarse mask that is there is kept.

    Args:
        iou_target: range of the target, see :func:`perturb_mask`.
        seed: for validation: the same photo always gets the same coarse mask.
    """

    def __init__(
        self, iou_target: tuple[float, float] = (0.8, 1.0), seed: int | None = None
    ) -> None:
        self.iou_target = iou_target
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """See the class."""
        if 'coarse_mask' in results:
            return results
        if self.seed is not None:
            state = np.random.get_state()
            name = osp.basename(results['img_path'])  # wherever the data lies
            np.random.seed((zlib.crc32(name.encode()) + self.seed) % 2**32)
        target = np.random.uniform(*self.iou_target)
        truth = (results['gt_seg_map'] > 127).astype(np.uint8)  # soft edges are not the object's
        results['coarse_mask'] = perturb_mask(truth, target)
        if self.seed is not None:
            np.random.set_state(state)
        return results


@TRANSFORMS.register_module()
class SimulateOutputStride(BaseTransform):
    """Make ``coarse_mask`` as a network of large output stride would: displaced, averaged on a
    coarse grid, noisy, enlarged, cut.

    The true mask is bent by a smooth random field, averaged over cells of ``stride`` pixels (thin
    parts are lost, close parts merge), given smooth noise in the logits, enlarged bilinearly and
    cut at a threshold.

    Args:
        stride: range of the cell's side, pixels of the crop, drawn log-uniformly.
        displacement: largest standard deviation of the bend, in cells.
        noise: largest standard deviation of the noise on the grid's shares.
        threshold: range of the cut.
    """

    def __init__(
        self,
        stride: tuple[float, float] = (4.0, 24.0),
        displacement: float = 0.7,
        noise: float = 0.2,
        threshold: tuple[float, float] = (0.35, 0.65),
    ) -> None:
        self.stride = stride
        self.displacement = displacement
        self.noise = noise
        self.threshold = threshold

    @staticmethod
    def _smooth_noise(
        shape: tuple[int, int], cell: float, std: float, channels: int | None = None
    ) -> np.ndarray:
        """Gaussian noise on a grid of ``cell`` pixels, enlarged to ``shape``."""
        grid = (int(shape[0] / cell) + 2, int(shape[1] / cell) + 2) + (
            (channels,) if channels else ()
        )
        return cv2.resize(
            np.random.normal(0, std, grid).astype(np.float32),
            shape[::-1],
            interpolation=cv2.INTER_CUBIC,
        )

    def transform(self, results: dict) -> dict:
        """See the class."""
        truth = results['gt_seg_map']
        height, width = truth.shape
        stride = np.exp(np.random.uniform(*np.log(self.stride)))
        bend = self._smooth_noise(
            (height, width),
            stride * np.random.uniform(2, 8),
            stride * np.random.uniform(0, self.displacement),
            2,
        )
        y, x = np.mgrid[:height, :width].astype(np.float32)
        soft = cv2.remap(
            truth,
            x + bend[..., 0],
            y + bend[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cells = (max(round(width / stride), 2), max(round(height / stride), 2))
        grid = cv2.resize(soft, cells, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        grid += self._smooth_noise(
            grid.shape, np.random.uniform(1, 3), np.random.uniform(0, self.noise)
        )
        soft = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        results['coarse_mask'] = (soft > np.random.uniform(*self.threshold)).astype(np.uint8) * 255
        return results


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest of a bool (H, W), float32."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


@TRANSFORMS.register_module()
class AverageCoarseMasks(BaseTransform):
    """``coarse_mask`` as an overview leaves it: the mean of coarse masks of the same truth, made
    independently, between 0 and 255 where they disagree.

    Args:
        masks: pipelines, each of which sets ``coarse_mask`` of uint8 (H, W).

    Raises:
        ValueError: fewer than two pipelines.
    """

    def __init__(self, masks: Sequence[Sequence[dict]]) -> None:
        if len(masks) < 2:
            raise InvalidValueError(f'masks must be at least two pipelines, got {len(masks)}')
        self.masks = [Compose(pipeline) for pipeline in masks]

    def transform(self, results: dict) -> dict:
        """See the class."""
        drawn = [pipeline(dict(results))['coarse_mask'] for pipeline in self.masks]
        results['coarse_mask'] = np.mean(drawn, axis=0).astype(np.uint8)
        return results


@TRANSFORMS.register_module()
class LoseParts(BaseTransform):
    """Take whole parts, such as limbs, from ``coarse_mask`` and fill whole gaps: networks do so
    however sharp the rest is.

    A part is a connected piece of what an opening with a disc removes, a gap one of what a closing
    adds. The disc is measured by the mask's own inner radius, so its body stays.

    Args:
        prob: share of the masks that lose or gain anything.
        part_prob: probability with which each part goes and each gap is filled.
        radius: range of the disc's radius, as a share of the radius of the largest disc inside of
            the mask, drawn uniformly.
        min_area: smaller pieces are left alone, pixels.
    """

    def __init__(
        self,
        prob: float = 0.5,
        part_prob: float = 0.5,
        radius: tuple[float, float] = (0.2, 0.8),
        min_area: int = 64,
    ) -> None:
        self.prob = prob
        self.part_prob = part_prob
        self.radius = radius
        self.min_area = min_area

    def _draw(self, pieces: np.ndarray) -> np.ndarray:
        """Some of the connected pieces of a mask; both bool (H, W)."""
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            pieces.astype(np.uint8), connectivity=4
        )
        drawn = np.random.random_sample(count) < self.part_prob
        drawn &= stats[:, cv2.CC_STAT_AREA] >= self.min_area
        drawn[0] = False
        return drawn[labels]

    def transform(self, results: dict) -> dict:
        """See the class."""
        if np.random.random_sample() >= self.prob:
            return results
        mask = results['coarse_mask'] > 127
        inside = _distance_to(~mask)
        radius = np.random.uniform(*self.radius) * inside.max()
        if mask.all() or radius < 1:
            return results
        # Two distance transforms open by a disc of any radius, which a kernel would be slow at.
        opened = _distance_to(inside > radius) <= radius
        # Beyond the crop there is room for the disc: an object near the edge leaves no gap there.
        border = int(radius) + 1
        outside = _distance_to(np.pad(mask, border))
        closed = (_distance_to(outside > radius) > radius)[border:-border, border:-border]
        lost = self._draw(mask & ~opened)
        filled = self._draw(closed & ~mask)
        coarse = results['coarse_mask'].copy()
        coarse[lost] = 0
        coarse[filled] = 255
        results['coarse_mask'] = coarse
        return results
