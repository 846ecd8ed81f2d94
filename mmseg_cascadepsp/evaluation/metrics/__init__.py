"""MMSeg metrics over the functions of :mod:`mmseg_cascadepsp.evaluation.functional`."""

from mmseg_cascadepsp.evaluation.metrics.boundary_seg_metric import BoundarySegMetric
from mmseg_cascadepsp.evaluation.metrics.refinement_metric import RefinementMetric

__all__ = ['BoundarySegMetric', 'RefinementMetric']
