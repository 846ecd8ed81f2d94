"""The procedure of CascadePSP on tensors alone: it is given a network and settings."""

from .components import Component, check_labels, divide
from .fusion import Fusion, SceneResult
from .geometry import (
    Box,
    Crop,
    check_crop_size,
    crop_grid,
    resize_longer_side,
    resize_window,
    resized_sides,
)
from .guided import GuidedFilter
from .network import Network, OnePhoto, Passes, Progress
from .passes import mask_channels, run_cascade
from .scene import refine_classes, refine_regions, refine_scene
from .settings import CascadeSettings, FusionSettings, call_settings
from .single import refine
from .steps import (
    average,
    global_step,
    local_crops,
    local_step,
    padded_cascade,
    refine_crops,
    run_global,
)

__all__ = [
    'Box',
    'CascadeSettings',
    'Component',
    'Crop',
    'Fusion',
    'FusionSettings',
    'GuidedFilter',
    'Network',
    'OnePhoto',
    'Passes',
    'Progress',
    'SceneResult',
    'average',
    'call_settings',
    'check_crop_size',
    'check_labels',
    'crop_grid',
    'divide',
    'global_step',
    'local_crops',
    'local_step',
    'mask_channels',
    'padded_cascade',
    'refine',
    'refine_classes',
    'refine_crops',
    'refine_regions',
    'refine_scene',
    'resize_longer_side',
    'resize_window',
    'resized_sides',
    'run_cascade',
    'run_global',
]
