"""What the metrics share: reading data samples and writing down before, after and gain."""

import os.path as osp
from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files import to_dataset_ids, write_png
from mmseg_cascadepsp.files.label_ids import VOID


def pixels(sample: Mapping, key: str, metric: str) -> np.ndarray:
    """The map ``key`` of a data sample, ``(1, H, W)`` or ``(H, W)``, as a numpy array ``(H, W)``.

    Raises:
        ValueError: the sample has no such map.
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
    """The name by which a message calls a data sample."""
    return str(sample.get('img_path', 'an image without path'))


def numbered(labels: np.ndarray, sample: Mapping, meta: Mapping) -> np.ndarray:
    """A prediction as a file has it: ids as in the dataset's annotations, uint8 or, above 255,
    uint16; masks of single objects 0 and 255, uint8.

    Args:
        labels: ``(H, W)``, class indices.
        sample: Its data sample; one of a single object has ``object_class``.
        meta: Of the dataset.
    """
    if 'object_class' in sample or 'classes' not in meta:
        return (labels > 0).astype(np.uint8) * 255
    void = VOID if len(meta['classes']) <= VOID else None
    labels = to_dataset_ids(labels, meta.get('reduce_zero_label'), meta.get('label_map'), void)
    return labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16)


def save(
    folder: str,
    labels: np.ndarray,
    sample: Mapping,
    meta: Mapping,
    saved: MutableMapping[str, str],
) -> None:
    """Write a prediction into ``folder`` as PNG under the photo's name, as MMSeg's metrics do.

    Args:
        saved: stem -> photo, of what was written before; the new one is added.

    Raises:
        ValueError: another photo's was written under this name.
    """
    stem = osp.splitext(osp.basename(where(sample)))[0]
    if saved.setdefault(stem, where(sample)) != where(sample):
        raise InvalidValueError(
            f'output_dir: {saved[stem]} and {where(sample)} would both be written as '
            f"{stem}.png; --out of this package's tools/test.py keeps folders apart"
        )
    write_png(osp.join(folder, stem + '.png'), numbered(labels, sample, meta))


def percentages(
    after: Mapping[str, float], before: Mapping[str, float] | None, keys: Sequence[str]
) -> dict[str, float]:
    """Scores in per cent; with ``before`` also ``KEY_before`` and ``KEY_gain``, the difference."""
    metrics = {}
    for key in keys:
        metrics[key] = 100 * after[key]
        if before is not None:
            metrics[f'{key}_before'] = 100 * before[key]
            metrics[f'{key}_gain'] = 100 * (after[key] - before[key])
    return metrics
