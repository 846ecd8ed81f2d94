from .augment import ColorJitter, RandomZoomCrop
from .loading import LoadMasks, PackRefinementInputs
from .original import KeepOriginalImage, PackRefinedInputs
from .perturb import PerturbMask, SimulateOutputStride, perturb_mask

__all__ = [
    'ColorJitter',
    'KeepOriginalImage',
    'LoadMasks',
    'PackRefinedInputs',
    'PackRefinementInputs',
    'PerturbMask',
    'RandomZoomCrop',
    'SimulateOutputStride',
    'perturb_mask',
]
