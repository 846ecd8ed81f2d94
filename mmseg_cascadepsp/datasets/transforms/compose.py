"""Photos composed of two others: any number of pairs whose masks are exact."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_cascadepsp.errors import InvalidValueError


@TRANSFORMS.register_module()
class PasteObject(BaseTransform):
    """Cut an object out of one crop and paste it into another.

    Either the sample's own object is pasted onto the other photo, or the object of the other photo
    is pasted onto the sample: a neighbour that does not belong to the mask. This transform goes
    into the pipeline of MMSeg's ``MultiImageMixDataset``, or of
    :class:`~mmseg_cascadepsp.datasets.SameSetMixDataset`, whose neighbours are of the same kind.
    The crops must be of one size.

    Args:
        prob: Share of samples that are composed. The others stay as they are.
        neighbour: Share of the composed samples that get the other object as a neighbour.
        behind: Share of the neighbours that stand behind the sample's object. The others cover it.
        erode: Largest number of pixels by which a cut-out is made smaller. This keeps its old
            surroundings out.
        feather: Range of the standard deviation of its soft edge, pixels.
        min_share: Least share of the crop that the object and its surroundings must each have.
            Otherwise the sample stays as it is.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets import PasteObject
        >>> mask = np.zeros((60, 60), np.uint8)
        >>> mask[20:40, 20:40] = 255
        >>> other = dict(img=np.full((60, 60, 3), 200, np.uint8), gt_seg_map=mask)
        >>> black = np.zeros((60, 60, 3), np.uint8)
        >>> results = dict(img=black, gt_seg_map=mask, mix_results=[other])
        >>> composed = PasteObject(neighbour=0).transform(results)['img']
        >>> composed[30, 30].tolist(), composed[5, 5].tolist()
        ([0, 0, 0], [200, 200, 200])
    """

    def __init__(
        self,
        prob: float = 0.3,
        neighbour: float = 0.6,
        erode: int = 2,
        feather: tuple[float, float] = (0.4, 1.2),
        min_share: float = 0.02,
        behind: float = 0.0,
    ) -> None:
        self.prob = prob
        self.neighbour = neighbour
        self.behind = behind
        self.erode = erode
        self.feather = feather
        self.min_share = min_share

    def get_indices(self, dataset) -> list[int]:
        """Draw the other sample.

        Args:
            dataset: The data set that is drawn from.

        Returns:
            Its index, or nothing if this sample stays as it is.
        """
        return [np.random.randint(len(dataset))] if np.random.rand() < self.prob else []

    def transform(self, results: dict) -> dict:
        """Compose the sample with the other one, if one was drawn.

        Args:
            results: The sample, and the other one in ``mix_results``. ``img`` is uint8
                ``(H, W, 3)`` and ``gt_seg_map`` uint8 ``(H, W)``.

        Returns:
            The same dict, changed.

        Raises:
            InvalidValueError: The two crops differ in size.
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
            ground, truth = results['img'], results['gt_seg_map']
            if self.behind and np.random.rand() < self.behind:
                alpha = alpha * (1 - truth.astype(np.float32) / 255)
            else:
                truth = truth * (1 - alpha)
        else:
            image, alpha = self._cut_out(results['img'], results['gt_seg_map'])
            ground, truth = other['img'], 255 * alpha
        truth = cv2.convertScaleAbs(truth)  # rounds
        if self.min_share <= (truth > 127).mean() <= 1 - self.min_share:
            results['img'] = cv2.blendLinear(image, ground, alpha, 1 - alpha)
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
        """Both moved by up to half of the crop.

        The mask is empty where nothing was. The photo continues with the colour of its border,
        which the soft edge of a cut-out takes in.
        """
        height, width = mask.shape
        across, down = (np.random.uniform(-0.5, 0.5, 2) * (width, height)).astype(int).tolist()
        border = max(down, 0), max(-down, 0), max(across, 0), max(-across, 0)
        kept = np.s_[border[1] : height - border[0], border[3] : width - border[2]]
        return (
            cv2.copyMakeBorder(image[kept], *border, cv2.BORDER_REPLICATE),
            cv2.copyMakeBorder(mask[kept], *border, cv2.BORDER_CONSTANT, value=0),
        )
