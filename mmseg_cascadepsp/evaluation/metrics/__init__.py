"""MMSeg metrics over the functions of :mod:`mmseg_cascadepsp.evaluation.functional`."""

from .boundary_seg_metric import BoundarySegMetric
from .refinement_metric import RefinementMetric

__all__ = ['BoundarySegMetric', 'RefinementMetric']
