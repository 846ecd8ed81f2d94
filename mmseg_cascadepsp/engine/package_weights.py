"""Checkpoints inside installed Python packages."""

from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

from mmseg_cascadepsp.errors import MissingFileError


@CheckpointLoader.register_scheme(prefixes='package://', force=True)
def load_from_package(filename: str, map_location=None) -> dict:
    """Load weights that an installed Python package carries: ``package://PACKAGE/FILE``.

    Raises:
        FileNotFoundError: the package, or the file in it, is not there.
    """
    package, _, file = filename.removeprefix('package://').partition('/')
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # no name, or a part of a package that is not there
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingFileError(f'the package {package!r} is not installed')
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise MissingFileError(f'the package {package!r} has no file {file!r}')
    return torch.load(path, map_location=map_location, weights_only=True)
