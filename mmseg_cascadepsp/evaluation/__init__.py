"""IoU, mBA and Boundary IoU: functions, and the MMSeg metrics that wrap them."""

from mmseg_cascadepsp.evaluation.functional import *  # noqa: F401,F403
from mmseg_cascadepsp.evaluation.functional import __all__ as _functions
from mmseg_cascadepsp.evaluation.metrics import BoundarySegMetric, RefinementMetric

__all__ = ['BoundarySegMetric', 'RefinementMetric', *_functions]
