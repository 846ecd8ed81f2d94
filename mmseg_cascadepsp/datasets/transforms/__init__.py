from .augment import ColorJitter, RandomZoomCrop
from .compose import PasteObject
from .loading import LoadMasks, LoadPhoto, PackRefinementInputs
from .objects import PickObject, fill_void
from .original import KeepOriginalImage, PackRefinedInputs
from .perturb import AverageCoarseMasks, LoseParts, PerturbMask, SimulateOutputStride, perturb_mask

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
