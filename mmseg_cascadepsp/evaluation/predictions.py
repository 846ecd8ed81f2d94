"""Predictions as files: with the ids of the dataset's annotations."""

from collections.abc import Mapping

import numpy as np

from mmseg_cascadepsp.errors import InvalidTypeError
from mmseg_cascadepsp.files import to_dataset_ids
from mmseg_cascadepsp.files.label_ids import VOID

from .functional.checks import check_array


def as_annotation(labels: np.ndarray, sample: Mapping, meta: Mapping) -> np.ndarray:
    """Turn a prediction into what a file of the dataset's annotations would hold.

    Args:
        labels: The prediction ``(H, W)``, class indices, or 0 and above for the mask of an object.
        sample: Its data sample. If it has ``object_class``, the prediction is the mask of a single
            object.
        meta: ``metainfo`` of the dataset. Without ``classes`` in it, the prediction is a mask.

    Returns:
        ``(H, W)``. A label map has the ids of the dataset's annotations and is uint8, or uint16
        where an id is above 255. A mask is uint8 of 0 and 255.

    Raises:
        InvalidTypeError: The prediction is no array of integers.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import as_annotation
        >>> labels = np.array([[0, 1]])
        >>> as_annotation(labels, {}, {})
        array([[  0, 255]], dtype=uint8)
        >>> as_annotation(labels, {}, {'classes': ('sky', 'road'), 'reduce_zero_label': True})
        array([[1, 2]], dtype=uint8)
    """
    labels = check_array('labels', labels)
    if labels.dtype.kind not in 'biu':
        raise InvalidTypeError(f'labels must hold class indices as integers, got {labels.dtype}.')
    if 'object_class' in sample or 'classes' not in meta:
        return (labels > 0).astype(np.uint8) * 255
    void = VOID if len(meta['classes']) <= VOID else None
    labels = to_dataset_ids(labels, meta.get('reduce_zero_label'), meta.get('label_map'), void)
    return labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16)
