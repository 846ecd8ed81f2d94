from .big import BIGDataset
from .camvid import CamVidDataset
from .class_agnostic import ClassAgnosticDataset
from .class_per_set import ClassPerSetDataset
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
    'CamVidDataset',
    'ClassAgnosticDataset',
    'ClassPerSetDataset',
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
