"""Loading checkpoints of MMEngine with ``weights_only=True``, the default of PyTorch.

Besides tensors, a checkpoint of MMEngine holds logs of the run, as ``HistoryBuffer`` objects with
NumPy arrays and scalars. Only these classes are allowed in addition.
"""

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmseg_cascadepsp.errors import InvalidValueError

#: Methods that a HistoryBuffer pickles as ``getattr(HistoryBuffer, name)``.
STATISTICS = ('min', 'max', 'current', 'mean')


def history_buffer_getattr(owner: Any, name: str) -> Any:
    """Replace ``builtins.getattr`` in checkpoints by one that only knows HistoryBuffer's methods.

    Args:
        owner: Must be HistoryBuffer.
        name: One of :data:`STATISTICS`.

    Returns:
        The method.

    Raises:
        InvalidValueError: Another object or attribute is asked for.

    Example:
        >>> history_buffer_getattr(HistoryBuffer, 'mean').__name__
        'mean'
    """
    if owner is HistoryBuffer and name in STATISTICS:
        return vars(HistoryBuffer)[name]
    raise InvalidValueError(
        f'the checkpoint asks for attribute {name!r} of {owner!r}, but only '
        f'{", ".join(STATISTICS)} of HistoryBuffer are allowed: do not trust this file'
    )


def _safe_globals() -> list:
    dtypes = {type(np.dtype(code)) for code in np.typecodes['All'] if code not in 'OV'}
    core = np.core if np.lib.NumpyVersion(np.__version__) < '2.0.0' else np._core
    # NumPy 2 renamed numpy.core. Checkpoints may have either name.
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
    """Allow ``torch.load`` to read checkpoints of MMEngine with ``weights_only=True``.

    Example:
        >>> allow_mmengine_checkpoints()
    """
    # PyTorch before 2.4 has no such list.
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(_safe_globals())
