"""MMSeg metrics over the functions of :mod:`mmseg_cascadepsp.evaluation.functional`."""

from ..metrics.boundary_seg_metric import BoundarySegMetric
from ..metrics.refinement_metric import RefinementMetric

__all__ = ['BoundarySegMetric', 'RefinementMetric']
