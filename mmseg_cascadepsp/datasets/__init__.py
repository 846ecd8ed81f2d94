"""Data sets of photos and masks of objects, and the transforms that training needs."""

from .big import BIGDataset
from .camvid import CamVidDataset
from .class_agnostic import ClassAgnosticDataset
from .class_per_set import ClassPerSetDataset
from .label_map_objects import LabelMapObjectsDataset
from .mixing import SameSetMixDataset
from .paper_sets import PaperTrainingSet
from .single_object import SingleObjectDataset
from .transforms import (
    AverageCoarseMasks,
    ClutterInterior,
    ColorJitter,
    CopyTrueMask,
    FlipPair,
    KeepOriginalImage,
    LoadMasks,
    LoadPhoto,
    LoseParts,
    PackRefinedInputs,
    PackRefinementInputs,
    PasteObject,
    PasteOccluder,
    PerturbMask,
    PickObject,
    RandomZoomCrop,
    SimulateOutputStride,
    SimulatePromptable,
)
from .voc_relabelled import RelabelledVOCDataset

__all__ = [
    'AverageCoarseMasks',
    'BIGDataset',
    'CamVidDataset',
    'ClassAgnosticDataset',
    'ClassPerSetDataset',
    'ClutterInterior',
    'ColorJitter',
    'CopyTrueMask',
    'FlipPair',
    'KeepOriginalImage',
    'LabelMapObjectsDataset',
    'LoadMasks',
    'LoadPhoto',
    'LoseParts',
    'PackRefinedInputs',
    'PackRefinementInputs',
    'PasteObject',
    'PasteOccluder',
    'PaperTrainingSet',
    'PerturbMask',
    'PickObject',
    'RandomZoomCrop',
    'RelabelledVOCDataset',
    'SameSetMixDataset',
    'SimulateOutputStride',
    'SimulatePromptable',
    'SingleObjectDataset',
]
