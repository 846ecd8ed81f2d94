from .augment import ColorJitter, RandomZoomCrop
from .loading import LoadMasks, PackRefinementInputs
from .perturb import PerturbMask, SimulateOutputStride, perturb_mask

__all__ = [
    'ColorJitter',
    'LoadMasks',
    'PackRefinementInputs',
    'PerturbMask',
    'RandomZoomCrop',
    'SimulateOutputStride',
    'perturb_mask',
]
