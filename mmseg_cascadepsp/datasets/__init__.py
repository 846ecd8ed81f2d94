"""Data sets of photos and masks of objects, and the transforms that training needs."""

from mmseg_cascadepsp.datasets.big import BIGDataset
from mmseg_cascadepsp.datasets.camvid import CamVidDataset
from mmseg_cascadepsp.datasets.class_agnostic import ClassAgnosticDataset
from mmseg_cascadepsp.datasets.class_per_set import ClassPerSetDataset
from mmseg_cascadepsp.datasets.label_map_objects import LabelMapObjectsDataset
from mmseg_cascadepsp.datasets.paper_sets import PaperTrainingSet
from mmseg_cascadepsp.datasets.single_object import SingleObjectDataset
from mmseg_cascadepsp.datasets.transforms import (
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
from mmseg_cascadepsp.datasets.voc_relabelled import RelabelledVOCDataset

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
