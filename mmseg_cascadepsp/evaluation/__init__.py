"""IoU, mBA, Boundary IoU and harm of masks and label maps: functions, metrics, sets on disk."""

from mmseg_cascadepsp.evaluation.functional import *  # noqa: F401,F403
from mmseg_cascadepsp.evaluation.functional import __all__ as _functions
from mmseg_cascadepsp.evaluation.metrics import BoundarySegMetric, RefinementMetric
from mmseg_cascadepsp.evaluation.predictions import as_annotation

__all__ = ['BoundarySegMetric', 'RefinementMetric', 'as_annotation', *_functions]
