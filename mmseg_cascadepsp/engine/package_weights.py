"""Checkpoints of installed Python packages and of the web, whose checksums are looked at."""

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.runner import CheckpointLoader

from mmseg_cascadepsp.errors import FileError, MissingFileError
from mmseg_cascadepsp.models.refiner.checkpoint import check_file
from mmseg_cascadepsp.models.refiner.download import download


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
    check_file(path)
    return torch.load(path, map_location=map_location, weights_only=True)


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_web(filename: str, map_location=None, model_dir: str | None = None) -> dict:
    """Fetch a checkpoint into PyTorch's cache and load it, in the place of MMEngine's own loader,
    which does not look at the digest that a name such as ``NAME-1a2b3c4d.pth`` has.

    Args:
        filename: Address.
        map_location: Device to load to, see :func:`torch.load`.
        model_dir: Where it is kept, in the place of the cache.

    Returns:
        Content of the checkpoint.

    Raises:
        FileError: It cannot be fetched, or has another checksum.

    Example:
        >>> load_from_web('https://example.org/fcn-1a2b3c4d.pth')  # doctest: +SKIP
    """
    rank, world = get_dist_info()
    if rank == 0:
        fetch(filename, model_dir)
    if world > 1:
        barrier()
    return torch.load(fetch(filename, model_dir), map_location=map_location)


def fetch(url: str, folder: str | os.PathLike | None = None) -> Path:
    """Download weights once, where PyTorch and MMEngine also look for them.

    Args:
        url: Address.
        folder: Where it is kept; PyTorch's cache by default.

    Returns:
        The file.

    Raises:
        FileError: It is not there yet and cannot be fetched, or has another checksum.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     torch.save({'weight': torch.ones(1)}, Path(folder, 'a.pth'))
        ...     fetch('https://example.com/a.pth', folder).name  # which is there already
        'a.pth'
    """
    folder = Path(folder or Path(torch.hub.get_dir()) / 'checkpoints')
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        try:
            download(url, path)
        except OSError as error:
            raise FileError(
                f'checkpoint {url} cannot be fetched ({getattr(error, "reason", error)}); get '
                f'that file where there is a network and put it at {path}, or name a file of your '
                'own'
            ) from error
    check_file(path)
    return path
