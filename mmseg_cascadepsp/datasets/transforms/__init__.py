"""Transforms of pipelines: loading, augmenting, and making coarse masks from true ones."""

from ..transforms.augment import ColorJitter, RandomZoomCrop
from ..transforms.compose import PasteObject
from ..transforms.loading import LoadMasks, LoadPhoto, PackRefinementInputs
from ..transforms.objects import PickObject, fill_void
from ..transforms.original import KeepOriginalImage, PackRefinedInputs
from ..transforms.perturb import (
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
