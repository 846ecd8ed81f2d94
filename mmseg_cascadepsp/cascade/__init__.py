"""The procedure of CascadePSP, free of MMSegmentation: it is given the network as a callable."""
from .geometry import Box, Crop, check_crop_size, crop_grid, pad, padded_size, resize_longer_side
from .passes import RefinePass, mask_channels, run_cascade
from .steps import CROP_FILTERS, STRIDES, global_step, local_step, padded_cascade, refine

__all__ = [
    'CROP_FILTERS', 'STRIDES', 'Box', 'Crop', 'RefinePass', 'check_crop_size', 'crop_grid',
    'global_step', 'local_step', 'mask_channels', 'pad', 'padded_cascade', 'padded_size', 'refine',
    'resize_longer_side', 'run_cascade'
]
