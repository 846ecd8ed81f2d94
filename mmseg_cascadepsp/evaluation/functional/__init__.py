"""Metrics as pure functions on numpy arrays.

``*_update`` counts in one image. ``*_compute`` makes scores from the counts. The function without
such an ending does both.
"""

from ..functional.boundary_iou import (
    boundary_iou,
    boundary_iou_update,
    inner_boundary,
    multiclass_boundary_iou,
    multiclass_boundary_iou_update,
)
from ..functional.iou import (
    binary_iou,
    iou_compute,
    iou_update,
    mean_iou,
    multiclass_iou_update,
    nan_mean,
)
from ..functional.mba import (
    boundary_radii,
    boundary_region,
    mba_compute,
    mba_update,
    mean_boundary_accuracy,
    multiclass_mba_update,
    multiclass_mean_boundary_accuracy,
)
from ..functional.scores import (
    label_scores,
    label_scores_compute,
    label_scores_update,
    mask_harm,
    mask_harm_compute,
    mask_report,
    mask_scores,
    mask_scores_compute,
    mask_scores_update,
    percentages,
)
from ..functional.speckles import count_speckles

__all__ = [
    'binary_iou',
    'boundary_iou',
    'boundary_iou_update',
    'boundary_radii',
    'boundary_region',
    'count_speckles',
    'inner_boundary',
    'iou_compute',
    'iou_update',
    'label_scores',
    'label_scores_compute',
    'label_scores_update',
    'mask_harm',
    'mask_harm_compute',
    'mask_report',
    'mask_scores',
    'mask_scores_compute',
    'mask_scores_update',
    'mba_compute',
    'mba_update',
    'mean_boundary_accuracy',
    'mean_iou',
    'multiclass_boundary_iou',
    'multiclass_boundary_iou_update',
    'multiclass_iou_update',
    'multiclass_mba_update',
    'multiclass_mean_boundary_accuracy',
    'nan_mean',
    'percentages',
]
