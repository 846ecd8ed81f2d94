"""Making coarse masks from true ones as networks of several kinds give them."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError

from .perturb import seeded_by_name

#: Cells along the longer side of what promptable networks give.
PROMPTABLE_GRID = 256


def _smooth_noise(
    shape: tuple[int, int], cell: float, std: float, channels: int | None = None
) -> np.ndarray:
    """Gaussian noise on a grid of ``cell`` pixels, enlarged to ``shape``."""
    grid = (int(shape[0] / cell) + 2, int(shape[1] / cell) + 2) + ((channels,) if channels else ())
    return cv2.resize(
        np.random.normal(0, std, grid).astype(np.float32),
        shape[::-1],
        interpolation=cv2.INTER_CUBIC,
    )


def _bend(mask: np.ndarray, cell: float, std: float) -> np.ndarray:
    """Move the pixels of a mask by a smooth random field, of ``std`` pixels along each axis.

    Args:
        mask: ``(H, W)``.
        cell: Distance over which the field changes, pixels.
        std: Standard deviation of the field, pixels.
    """
    height, width = mask.shape
    field = _smooth_noise((height, width), cell, std, 2)
    field[..., 0] += np.arange(width, dtype=np.float32)
    field[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(mask, field, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@TRANSFORMS.register_module()
class SimulateOutputStride(BaseTransform):
    """Make the coarse mask as a network of large output stride would.

    The true mask is bent by a smooth random field and averaged over cells of ``stride`` pixels, so
    thin parts are lost and close parts merge. Smooth noise is added to the averages. They are
    enlarged bilinearly and cut at a threshold.

    Args:
        stride: Range of the side of a cell in pixels, drawn log-uniformly.
        displacement: Largest standard deviation of the bend, in cells.
        noise: Largest standard deviation of the noise on the averages, which are from 0 to 1.
        threshold: Range of the threshold.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import SimulateOutputStride
        >>> mask = np.zeros((60, 60), np.uint8)
        >>> mask[10:50, 10:50] = 255
        >>> np.unique(SimulateOutputStride().transform(dict(gt_seg_map=mask))['coarse_mask'])
        array([  0, 255], dtype=uint8)
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

    def transform(self, results: dict) -> dict:
        """Replace or add ``coarse_mask``.

        Args:
            results: The sample. ``gt_seg_map`` is uint8 ``(H, W)`` of 0 to 255.

        Returns:
            The same dict, changed. ``coarse_mask`` is uint8 ``(H, W)`` of 0 and 255.
        """
        truth = results['gt_seg_map']
        height, width = truth.shape
        stride = np.exp(np.random.uniform(*np.log(self.stride)))
        soft = _bend(
            truth,
            stride * np.random.uniform(2, 8),
            stride * np.random.uniform(0, self.displacement),
        )
        cells = (max(round(width / stride), 2), max(round(height / stride), 2))
        grid = cv2.resize(soft, cells, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        grid += _smooth_noise(
            grid.shape, np.random.uniform(1, 3), np.random.uniform(0, self.noise)
        )
        soft = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        results['coarse_mask'] = (soft > np.random.uniform(*self.threshold)).astype(np.uint8) * 255
        return results


@TRANSFORMS.register_module()
class SimulatePromptable(BaseTransform):
    """Make the coarse mask as a promptable network (of the SAM kind) would.

    Such a network gives logits on a grid of 256 cells along the longer side of the whole photo,
    which are enlarged bilinearly and cut. Its boundaries are off by about a cell. At times it
    misses a corner of the object. Everything else is right.

    Args:
        cell: Range of the side of a cell in pixels, drawn log-uniformly, for crops. None: 1/256 of
            the longer side, for whole photos.
        displacement: Range of the standard deviation of the boundary's error along each axis, in
            cells, drawn uniformly.
        clip: Share of masks that lose a corner: what lies beyond a straight line, up to
            ``clip_area`` of the object.
        clip_area: See ``clip``.
        seed: With a seed the same photo always gets the same coarse mask, for validation.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import SimulatePromptable
        >>> mask = np.zeros((600, 800), np.uint8)
        >>> mask[100:500, 200:600] = 255
        >>> results = dict(img_path='a.jpg', gt_seg_map=mask)
        >>> coarse = SimulatePromptable(seed=0).transform(results)['coarse_mask']
        >>> bool(0 < np.mean(coarse != mask) < 0.02)
        True
    """

    def __init__(
        self,
        cell: tuple[float, float] | None = None,
        displacement: tuple[float, float] = (0.7, 1.5),
        clip: float = 0.15,
        clip_area: float = 0.04,
        seed: int | None = None,
    ) -> None:
        self.cell = cell
        self.displacement = displacement
        self.clip = clip
        self.clip_area = clip_area
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Replace or add ``coarse_mask``.

        Args:
            results: The sample. ``gt_seg_map`` is uint8 ``(H, W)`` of 0 to 255.

        Returns:
            The same dict, changed. ``coarse_mask`` is uint8 ``(H, W)`` of 0 and 255.
        """
        truth = results['gt_seg_map']
        height, width = truth.shape
        with seeded_by_name(results.get('img_path', ''), self.seed):
            if self.cell is None:
                cell = max(height, width) / PROMPTABLE_GRID
            else:
                cell = np.exp(np.random.uniform(*np.log(self.cell)))
            size = max(round(width / cell), 1), max(round(height / cell), 1)
            # The field is smooth over a few cells, so it is made on the grid, as the network is.
            method = cv2.INTER_AREA if cell > 1 else cv2.INTER_LINEAR
            grid = cv2.resize(truth, size, interpolation=method).astype(np.float32)
            error = np.random.uniform(*self.displacement)
            grid = _bend(grid, np.random.uniform(2, 8), error)
            if np.random.random_sample() < self.clip:
                grid[self._corner(grid > 127)] = 0
        soft = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        results['coarse_mask'] = (soft > 127).astype(np.uint8) * 255
        return results

    def _corner(self, mask: np.ndarray) -> np.ndarray:
        """What lies beyond a line at a random angle, bool as the mask."""
        angle = np.random.uniform(0, 2 * np.pi)
        height, width = mask.shape
        along = np.arange(width) * np.cos(angle) + np.arange(height)[:, None] * np.sin(angle)
        share = np.random.uniform(0, self.clip_area)
        return along > np.quantile(along[mask], 1 - share) if mask.any() else mask


@TRANSFORMS.register_module()
class CopyTrueMask(BaseTransform):
    """Take the true mask itself as the coarse mask. A refiner learns to keep what is right.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import CopyTrueMask
        >>> soft = np.array([[90, 200]], np.uint8)
        >>> CopyTrueMask().transform(dict(gt_seg_map=soft))['coarse_mask']
        array([[  0, 255]], dtype=uint8)
    """

    def transform(self, results: dict) -> dict:
        """Replace or add ``coarse_mask``.

        Args:
            results: The sample. ``gt_seg_map`` is uint8 ``(H, W)`` of 0 to 255.

        Returns:
            The same dict, changed. ``coarse_mask`` is uint8 ``(H, W)`` of 0 and 255.
        """
        results['coarse_mask'] = (results['gt_seg_map'] > 127).astype(np.uint8) * 255
        return results


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest pixel of a mask: bool to float32 ``(H, W)``."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


@TRANSFORMS.register_module()
class AverageCoarseMasks(BaseTransform):
    """Average several coarse masks of the same true mask, which are made independently.

    The result is between 0 and 255 where they disagree. A cascade's overview leaves such masks.

    Args:
        masks: At least two pipelines, each of which sets ``coarse_mask`` of uint8 ``(H, W)``.

    Raises:
        InvalidValueError: There are fewer than two pipelines.

    Example:
        >>> import numpy as np
        >>> from mmengine.registry import init_default_scope
        >>> from mmseg_cascadepsp.datasets import AverageCoarseMasks
        >>> init_default_scope('mmseg')  # as MMEngine's runner does
        >>> average = AverageCoarseMasks(masks=[[dict(type='SimulateOutputStride')]] * 2)
        >>> mask = np.zeros((60, 60), np.uint8)
        >>> mask[10:50, 10:50] = 255
        >>> average.transform(dict(gt_seg_map=mask))['coarse_mask'].shape
        (60, 60)
    """

    def __init__(self, masks: Sequence[Sequence[dict]]) -> None:
        if len(masks) < 2:
            raise InvalidValueError(f'masks must be at least two pipelines, got {len(masks)}')
        self.masks = [Compose(pipeline) for pipeline in masks]

    def transform(self, results: dict) -> dict:
        """Replace or add ``coarse_mask``.

        Args:
            results: The sample.

        Returns:
            The same dict, changed. ``coarse_mask`` is uint8 ``(H, W)`` of 0 to 255.
        """
        drawn = [pipeline(dict(results))['coarse_mask'] for pipeline in self.masks]
        results['coarse_mask'] = np.mean(drawn, axis=0).astype(np.uint8)
        return results


@TRANSFORMS.register_module()
class LoseParts(BaseTransform):
    """Remove whole parts, such as limbs, from the coarse mask and fill whole gaps.

    Networks make such errors even if the rest of a mask is sharp. A part is a connected component
    of what an opening with a disc removes. A gap is a connected component of what a closing adds.
    The disc is smaller than the largest disc inside the mask, so the body of the object stays.

    Args:
        prob: Share of the masks that change.
        part_prob: Probability with which each part is removed and each gap is filled.
        radius: Range of the radius of the disc, as a share of the radius of the largest disc
            inside the mask, drawn uniformly.
        min_area: Smaller parts and gaps stay as they are, pixels.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import LoseParts
        >>> mask = np.zeros((90, 90), np.uint8)
        >>> mask[40:80, 30:70] = 255  # a body
        >>> mask[5:40, 45:53] = 255  # a limb
        >>> lose = LoseParts(prob=1, part_prob=1, radius=(0.5, 0.5))
        >>> results = lose.transform(dict(coarse_mask=mask))
        >>> int(results['coarse_mask'][10, 49]), int(results['coarse_mask'][60, 50])
        (0, 255)
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
        """Some of the connected components of a mask, bool ``(H, W)``."""
        count, labels = cv2.connectedComponents(pieces.astype(np.uint8), connectivity=4)
        drawn = np.random.random_sample(count) < self.part_prob
        drawn &= np.bincount(labels.ravel(), minlength=count) >= self.min_area
        drawn[0] = False
        return drawn.take(labels)

    def transform(self, results: dict) -> dict:
        """Change ``coarse_mask``.

        Args:
            results: The sample. ``coarse_mask`` is uint8 ``(H, W)`` of 0 to 255.

        Returns:
            The same dict, changed.
        """
        if np.random.random_sample() >= self.prob:
            return results
        mask = results['coarse_mask'] > 127
        inside = _distance_to(~mask)
        radius = np.random.uniform(*self.radius) * inside.max()
        if mask.all() or radius < 1:
            return results
        # Two distance transforms open by a disc of any radius. A kernel would be slow.
        opened = _distance_to(inside > radius) <= radius
        # The border has room for the disc, so an object near the crop's edge leaves no gap there.
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
