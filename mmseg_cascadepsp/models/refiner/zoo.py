"""Refiners by name: their configs, and where their weights are."""

import copy
import hashlib
import os
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.errors import (
    FileError,
    InvalidTypeError,
    InvalidValueError,
    MissingFileError,
)
from mmseg_cascadepsp.files import atomic_open
from mmseg_cascadepsp.version import __version__

from .cascade_psp import CascadePSP
from .checkpoint import load_weights, read_state_dict
from .inference import CascadeNetwork, check_precision
from .onnx import OnnxRefiner, is_exported

PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Pretrained:
    """A refiner with a name.

    Args:
        config: Its config, inside ``configs/``.
        weights: Name of its weights: inside ``mmseg_cascadepsp/weights`` without ``url``, else in
            the cache.
        url: Where the weights are fetched from.
        md5: Checksum of what is fetched.
        size: Of what is fetched, in words.
    """

    config: str
    weights: str
    url: str | None = None
    md5: str | None = None
    size: str = ''


ZOO = {
    'lite': Pretrained('cascadepsp_lite.py', 'cascadepsp_lite.pth'),
    'r50': Pretrained(
        'cascadepsp_r50.py',
        'cascadepsp_r50_release.pth',
        url='https://github.com/hkchengrex/CascadePSP/releases/download/v1.0/model',
        md5='7478d4a9c42ab52beb6d7e9683402fe0',
        size='259 MB',
    ),
}
ALIASES = {'cascadepsp_lite': 'lite', 'cascadepsp_r50': 'r50'}


def is_name(model: object) -> bool:
    """Whether ``model`` is a name of the zoo, whose weights are known."""
    if not isinstance(model, str | os.PathLike):
        return False
    return ALIASES.get(os.fspath(model), os.fspath(model)) in ZOO


def shipped_folder(name: str) -> Path:
    """A folder that a checkout has beside the package, and a wheel in it: ``configs``, ``demo``.

    Example:
        >>> (shipped_folder('configs') / 'cascadepsp_lite.py').is_file()
        True
    """
    checkout = (PACKAGE.parent / 'configs' / 'cascadepsp_lite.py').is_file()
    return (PACKAGE.parent if checkout else PACKAGE / '.mim') / name


def find_config(name: str) -> Path:
    """Path of a config of this package, in a checkout or in an installed wheel.

    Raises:
        MissingFileError: It is not there.

    Example:
        >>> find_config('cascadepsp_lite.py').name
        'cascadepsp_lite.py'
    """
    path = shipped_folder('configs') / name
    if not path.is_file():
        raise MissingFileError(
            f'config {name} is not in {path.parent}; the installation of mmseg_cascadepsp is not '
            'complete.'
        )
    return path


def find_weights(name: str, progress: bool = True) -> Path:
    """Path of the weights of a named refiner; they are downloaded into PyTorch's cache when they
    are not there yet.

    Raises:
        OSError: they cannot be fetched, or are damaged; the sentence says what to put where.
    """
    entry = ZOO[ALIASES.get(name, name)]
    if entry.url is None:
        path = PACKAGE / 'weights' / entry.weights
        if not path.is_file():
            raise MissingFileError(
                f'weights of {name!r} are not at {path}; install the package '
                'anew, or give checkpoint=FILE (--checkpoint FILE).'
            )
        return path
    path = Path(torch.hub.get_dir()) / 'checkpoints' / entry.weights
    if not path.is_file():
        try:
            download(entry.url, path, entry.md5, progress)
        except OSError as error:
            raise FileError(
                f'weights of {name!r} cannot be fetched from {entry.url} '
                f'({getattr(error, "reason", error)}); get that file where there is a network '
                f'({entry.size}, md5 {entry.md5}) and put it at {path}, or give '
                'checkpoint=FILE (--checkpoint FILE).'
            ) from error
    elif entry.md5 and _md5(path) != entry.md5:
        raise FileError(
            f'{path} is damaged: its md5 is {_md5(path)}, expected {entry.md5}; delete '
            'it, and it is fetched anew.'
        )
    return path


def download(
    url: str, path: str | os.PathLike, md5: str | None = None, progress: bool = True
) -> None:
    """Fetch ``url`` to ``path``, which appears only when all of it has come and its checksum is
    right.

    Raises:
        OSError: no network, an answer that is no file or is cut short, a full disk, or a wrong
            checksum.
    """
    path = Path(path)
    # OpenMMLab ends the names of its weights with the first digits of their SHA-256.
    named = re.search(r'-([0-9a-f]{8})\.pth$', path.name)
    digest, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with (
        urllib.request.urlopen(url, timeout=30) as answer,
        atomic_open(path) as file,
        Progress(*columns, disable=not progress) as bar,
    ):
        total = int(answer.headers.get('Content-Length') or 0)
        task = bar.add_task(f'fetching {url}', total=total or None)
        while block := answer.read(1 << 20):
            file.write(block)
            digest.update(block)
            sha256.update(block)
            bar.advance(task, len(block))
        if total and file.tell() != total:  # a lost connection reads like the end
            raise FileError(f'only {file.tell()} of {total} bytes came')
        if md5 and digest.hexdigest() != md5:
            raise FileError(f'what came has the md5 {digest.hexdigest()}')
        if named and not sha256.hexdigest().startswith(named[1]):
            raise FileError(
                f'the SHA-256 of what came begins with {sha256.hexdigest()[:8]}, not with '
                f'{named[1]} as its name says'
            )


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def build_model(model: str | os.PathLike | Config | Mapping) -> tuple[nn.Module, str]:
    """Build a refiner, with random weights, from a name of the zoo, the path of a config, or a
    config.

    Returns:
        The module, and what to call it.

    Raises:
        ValueError: an unknown name, or a config without a model.
        TypeError: the model is no refiner.
        OSError: no such config file.
    """
    if isinstance(model, (str, os.PathLike)):
        label = os.fspath(model)
        label = ALIASES.get(label, label)
        if label in ZOO:
            model = Config.fromfile(find_config(ZOO[label].config))
        elif not label.endswith('.py'):
            raise InvalidValueError(
                f'model must be one of {", ".join(map(repr, ZOO))}, the path of a config (.py) '
                f'or of an exported refiner (.onnx), a Config or a module, got {label!r}.'
            )
        elif not os.path.isfile(label):
            raise MissingFileError(f'model: the config {label} does not exist.')
        else:
            model = Config.fromfile(label)
    elif isinstance(model, (Config, Mapping)):
        label = Path(getattr(model, 'filename', None) or 'config').name
    else:
        raise InvalidTypeError(
            f'model must be a name, a config or a module, got {type(model).__name__}.'
        )
    cfg = model.get('model', model)
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise InvalidValueError(f'model: the config {label} has no model with a type.')
    # The scope is set for this build alone.
    module = MODELS.build({**cfg, '_scope_': 'mmseg'})
    check_refiner(module, label)
    return module, label


def load_refiner(
    model: str | os.PathLike | Config | Mapping | nn.Module | Network = 'lite',
    checkpoint: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    precision: str = 'auto',
) -> tuple[Network, str]:
    """A refiner with its weights, ready for a cascade.

    Args:
        model, checkpoint, device, precision: See :class:`~mmseg_cascadepsp.Refiner`.

    Returns:
        The network, and what to call it.

    Raises:
        InvalidValueError: An unknown name, precision or device, or weights that do not fit.
        InvalidTypeError: The model is no refiner.
        FileError: A config, weights or ONNX file cannot be read or fetched.
        MissingPackageError: An ONNX file, without onnx and onnxruntime.

    Example:
        >>> network, name = load_refiner('lite')
        >>> name, network.strides
        ('lite', (8, 4, 1))
    """
    check_precision(precision)
    if is_exported(model):
        model = OnnxRefiner(model)
    if isinstance(model, OnnxRefiner):
        model.check_settings(checkpoint, device, precision)
        return model, model.name
    if isinstance(model, Network):
        if checkpoint is not None or device is not None:
            raise InvalidValueError(
                f'checkpoint and device are those of the {type(model).__name__} given: leave '
                'them out.'
            )
        return model, type(model).__name__
    if isinstance(model, nn.Module):
        name = type(model).__name__
        check_refiner(model, name)
        device = device or next((value.device for value in model.parameters()), 'cpu')
    else:
        named = is_name(model)
        model, name = build_model(model)
        if checkpoint is None and not named:
            raise InvalidValueError(
                f'checkpoint must be given for {name}; only the names '
                f'{", ".join(map(repr, ZOO))} know their weights.'
            )
        checkpoint = checkpoint or find_weights(name)
    if checkpoint is not None:
        load_weights(model, read_state_dict(checkpoint), checkpoint, name)
    device = _check_device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    on_cpu = device.type == 'cpu'
    if on_cpu and any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        model = revert_sync_batchnorm(copy.deepcopy(model))  # the module given keeps its own
    model.to(device, memory_format=torch.channels_last)
    return CascadeNetwork(model.eval(), precision), name


def _check_device(device: str | torch.device) -> torch.device:
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        raise InvalidValueError(
            f'device {str(device)!r} cannot be used: {str(error).splitlines()[0]}'
        ) from None
    return device


def check_refiner(module: nn.Module, label: str) -> None:
    """Raise :class:`InvalidTypeError` unless ``module`` is a refiner."""
    if not isinstance(module, CascadePSP | Network):
        raise InvalidTypeError(
            f'model {label} is a {type(module).__name__}; expected a CascadePSP, or a '
            'mmseg_cascadepsp.cascade.Network of your own.'
        )


def convert_checkpoint(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Turn the authors' checkpoint into one of this package, checked against the network of
    ``cascadepsp_r50``.

    ``target`` is written atomically and takes the place of an older file.

    Raises:
        OSError: ``source`` cannot be read or ``target`` cannot be written.
        ValueError: the weights do not fit; the sentence says which.
    """
    state_dict = read_state_dict(source)
    load_weights(build_model('r50')[0], state_dict, source, 'r50')
    meta = {'source': Path(source).name, 'mmseg_cascadepsp': __version__}
    with atomic_open(target) as file:
        torch.save({'meta': meta, 'state_dict': state_dict}, file)
