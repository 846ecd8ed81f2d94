"""The guided filter: probabilities that follow the photo's edges to the pixel."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError


@dataclass(frozen=True)
class GuidedFilter:
    """Guided filter of a probability, with the colour photo as guide (He, Sun and Tang 2010).

    In every window the probability is fitted by a linear function of the colour, so that it
    changes where the colour does. The coefficients are computed on a smaller grid (He and Sun
    2015).

    Args:
        radius: Half the side of the windows, as a share of the longer side. It is at least 2
            pixels.
        eps: Added to the variances of the colours, which holds the slopes back. The image is
            normalised, so that its channels have a standard deviation of about 1.
        cells: Cells of the smaller grid per radius. A grid is never finer than the image.

    Raises:
        InvalidValueError: One of them is not above 0.

    Example:
        >>> image = torch.zeros(1, 3, 1, 9)
        >>> image[..., 5:] = 1  # an edge of the photo
        >>> soft = torch.linspace(0, 1, 9).reshape(1, 1, 1, 9)
        >>> filtered = GuidedFilter(radius=0.5)(image, soft)[0, 0, 0]
        >>> steps = filtered.diff()
        >>> int(steps.argmax())  # the largest step is where the edge is
        4
    """

    radius: float = 0.008
    eps: float = 0.04
    cells: int = 2

    def __post_init__(self) -> None:
        for name in ('radius', 'eps', 'cells'):
            if not getattr(self, name) > 0:
                raise InvalidValueError(f'{name} must be above 0, got {getattr(self, name)!r}')

    def __call__(self, image: Tensor, probability: Tensor) -> Tensor:
        """Filter.

        Args:
            image: (B, 3, H, W) float, normalised.
            probability: (B, 1, H, W) float in [0, 1].

        Returns:
            (B, 1, H, W) in [0, 1], dtype of ``probability``.
        """
        size = probability.shape[-2:]
        radius = max(self.radius * max(size), 2)
        step = max(int(radius / self.cells), 1)
        image = image.to(probability)
        small, value = (
            F.avg_pool2d(part, step, ceil_mode=True, count_include_pad=False) if step > 1 else part
            for part in (image, probability)
        )
        window = round(radius / step)

        image_mean, value_mean = _means(small, window), _means(value, window)
        covariance = _means(small * value, window) - image_mean * value_mean
        slope = self._solve(small, image_mean, covariance, window)
        offset = value_mean - (slope * image_mean).sum(1, keepdim=True)
        fit = _means(torch.cat((slope, offset), dim=1), window)
        if step > 1:
            # Cells at the right and bottom may reach beyond the image.
            whole = [step * length for length in fit.shape[-2:]]
            fit = F.interpolate(fit, size=whole, mode='bilinear')[..., : size[0], : size[1]]
        return (fit[:, :3] * image).sum(1, keepdim=True).add_(fit[:, 3:]).clamp_(0, 1)

    def _solve(self, image: Tensor, image_mean: Tensor, covariance: Tensor, window: int) -> Tensor:
        """Slopes (B, 3, h, w): (variance + eps) ** -1 * covariance, by cofactors."""
        first, second = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
        variance = _means(image[:, first] * image[:, second], window)
        variance = variance - image_mean[:, first] * image_mean[:, second]
        rr, rg, rb, gg, gb, bb = variance.unbind(1)
        rr, gg, bb = rr + self.eps, gg + self.eps, bb + self.eps
        inverse = torch.stack((
            gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg,
            rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg,
        ), dim=1)  # fmt: skip
        determinant = rr * inverse[:, 0] + rg * inverse[:, 1] + rb * inverse[:, 2]
        rows = [(inverse[:, i] * covariance).sum(1) for i in ((0, 1, 2), (1, 3, 4), (2, 4, 5))]
        return torch.stack(rows, dim=1) / determinant[:, None]


def _means(planes: Tensor, window: int) -> Tensor:
    """Means over squares of ``2 * window + 1`` pixels, cut at the border, of (B, C, H, W)."""
    side = 2 * window + 1
    if planes.device.type == 'cpu' and planes.dtype == torch.float32 and not planes.requires_grad:
        # Running sums: the time does not grow with the window.
        def sums(plane: np.ndarray) -> np.ndarray:
            return cv2.boxFilter(
                plane, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
            )

        flat = planes.contiguous().flatten(0, 1).numpy()
        counts = sums(np.ones(flat.shape[1:], np.float32))
        means = np.stack([sums(plane) / counts for plane in flat])
        return torch.from_numpy(means).view(planes.shape)
    across = F.avg_pool2d(planes, (1, side), 1, (0, window), count_include_pad=False)
    return F.avg_pool2d(across, (side, 1), 1, (window, 0), count_include_pad=False)
