"""Pictures of masks, label maps and cascades on photos, from arrays alone."""

from .cascade import cascade_panels
from .drawing import default_palette, overlay, paint_labels
from .panels import before_after, before_after_change, most_changed, painted_pair
from .sheet import contact_sheet

__all__ = [
    'before_after',
    'before_after_change',
    'cascade_panels',
    'contact_sheet',
    'default_palette',
    'most_changed',
    'overlay',
    'paint_labels',
    'painted_pair',
]
