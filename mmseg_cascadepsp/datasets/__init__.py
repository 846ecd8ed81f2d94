"""Data sets of photos and masks of objects, and the transforms that training needs."""

from .big import BIGDataset
from .camvid import CamVidDataset
from .class_agnostic import ClassAgnosticDataset
from .class_per_set import ClassPerSetDataset
from .label_map_objects import LabelMapObjectsDataset
from .paper_sets import PaperTrainingSet
from .single_object import SingleObjectDataset
from .transforms import (
    AverageCoarseMasks,
    ColorJitter,
    KeepOriginalImage,
    LoadMasks,
    LoadPhoto,
    LoseParts,
    PackRefinedInputs,
    PackRefinementInputs,
    PasteObject,
    PerturbMask,
    PickObject,
    RandomZoomCrop,
    SimulateOutputStride,
)
from .voc_relabelled import RelabelledVOCDataset

__all__ = [
    'AverageCoarseMasks',
    'BIGDataset',
    'CamVidDataset',
    'ClassAgnosticDataset',
    'ClassPerSetDataset',
    'ColorJitter',
    'KeepOriginalImage',
    'LabelMapObjectsDataset',
    'LoadMasks',
    'LoadPhoto',
    'LoseParts',
    'PackRefinedInputs',
    'PackRefinementInputs',
    'PasteObject',
    'PaperTrainingSet',
    'PerturbMask',
    'PickObject',
    'RandomZoomCrop',
    'RelabelledVOCDataset',
    'SimulateOutputStride',
    'SingleObjectDataset',
]
