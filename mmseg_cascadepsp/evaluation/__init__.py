"""IoU, mBA and Boundary IoU: functions, and the MMSeg metrics that wrap them."""

from .functional import *  # noqa: F401,F403
from .functional import __all__ as _functions
from .metrics import BoundarySegMetric, RefinementMetric

__all__ = ['BoundarySegMetric', 'RefinementMetric', *_functions]
