from .backbones import EfficientNetLite, RefinementEfficientNetLite, RefinementResNet
from .data_preprocessor import RefinementPreProcessor
from .decode_heads import RefinementHead
from .losses import GradientLoss, L1L2Loss
from .segmentors import CascadePSP, RefinedSegmentor, RefinedSegTTAModel, StoredPredictions

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
