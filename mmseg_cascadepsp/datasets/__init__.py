from .big import BIGDataset
from .class_agnostic import ClassAgnosticDataset
from .single_object import SingleObjectDataset
from .transforms import (
    ColorJitter,
    KeepOriginalImage,
    LoadMasks,
    PackRefinedInputs,
    PackRefinementInputs,
    PerturbMask,
    RandomZoomCrop,
    SimulateOutputStride,
)
from .voc_relabelled import RelabelledVOCDataset

__all__ = [
    'BIGDataset',
    'ClassAgnosticDataset',
    'ColorJitter',
    'KeepOriginalImage',
    'LoadMasks',
    'PackRefinedInputs',
    'PackRefinementInputs',
    'PerturbMask',
    'RandomZoomCrop',
    'RelabelledVOCDataset',
    'SimulateOutputStride',
    'SingleObjectDataset',
]
