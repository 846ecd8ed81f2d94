from .backbones import RefinementResNet
from .data_preprocessor import RefinementPreProcessor
from .decode_heads import RefinementHead
from .losses import GradientLoss, L1L2Loss
from .segmentors import CascadePSP, RefinedSegmentor, RefinedSegTTAModel, StoredPredictions

__all__ = [
    'CascadePSP',
    'GradientLoss',
    'L1L2Loss',
    'RefinedSegTTAModel',
    'RefinedSegmentor',
    'RefinementHead',
    'RefinementPreProcessor',
    'RefinementResNet',
    'StoredPredictions',
]
