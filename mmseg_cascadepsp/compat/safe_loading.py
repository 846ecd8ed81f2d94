"""Loading mmengine's checkpoints weights-only, which is torch's default.

An mmengine checkpoint holds, beside tensors, the logs of the run: ``HistoryBuffer`` objects with
numpy arrays and scalars. They are declared safe one by one; anything else is still refused.
"""

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

#: pickled by reference to the class, thus as ``getattr(HistoryBuffer, name)``
STATISTICS = ('min', 'max', 'current', 'mean')


def history_buffer_getattr(owner: Any, name: str) -> Any:
    """Stands for ``builtins.getattr`` in a checkpoint: HistoryBuffer's statistics, nothing else.

    Raises:
        ValueError: for any other owner or name.
    """
    if owner is HistoryBuffer and name in STATISTICS:
        return vars(HistoryBuffer)[name]
    raise ValueError(
        f'the checkpoint asks for attribute {name!r} of {owner!r}, but only '
        f'{", ".join(STATISTICS)} of HistoryBuffer are allowed: do not trust this file'
    )


def _safe_globals() -> list:
    dtypes = {type(np.dtype(code)) for code in np.typecodes['All'] if code not in 'OV'}
    core = np.core if np.lib.NumpyVersion(np.__version__) < '2.0.0' else np._core
    # numpy 2 renamed numpy.core; a checkpoint may come from either side.
    renamed = [
        (function, f'numpy.{package}.multiarray.{function.__name__}')
        for function in (core.multiarray._reconstruct, core.multiarray.scalar)
        for package in ('core', '_core')
    ]
    return [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        *sorted(dtypes, key=str),
        *renamed,
        (history_buffer_getattr, 'builtins.getattr'),
    ]


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load`` read mmengine's checkpoints weights-only, so that ``--resume`` works."""
    # Before 2.4 torch knows no such list; importing only warns of its version.
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(_safe_globals())
