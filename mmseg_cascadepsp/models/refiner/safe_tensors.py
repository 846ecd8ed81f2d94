"""Weights as ``.safetensors``, a format that cannot hold code (the extra ``safetensors``)."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from mmseg_cascadepsp.errors import FileError, MissingPackageError
from mmseg_cascadepsp.files import atomic_open

SUFFIX = '.safetensors'


def is_safetensors(path: str | os.PathLike) -> bool:
    """Whether the name of a file is that of weights in this format.

    Args:
        path: The file.

    Example:
        >>> is_safetensors('lite.safetensors'), is_safetensors('lite.pth')
        (True, False)
    """
    return Path(path).suffix.lower() == SUFFIX


def read_safetensors(path: str | os.PathLike) -> dict:
    """Read weights to the CPU.

    Args:
        path: The file. It must exist.

    Returns:
        ``state_dict``, the weights by key, and ``meta``, what :func:`write_weights` was given.

    Raises:
        FileError: The file is truncated, damaged or of another format.
        MissingPackageError: safetensors is not installed.

    Example:
        See :func:`write_weights`.
    """
    library = _library(path)
    try:
        with library.safe_open(path, framework='pt') as file:
            state_dict = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            words = file.metadata() or {}
    except library.SafetensorError as error:
        raise FileError(
            f'checkpoint {path} ({Path(path).stat().st_size} bytes) is truncated, damaged or no '
            f'checkpoint: {error}'
        ) from error
    return {'state_dict': state_dict, 'meta': {key: _parse(text) for key, text in words.items()}}


def write_weights(
    path: str | os.PathLike, state_dict: Mapping[str, Tensor], meta: Mapping[str, object]
) -> None:
    """Write weights, in the format that the name of the file says. The file is written atomically.

    Args:
        path: The file. What ends in ``.safetensors`` is written in that format, any other file by
            PyTorch.
        state_dict: Weights by key.
        meta: What is to be known beside them: strings, numbers, lists and dicts by key.

    Raises:
        FileError: The file cannot be written.
        MissingPackageError: safetensors is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = f'{folder}/a.safetensors'
        ...     write_weights(file, {'weight': torch.ones(2)}, {'classes': ['cat']})
        ...     read_safetensors(file)
        {'state_dict': {'weight': tensor([1., 1.])}, 'meta': {'classes': ['cat']}}
    """
    if not is_safetensors(path):
        with atomic_open(path) as file:
            torch.save({'meta': meta, 'state_dict': state_dict}, file)
        return
    _library(path)
    from safetensors.torch import save

    # The format holds strings alone, and no two tensors that share memory.
    words = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in meta.items()
    }
    content = save({key: value.contiguous() for key, value in state_dict.items()}, words)
    with atomic_open(path) as file:
        file.write(content)


def _library(path: str | os.PathLike) -> ModuleType:
    try:
        import safetensors
    except ImportError as error:
        raise MissingPackageError(
            f'checkpoint {path} needs the package safetensors: pip install safetensors (the extra '
            '"safetensors").'
        ) from error
    return safetensors


def _parse(text: str) -> object:
    try:
        return json.loads(text) if text[:1] in ('[', '{') else text
    except ValueError:
        return text
