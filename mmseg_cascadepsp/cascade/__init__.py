"""The procedure of CascadePSP, free of MMSegmentation: it is given the network as a callable."""
from .components import Component, check_labels, divide
from .crops import adaptive_crops, boundary_cells
from .fusion import Fusion, SceneResult
from .geometry import Box, Crop, check_crop_size, crop_grid, pad, padded_size, resize_longer_side
from .guided import GuidedFilter
from .local import CROP_FILTERS, CROPS, Progress, check_crops, local_rows, local_step
from .passes import (
    STRIDES,
    FinishedPass,
    RefinePass,
    check_overview,
    look_over,
    mask_channels,
    padded_cascade,
    run_cascade,
)
from .scene import refine_classes, refine_scene
from .steps import Refinement, global_step, refine
from .windows import RowReader

__all__ = [
    'CROPS', 'CROP_FILTERS', 'STRIDES', 'Box', 'Component', 'Crop', 'FinishedPass', 'Fusion',
    'GuidedFilter', 'Progress', 'RefinePass', 'Refinement', 'RowReader', 'SceneResult',
    'adaptive_crops', 'boundary_cells', 'check_crop_size', 'check_crops', 'check_labels',
    'check_overview', 'crop_grid', 'divide', 'global_step', 'local_rows', 'local_step',
    'look_over', 'mask_channels', 'pad', 'padded_cascade', 'padded_size', 'refine',
    'refine_classes', 'refine_scene', 'resize_longer_side', 'run_cascade'
]
