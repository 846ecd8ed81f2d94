"""The refiner: its network, its weights and how it is run."""

from .cascade_psp import CascadePSP
from .efficientnet_lite import EfficientNetLite, RefinementEfficientNetLite
from .head import PyramidPooling, RefinementHead, UpsamplingBlock
from .losses import GradientLoss, L1L2Loss, gradient_magnitude
from .preprocessor import RefinementPreProcessor
from .resnet import RefinementResNet

__all__ = [
    'CascadePSP',
    'EfficientNetLite',
    'GradientLoss',
    'L1L2Loss',
    'PyramidPooling',
    'RefinementEfficientNetLite',
    'RefinementHead',
    'RefinementPreProcessor',
    'RefinementResNet',
    'UpsamplingBlock',
    'gradient_magnitude',
]
