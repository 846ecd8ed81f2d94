"""The procedure of CascadePSP, free of MMSegmentation: it is given the network as a callable."""
from .components import Component, check_labels, divide
from .fusion import Fusion, SceneResult
from .geometry import Box, Crop, check_crop_size, crop_grid, pad, padded_size, resize_longer_side
from .passes import RefinePass, mask_channels, run_cascade
from .scene import refine_classes, refine_scene
from .steps import CROP_FILTERS, STRIDES, global_step, local_step, padded_cascade, refine

__all__ = [
    'CROP_FILTERS', 'STRIDES', 'Box', 'Component', 'Crop', 'Fusion', 'RefinePass', 'SceneResult',
    'check_crop_size', 'check_labels', 'crop_grid', 'divide', 'global_step', 'local_step',
    'mask_channels', 'pad', 'padded_cascade', 'padded_size', 'refine', 'refine_classes',
    'refine_scene', 'resize_longer_side', 'run_cascade'
]
