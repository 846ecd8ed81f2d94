"""The procedure of CascadePSP, free of MMSegmentation: it is given the network as a callable."""

from mmseg_cascadepsp.cascade.components import Component, check_labels, divide
from mmseg_cascadepsp.cascade.crops import adaptive_crops, boundary_cells
from mmseg_cascadepsp.cascade.fusion import Fusion, SceneResult
from mmseg_cascadepsp.cascade.geometry import (
    Box,
    Crop,
    check_crop_size,
    crop_grid,
    pad,
    padded_size,
    resize_longer_side,
)
from mmseg_cascadepsp.cascade.guided import GuidedFilter
from mmseg_cascadepsp.cascade.local import (
    CROP_FILTERS,
    CROPS,
    Progress,
    check_crops,
    local_rows,
    local_step,
)
from mmseg_cascadepsp.cascade.passes import (
    STRIDES,
    FinishedPass,
    RefinePass,
    check_overview,
    look_over,
    mask_channels,
    padded_cascade,
    run_cascade,
)
from mmseg_cascadepsp.cascade.scene import refine_classes, refine_scene
from mmseg_cascadepsp.cascade.steps import Refinement, global_step, refine
from mmseg_cascadepsp.cascade.windows import RowReader

__all__ = [
    'CROPS',
    'CROP_FILTERS',
    'STRIDES',
    'Box',
    'Component',
    'Crop',
    'FinishedPass',
    'Fusion',
    'GuidedFilter',
    'Progress',
    'RefinePass',
    'Refinement',
    'RowReader',
    'SceneResult',
    'adaptive_crops',
    'boundary_cells',
    'check_crop_size',
    'check_crops',
    'check_labels',
    'check_overview',
    'crop_grid',
    'divide',
    'global_step',
    'local_rows',
    'local_step',
    'look_over',
    'mask_channels',
    'pad',
    'padded_cascade',
    'padded_size',
    'refine',
    'refine_classes',
    'refine_scene',
    'resize_longer_side',
    'run_cascade',
]
