"""IoU, mBA, Boundary IoU and harm of masks and label maps: functions, metrics, sets on disk."""

from .functional import *  # noqa: F401,F403
from .functional import __all__ as _functions
from .metrics import BoundarySegMetric, RefinementMetric
from .predictions import as_annotation

__all__ = ['BoundarySegMetric', 'RefinementMetric', 'as_annotation', *_functions]
