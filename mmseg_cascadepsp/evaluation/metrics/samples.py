"""What the metrics share: reading data samples and writing predictions."""

import os.path as osp
from collections.abc import Mapping, MutableMapping

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files import write_png

from ..predictions import as_annotation


def pixels(sample: Mapping, key: str, metric: str) -> np.ndarray:
    """Take a map out of a data sample.

    Args:
        sample: The data sample.
        key: Name of the map, which is ``(1, H, W)`` or ``(H, W)``.
        metric: Name of the metric, for the message.

    Returns:
        The map as a numpy array ``(H, W)``.

    Raises:
        InvalidValueError: The sample has no such map.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.metrics.samples import pixels
        >>> pixels({'gt_sem_seg': {'data': np.array([[[0, 1]]])}}, 'gt_sem_seg', 'MyMetric')
        array([[0, 1]])
    """
    if key not in sample:
        raise InvalidValueError(
            f'{metric} needs {key!r} in every data sample, that of {where(sample)} '
            f'holds {sorted(sample)}.'
        )
    data = sample[key]['data']
    data = np.asarray(data.cpu() if hasattr(data, 'cpu') else data)
    return data.reshape(data.shape[-2:])


def where(sample: Mapping) -> str:
    """Name a data sample in a message.

    Args:
        sample: The data sample.

    Returns:
        The path of its photo, where it has one.

    Example:
        >>> from mmseg_cascadepsp.evaluation.metrics.samples import where
        >>> where({'img_path': 'photos/a.jpg'}), where({})
        ('photos/a.jpg', 'an image without path')
    """
    return str(sample.get('img_path', 'an image without path'))


def save(
    folder: str,
    labels: np.ndarray,
    sample: Mapping,
    meta: Mapping,
    saved: MutableMapping[str, str],
) -> None:
    """Write a prediction as PNG under the name of its photo, as MMSeg's metrics do.

    Args:
        folder: Where to write it.
        labels: See :func:`~mmseg_cascadepsp.evaluation.as_annotation`, as ``sample`` and ``meta``.
        sample: The data sample.
        meta: ``metainfo`` of the dataset.
        saved: Stem -> photo of what was written before. The new one is added.

    Raises:
        InvalidValueError: The prediction of another photo was written under this name.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.metrics.samples import save
        >>> folder = tempfile.mkdtemp()
        >>> save(folder, np.array([[0, 1]]), {'img_path': 'photos/a.jpg'}, {}, {})
        >>> os.listdir(folder)
        ['a.png']
    """
    stem = osp.splitext(osp.basename(where(sample)))[0]
    if saved.setdefault(stem, where(sample)) != where(sample):
        raise InvalidValueError(
            f'output_dir: {saved[stem]} and {where(sample)} would both be written as '
            f"{stem}.png; --out of this package's tools/test.py keeps folders apart"
        )
    write_png(osp.join(folder, stem + '.png'), as_annotation(labels, sample, meta))
