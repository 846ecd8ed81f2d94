"""Networks registered with MMSegmentation: the refiner, and the chain of a segmentor and it."""

from .chain import RefinedSegmentor, RefinedSegTTAModel, StoredPredictions
from .refiner import (
    CascadePSP,
    EfficientNetLite,
    GradientLoss,
    L1L2Loss,
    RefinementEfficientNetLite,
    RefinementHead,
    RefinementPreProcessor,
    RefinementResNet,
)

__all__ = [
    'CascadePSP',
    'EfficientNetLite',
    'GradientLoss',
    'L1L2Loss',
    'RefinedSegTTAModel',
    'RefinedSegmentor',
    'RefinementEfficientNetLite',
    'RefinementHead',
    'RefinementPreProcessor',
    'RefinementResNet',
    'StoredPredictions',
]
