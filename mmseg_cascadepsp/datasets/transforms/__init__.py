"""Transforms of pipelines: loading, augmenting, and making coarse masks from true ones."""

from ..transforms.augment import ColorJitter, FlipPair, RandomZoomCrop
from ..transforms.clutter import ClutterInterior, PasteOccluder
from ..transforms.coarse import (
    AverageCoarseMasks,
    CopyTrueMask,
    LoseParts,
    SimulateOutputStride,
    SimulatePromptable,
)
from ..transforms.compose import PasteObject
from ..transforms.loading import LoadMasks, LoadPhoto, PackRefinementInputs
from ..transforms.objects import PickObject, fill_void
from ..transforms.original import KeepOriginalImage, PackRefinedInputs
from ..transforms.perturb import PerturbMask, perturb_mask

__all__ = [
    'AverageCoarseMasks',
    'ClutterInterior',
    'ColorJitter',
    'CopyTrueMask',
    'FlipPair',
    'KeepOriginalImage',
    'LoadMasks',
    'LoadPhoto',
    'LoseParts',
    'PackRefinedInputs',
    'PackRefinementInputs',
    'PasteObject',
    'PasteOccluder',
    'PerturbMask',
    'PickObject',
    'RandomZoomCrop',
    'SimulateOutputStride',
    'SimulatePromptable',
    'fill_void',
    'perturb_mask',
]
