"""Objects made harder: edges inside them that mean nothing, and thin things before them."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


def _elsewhere(image: np.ndarray) -> np.ndarray:
    """The photo turned, shifted around and recoloured, so that any part of it may lie anywhere."""
    other = cv2.flip(image, int(np.random.randint(-1, 2)))
    shift = [int(np.random.randint(length)) for length in image.shape[:2]]
    return _recoloured(np.roll(other, shift, axis=(0, 1)))


def _recoloured(image: np.ndarray) -> np.ndarray:
    """Channels in another order, each with a contrast and a brightness of its own."""
    gain, offset = np.random.uniform(0.4, 1.2, 3), np.random.uniform(-60, 90, 3)
    levels = np.arange(256)[:, None] * gain + offset
    tables = levels.clip(0, 255).astype(np.uint8).T
    planes = cv2.split(image)
    order = np.random.permutation(3)
    return cv2.merge([cv2.LUT(planes[i], table) for i, table in zip(order, tables, strict=True)])


def _blend(image: np.ndarray, other: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """``other`` over ``image``, uint8, by float32 ``(H, W)`` from 0 to 1."""
    return cv2.blendLinear(other, image, opacity, 1 - opacity)


def _along(shape: tuple[int, int], angle: float, at: tuple[float, float]) -> np.ndarray:
    """How far each pixel lies from (row, column) in a direction, float32 ``(H, W)``, pixels."""
    y, x = (np.arange(length) - start for length, start in zip(shape, at, strict=True))
    x, y = (x * np.cos(angle)).astype(np.float32), (y * np.sin(angle)).astype(np.float32)
    return x + y[:, None]


def _pixel_of(mask: np.ndarray) -> tuple[int, int]:
    """A pixel above 0, at random: (row, column)."""
    inside = np.flatnonzero(mask)
    return np.unravel_index(inside[np.random.randint(len(inside))], mask.shape)


@TRANSFORMS.register_module()
class ClutterInterior(BaseTransform):
    """Put strong edges inside the object, which are not its boundary.

    Stripes, a band, or blotches of the object take other colours, or the texture of another part
    of the photo. They end where the object ends. The mask and everything outside it stay as they
    are. It follows the crop.

    Args:
        prob: Share of samples that change.
        count: Largest number of patterns that are put over each other.
        size: Range of the width of a band and of the distance of stripes and blotches, as a share
            of the crop's shorter side.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import ClutterInterior
        >>> np.random.seed(0)
        >>> mask = np.zeros((60, 60), np.uint8)
        >>> mask[20:40, 20:40] = 255
        >>> results = dict(img=np.full((60, 60, 3), 90, np.uint8), gt_seg_map=mask)
        >>> changed = (ClutterInterior(prob=1).transform(results)['img'] != 90).any(axis=2)
        >>> bool(changed.any()), bool(changed[mask == 0].any())
        (True, False)
    """

    def __init__(
        self, prob: float = 0.3, count: int = 2, size: tuple[float, float] = (0.03, 0.3)
    ) -> None:
        self.prob = prob
        self.count = count
        self.size = size

    def transform(self, results: dict) -> dict:
        """Change ``img`` where ``gt_seg_map`` is above 0.

        Args:
            results: The sample. ``img`` is uint8 ``(H, W, 3)`` and ``gt_seg_map`` uint8
                ``(H, W)``, soft or not.

        Returns:
            The same dict, changed.
        """
        if np.random.random_sample() >= self.prob:
            return results
        image, mask = results['img'], results['gt_seg_map']
        if not mask.any():
            return results
        share = mask.astype(np.float32) / 255
        for _ in range(np.random.randint(1, self.count + 1)):
            other = (_recoloured, _elsewhere)[np.random.randint(2)](image)
            image = _blend(image, other, share * self._pattern(mask))
        results['img'] = image
        return results

    def _pattern(self, mask: np.ndarray) -> np.ndarray:
        """Opacity of a pattern, float32 ``(H, W)`` from 0 to 1, with edges of about two pixels."""
        shape = mask.shape
        size = np.exp(np.random.uniform(*np.log(self.size))) * min(shape)
        kind = np.random.randint(3)
        if kind < 2:
            lines = _along(shape, np.random.uniform(0, np.pi), _pixel_of(mask))
        if kind == 0:  # stripes
            pattern = np.sin(lines * np.float32(np.pi / max(size, 2))) * np.float32(size / np.pi)
        elif kind == 1:  # a band
            pattern = np.float32(max(size, 2) / 2) - np.abs(lines)
        else:  # blotches
            cells = tuple(max(int(length / max(size, 2)), 1) + 2 for length in shape[::-1])
            grid = np.random.normal(0, size, cells[::-1]).astype(np.float32)
            pattern = cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
        return np.clip(pattern * np.float32(0.5) + np.float32(0.5), 0, 1)


@TRANSFORMS.register_module()
class PasteOccluder(BaseTransform):
    """Put thin things before the object, such as wires, poles and twigs.

    They are bent lines of one colour, or of the texture of another part of the photo. Where they
    cover the object, it is no longer in the mask. It follows the crop.

    Args:
        prob: Share of samples that change.
        count: Largest number of lines.
        width: Range of their widths in pixels, drawn log-uniformly.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import PasteOccluder
        >>> np.random.seed(0)
        >>> mask = np.full((60, 60), 255, np.uint8)
        >>> results = dict(img=np.full((60, 60, 3), 90, np.uint8), gt_seg_map=mask)
        >>> results = PasteOccluder(prob=1).transform(results)
        >>> covered = results['gt_seg_map'] < 255
        >>> bool(covered.any()), bool((results['img'][~covered] == 90).all())
        (True, True)
    """

    def __init__(
        self, prob: float = 0.1, count: int = 3, width: tuple[float, float] = (1.5, 8.0)
    ) -> None:
        self.prob = prob
        self.count = count
        self.width = width

    def transform(self, results: dict) -> dict:
        """Change ``img``, and ``gt_seg_map`` where it is covered.

        Args:
            results: The sample. ``img`` is uint8 ``(H, W, 3)`` and ``gt_seg_map`` uint8
                ``(H, W)``, soft or not.

        Returns:
            The same dict, changed.
        """
        if np.random.random_sample() >= self.prob:
            return results
        image, mask = results['img'], results['gt_seg_map']
        if not mask.any():
            return results
        opacity = np.zeros(mask.shape, np.float32)
        for _ in range(np.random.randint(1, self.count + 1)):
            np.maximum(opacity, self._line(mask), out=opacity)
        if np.random.randint(2):
            other = _elsewhere(image)
        else:
            other = np.empty_like(image)
            other[:] = np.random.randint(0, 256, 3)
        results['img'] = _blend(image, other, opacity)
        results['gt_seg_map'] = cv2.convertScaleAbs(mask * (1 - opacity))
        return results

    def _line(self, mask: np.ndarray) -> np.ndarray:
        """Opacity of a bent line through a pixel of the mask, float32 ``(H, W)`` from 0 to 1."""
        width = np.exp(np.random.uniform(*np.log(self.width)))
        angle, at = np.random.uniform(0, np.pi), _pixel_of(mask)
        bend = np.float32(np.random.normal(0, 0.3) / max(mask.shape))
        along, across = (_along(mask.shape, angle + turn, at) for turn in (0, np.pi / 2))
        # Distance to a parabola, nearly: in the direction across, by the slope.
        distance = np.abs(across - bend * along**2) / np.sqrt(1 + (2 * bend * along) ** 2)
        return np.clip(np.float32(width / 2 + 0.5) - distance, 0, 1)
