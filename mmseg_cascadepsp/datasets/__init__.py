from .class_agnostic import ClassAgnosticDataset
from .transforms import (
    ColorJitter,
    LoadMasks,
    PackRefinementInputs,
    PerturbMask,
    RandomZoomCrop,
    SimulateOutputStride,
)

__all__ = [
    'ClassAgnosticDataset',
    'ColorJitter',
    'LoadMasks',
    'PackRefinementInputs',
    'PerturbMask',
    'RandomZoomCrop',
    'SimulateOutputStride',
]
