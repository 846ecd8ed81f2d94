"""Checkpoints in installed Python packages."""

from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

from mmseg_cascadepsp.errors import MissingFileError


@CheckpointLoader.register_scheme(prefixes='package://', force=True)
def load_from_package(filename: str, map_location=None) -> dict:
    """Load a checkpoint from an installed Python package, without importing the package.

    Args:
        filename: ``package://PACKAGE/FILE``.
        map_location: Device to load to, see :func:`torch.load`.

    Returns:
        Content of the checkpoint.

    Raises:
        MissingFileError: The package is not installed, or has no such file.

    Example:
        >>> file = 'package://mmseg_cascadepsp/weights/cascadepsp_lite.pth'
        >>> 'state_dict' in load_from_package(file)
        True
    """
    package, _, file = filename.removeprefix('package://').partition('/')
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # an invalid name, or the parent package is missing
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingFileError(f'the package {package!r} is not installed')
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise MissingFileError(f'the package {package!r} has no file {file!r}')
    return torch.load(path, map_location=map_location, weights_only=True)
