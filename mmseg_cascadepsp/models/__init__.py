"""Networks registered with MMSegmentation: the refiner, and the chain of a segmentor and it."""

from mmseg_cascadepsp.compat import require_mmseg

require_mmseg()  # says in one sentence why MMSegmentation cannot be imported

from .chain import RefinedSegmentor, RefinedSegTTAModel, StoredPredictions  # noqa: E402
from .refiner import (  # noqa: E402
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
