"""Methods that sharpen masks without training: GrabCut, guided filter, DenseCRF.

``python tools/measure.py --baselines grabcut,guided,densecrf`` measures them beside a refiner.
"""

import cv2
import numpy as np

from mmseg_cascadepsp.errors import MissingPackageError


def grabcut(
    image: np.ndarray, mask: np.ndarray, band: float = 0.015, iterations: int = 3
) -> np.ndarray:
    """Sharpen a mask by GrabCut (Rother et al. 2004).

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        mask: Coarse mask, bool ``(H, W)``.
        band: How far the boundary may move, as a share of the longer side.
        iterations: Rounds of GrabCut.

    Returns:
        bool ``(H, W)``. An empty or full mask stays as it is.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.baselines import grabcut
        >>> truth = np.zeros((60, 80), bool)
        >>> truth[20:40, 20:60] = True
        >>> image = np.where(truth[..., None], (200, 20, 20), (20, 150, 20)).astype(np.uint8)
        >>> bool((grabcut(image, np.roll(truth, 1, axis=1)) == truth).all())
        True
    """
    if mask.all() or not mask.any():
        return mask
    width = band * max(mask.shape)
    inside, outside = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask)
    )
    labels = np.where(
        mask,
        np.where(inside > width, cv2.GC_FGD, cv2.GC_PR_FGD),
        np.where(outside > width, cv2.GC_BGD, cv2.GC_PR_BGD),
    ).astype(np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(image[..., ::-1]),
        labels,
        None,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        iterations,
        cv2.GC_INIT_WITH_MASK,
    )
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def guided(
    image: np.ndarray, mask: np.ndarray, radius: float = 0.04, eps: float = 1e-4
) -> np.ndarray:
    """Sharpen a mask by the guided filter (He et al. 2010), cut at 0.5.

    Args:
        image: The guide, RGB uint8 ``(H, W, 3)``.
        mask: Coarse mask, bool ``(H, W)``.
        radius: Radius of the square windows, as a share of the longer side.
        eps: Regularisation, for colours in [0, 1].

    Returns:
        bool ``(H, W)``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.baselines import guided
        >>> truth = np.zeros((60, 80), bool)
        >>> truth[20:40, 20:60] = True
        >>> image = np.where(truth[..., None], (200, 20, 20), (20, 150, 20)).astype(np.uint8)
        >>> bool((guided(image, np.roll(truth, 1, axis=1)) == truth).all())
        True
    """
    size = (2 * max(1, round(radius * max(mask.shape))) + 1,) * 2

    def mean(values):
        return cv2.blur(values, size, borderType=cv2.BORDER_REFLECT)

    guide, source = image.astype(np.float64) / 255, mask.astype(np.float64)
    guide_mean, source_mean = mean(guide), mean(source)
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*mask.shape, 9)
    variance = np.stack([mean(products[..., i]) for i in range(9)], -1).reshape(*mask.shape, 3, 3)
    variance -= guide_mean[..., :, None] * guide_mean[..., None, :]
    covariance = mean(guide * source[..., None]) - guide_mean * source_mean[..., None]
    slope = np.linalg.solve(variance + eps * np.eye(3), covariance[..., None])[..., 0]
    offset = source_mean - (slope * guide_mean).sum(-1)
    return (mean(slope) * guide).sum(-1) + mean(offset) > 0.5


def densecrf(
    image: np.ndarray,
    mask: np.ndarray,
    confidence: float = 0.7,
    colour: float = 5,
    distance: float = 50,
    iterations: int = 5,
) -> np.ndarray:
    """Sharpen a mask by a fully connected CRF (Kraehenbuehl and Koltun 2011).

    Its kernels are narrower than those of pydensecrf's examples (13 and 80), which lost IoU on
    photos of persons.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        mask: Coarse mask, bool ``(H, W)``. It gives the unary term.
        confidence: Probability that a pixel of the mask is right.
        colour: Standard deviation of the bilateral kernel in colour, 0 to 255.
        distance: Standard deviation of the bilateral kernel in pixels.
        iterations: Rounds of mean field inference.

    Returns:
        bool ``(H, W)``. An empty or full mask stays as it is.

    Raises:
        MissingPackageError: The optional package ``pydensecrf2`` is not installed.

    Example:
        >>> from mmseg_cascadepsp.evaluation.baselines import densecrf
        >>> refined = densecrf(image, mask)  # doctest: +SKIP
    """
    try:
        from pydensecrf import densecrf as crf
        from pydensecrf.utils import unary_from_labels
    except ImportError as error:
        raise MissingPackageError(
            'densecrf needs the optional package pydensecrf2 (pip install '
            'pydensecrf2); leave it out of --baselines to go without.'
        ) from error
    if mask.all() or not mask.any():
        return mask
    model = crf.DenseCRF2D(mask.shape[1], mask.shape[0], 2)
    model.setUnaryEnergy(
        unary_from_labels(mask.astype(np.int32), 2, confidence, zero_unsure=False)
    )
    model.addPairwiseGaussian(sxy=3, compat=3)
    model.addPairwiseBilateral(
        sxy=distance, srgb=colour, compat=10, rgbim=np.array(image, order='C')
    )  # it wants a writable one
    return np.argmax(model.inference(iterations), axis=0).reshape(mask.shape) == 1


BASELINES = {'grabcut': grabcut, 'guided': guided, 'densecrf': densecrf}
"""Name -> method: (RGB uint8 ``(H, W, 3)``, coarse mask bool ``(H, W)``) -> bool ``(H, W)``."""
