"""Photos put together of two: unlimited pairs whose masks are exact."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError


@TRANSFORMS.register_module()
class PasteObject(BaseTransform):
    """Cut an object out of one crop and paste it into another.

    Either the sample's own object stands before the other photo, or the other photo's object
    stands beside and before the sample's own: a neighbour that does not belong to the mask. Goes
    into the pipeline of MMSeg's ``MultiImageMixDataset``, behind crops of one size.

    Args:
        prob: share of samples that are composed; the others stay as they are.
        neighbour: share of the composed ones that get the other's object as a neighbour.
        erode: largest number of pixels by which a cut-out is made smaller, so that no rim of its
            old surroundings comes along.
        feather: range of the standard deviation of its soft edge, pixels.
        min_share: a composition is dropped where less than this share of the crop is left of the
            object or of its surroundings.
    """

    def __init__(
        self,
        prob: float = 0.3,
        neighbour: float = 0.6,
        erode: int = 2,
        feather: tuple[float, float] = (0.4, 1.2),
        min_share: float = 0.02,
    ) -> None:
        self.prob = prob
        self.neighbour = neighbour
        self.erode = erode
        self.feather = feather
        self.min_share = min_share

    def get_indices(self, dataset) -> list[int]:
        """The other sample, drawn anew; none where this one stays as it is."""
        return [np.random.randint(len(dataset))] if np.random.rand() < self.prob else []

    def transform(self, results: dict) -> dict:
        """Change ``img`` (uint8 (H, W, 3)) and ``gt_seg_map`` (uint8 (H, W)) with those of
        ``mix_results``.

        Raises:
            ValueError: the two crops differ in size.
        """
        if not results['mix_results']:
            return results
        (other,) = results['mix_results']
        if other['img'].shape != results['img'].shape:
            raise InvalidValueError(
                f'PasteObject: crops must be of one size, got {results["img"].shape[:2]} and '
                f'{other["img"].shape[:2]}; crop in the pipeline of the inner dataset'
            )
        if np.random.rand() < self.neighbour:
            image, alpha = self._cut_out(*self._shift(other['img'], other['gt_seg_map']))
            ground, truth = results['img'], results['gt_seg_map'] * (1 - alpha)
        else:
            image, alpha = self._cut_out(results['img'], results['gt_seg_map'])
            ground, truth = other['img'], 255 * alpha
        truth = np.rint(truth).astype(np.uint8)
        if self.min_share <= (truth > 127).mean() <= 1 - self.min_share:
            alpha = alpha[..., None]
            results['img'] = np.rint(image * alpha + ground * (1 - alpha)).astype(np.uint8)
            results['gt_seg_map'] = truth
        return results

    def _cut_out(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(image, opacity in 0..1)."""
        size = 2 * np.random.randint(self.erode + 1) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        # Beyond the crop the object goes on.
        smaller = cv2.erode(mask, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
        return image, cv2.GaussianBlur(smaller / 255, (0, 0), np.random.uniform(*self.feather))

    @staticmethod
    def _shift(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both moved by up to half of the crop. No mask where nothing was; the photo goes on as at
        its edge, whose colour the soft rim of a cut-out takes in.
        """
        height, width = mask.shape
        shift = np.random.uniform(-0.5, 0.5, 2) * (width, height)
        matrix = np.float32([[1, 0, int(shift[0])], [0, 1, int(shift[1])]])
        return (
            cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE),
            cv2.warpAffine(mask, matrix, (width, height)),
        )
