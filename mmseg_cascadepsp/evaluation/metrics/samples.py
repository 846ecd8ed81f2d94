"""What the metrics share: reading data samples and writing down before, after and gain."""

from collections.abc import Mapping, Sequence

import numpy as np


def pixels(sample: Mapping, key: str, metric: str) -> np.ndarray:
    """The map ``key`` of a data sample, ``(1, H, W)`` or ``(H, W)``, as a numpy array ``(H, W)``.

    Raises:
        ValueError: the sample has no such map.
    """
    if key not in sample:
        raise ValueError(f'{metric} needs {key!r} in every data sample, that of {where(sample)} '
                         f'holds {sorted(sample)}.')
    data = sample[key]['data']
    data = np.asarray(data.cpu() if hasattr(data, 'cpu') else data)
    return data.reshape(data.shape[-2:])


def where(sample: Mapping) -> str:
    """The name by which a message calls a data sample."""
    return str(sample.get('img_path', 'an image without path'))


def percentages(after: Mapping[str, float], before: Mapping[str, float] | None,
                keys: Sequence[str]) -> dict[str, float]:
    """Scores in per cent; with ``before`` also ``KEY_before`` and ``KEY_gain``, the difference."""
    metrics = {}
    for key in keys:
        metrics[key] = 100 * after[key]
        if before is not None:
            metrics[f'{key}_before'] = 100 * before[key]
            metrics[f'{key}_gain'] = 100 * (after[key] - before[key])
    return metrics
