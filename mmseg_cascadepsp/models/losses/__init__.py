from .refinement_loss import GradientLoss, L1L2Loss, gradient_magnitude

__all__ = ['GradientLoss', 'L1L2Loss', 'gradient_magnitude']
