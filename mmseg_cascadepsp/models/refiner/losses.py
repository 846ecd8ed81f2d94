"""Losses of the finer outputs (paper, section 3.1, "Loss")."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError


@MODELS.register_module()
class L1L2Loss(nn.Module):
    """Mean absolute error plus mean squared error of the probability.

    Args:
        l1_weight: Weight of the absolute error.
        l2_weight: Weight of the squared error.
        loss_name: Name of the loss in the log.
        boundary_radius: Pixels up to this far from a boundary of the ground truth, along rows and
            columns, get ``boundary_weight``. At least 1.
        boundary_weight: Weight of pixels near the boundary. All other pixels have 1, and so have
            all pixels in the paper.

    Raises:
        InvalidValueError: ``boundary_radius`` is below 1.

    Example:
        >>> L1L2Loss()(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.7500)
    """

    soft_target = True

    def __init__(
        self,
        l1_weight: float = 1.0,
        l2_weight: float = 1.0,
        loss_name: str = 'loss_l1l2',
        boundary_radius: int = 8,
        boundary_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if boundary_radius < 1:
            raise InvalidValueError(
                f'boundary_radius must be at least 1 pixel, got {boundary_radius}'
            )
        self.l1_weight = l1_weight
        self.l2_weight = l2_weight
        self.loss_name = loss_name
        self.boundary_radius = boundary_radius
        self.boundary_weight = boundary_weight

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: (B, 1, H, W).
            truth: (B, 1, H, W) float in [0, 1].

        Returns:
            Scalar, the mean over all pixels.
        """
        error = logits.sigmoid() - truth
        loss = self.l1_weight * error.abs() + self.l2_weight * error.square()
        if self.boundary_weight != 1:
            radius = self.boundary_radius
            most, least = (
                F.max_pool2d(sign * truth, 2 * radius + 1, stride=1, padding=radius) * sign
                for sign in (1, -1)
            )
            loss = torch.where(most - least > 0.5, self.boundary_weight * loss, loss)
        return loss.mean()


def gradient_magnitude(x: Tensor) -> Tensor:
    """Magnitude of the Sobel gradient after a 3x3 mean filter.

    As in the release, borders are padded with zeros and kernels are divided by 4. The 1e-4 under
    the root keeps the derivative finite where the gradient is zero.

    Args:
        x: (B, 1, H, W) float.

    Returns:
        (B, 1, H, W) float.

    Example:
        >>> gradient_magnitude(torch.ones(1, 1, 9, 9))[0, 0, 4, 4]
        tensor(0.0100)
    """
    x = F.avg_pool2d(x, 3, stride=1, padding=1)
    smooth = x.new_tensor([1.0, 2.0, 1.0])
    slope = x.new_tensor([1.0, 0.0, -1.0])
    kernels = (
        torch.stack((torch.outer(smooth, slope), torch.outer(slope, smooth))).unsqueeze(1) / 4
    )
    return (F.conv2d(x, kernels, padding=1).square().sum(dim=1, keepdim=True) + 1e-4).sqrt()


@MODELS.register_module()
class GradientLoss(nn.Module):
    """L1 distance of the gradient magnitudes of probability and ground truth (paper, equation 1).

    Args:
        loss_weight: Weight of the loss, alpha in the paper.
        loss_name: Name of the loss in the log.

    Example:
        >>> GradientLoss()(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5))
        tensor(0.)
    """

    soft_target = True

    def __init__(self, loss_weight: float = 5.0, loss_name: str = 'loss_gradient') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: (B, 1, H, W).
            truth: (B, 1, H, W) float in [0, 1].

        Returns:
            Scalar.
        """
        return self.loss_weight * F.l1_loss(
            gradient_magnitude(logits.sigmoid()), gradient_magnitude(truth)
        )
