"""Transforms of pipelines: loading, augmenting, and making coarse masks from true ones."""

from mmseg_cascadepsp.datasets.transforms.augment import ColorJitter, RandomZoomCrop
from mmseg_cascadepsp.datasets.transforms.compose import PasteObject
from mmseg_cascadepsp.datasets.transforms.loading import LoadMasks, LoadPhoto, PackRefinementInputs
from mmseg_cascadepsp.datasets.transforms.objects import PickObject, fill_void
from mmseg_cascadepsp.datasets.transforms.original import KeepOriginalImage, PackRefinedInputs
from mmseg_cascadepsp.datasets.transforms.perturb import (
    AverageCoarseMasks,
    LoseParts,
    PerturbMask,
    SimulateOutputStride,
    perturb_mask,
)

__all__ = [
    'AverageCoarseMasks',
    'ColorJitter',
    'KeepOriginalImage',
    'LoadMasks',
    'LoadPhoto',
    'LoseParts',
    'PackRefinedInputs',
    'PackRefinementInputs',
    'PasteObject',
    'PerturbMask',
    'PickObject',
    'RandomZoomCrop',
    'SimulateOutputStride',
    'fill_void',
    'perturb_mask',
]
