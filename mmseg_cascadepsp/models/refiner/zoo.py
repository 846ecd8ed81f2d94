"""Named refiners, with their configs and weights."""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import nn

from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.cascade.threads import check_threads
from mmseg_cascadepsp.errors import (
    FileError,
    InvalidTypeError,
    InvalidValueError,
    MissingFileError,
)
from mmseg_cascadepsp.version import __version__

from .cascade_psp import CascadePSP
from .checkpoint import digest_of, load_weights, read_state_dict
from .configs import building, load_config
from .download import download
from .inference import CascadeNetwork, check_precision
from .onnx import OnnxRefiner, is_exported
from .safe_tensors import write_weights

PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Pretrained:
    """Config and weights of a named refiner.

    Args:
        config: Config in ``configs/``.
        weights: File name of the weights, in ``mmseg_cascadepsp/weights``, or in PyTorch's cache
            if there is a ``url``.
        url: Address to download the weights from.
        md5: Checksum of the download.
        size: Size of the download, in words.

    Example:
        >>> ZOO['lite'].config
        'cascadepsp_lite.py'
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
    """Whether something is the name of a refiner whose weights are known.

    Args:
        model: A name, or anything else.

    Example:
        >>> is_name('lite'), is_name('config.py')
        (True, False)
    """
    if not isinstance(model, str | os.PathLike):
        return False
    return ALIASES.get(os.fspath(model), os.fspath(model)) in ZOO


def shipped_folder(name: str) -> Path:
    """Path of ``configs`` or ``demo``, in a checkout or in an installed wheel.

    Args:
        name: Name of the folder.

    Example:
        >>> (shipped_folder('configs') / 'cascadepsp_lite.py').is_file()
        True
    """
    checkout = (PACKAGE.parent / 'configs' / 'cascadepsp_lite.py').is_file()
    return (PACKAGE.parent if checkout else PACKAGE / '.mim') / name


def find_config(name: str) -> Path:
    """Path of a config of this package, in a checkout or in an installed wheel.

    Args:
        name: Path inside ``configs/``.

    Raises:
        MissingFileError: There is no such config.

    Example:
        >>> find_config('cascadepsp_lite.py').name
        'cascadepsp_lite.py'
    """
    path = shipped_folder('configs') / name
    if not path.is_file():
        raise MissingFileError(
            f'config {name} is not in {path.parent}: the name is wrong, or the installation of '
            'mmseg_cascadepsp is not complete.'
        )
    return path


def find_weights(name: str, progress: bool = True) -> Path:
    """Path of the weights of a named refiner.

    Weights that are not part of the package are downloaded once into PyTorch's cache.

    Args:
        name: Name of the refiner.
        progress: Whether to show a progress bar.

    Raises:
        MissingFileError: The weights are missing from the package.
        FileError: The weights cannot be downloaded, or are damaged. The message says which file
            to put where.

    Example:
        >>> find_weights('lite').name
        'cascadepsp_lite.pth'
    """
    entry = ZOO[ALIASES.get(name, name)]
    if entry.url is None:
        path = PACKAGE / 'weights' / entry.weights
        if not path.is_file():
            raise MissingFileError(
                f'weights of {name!r} are not at {path}: install the package again, or give '
                'checkpoint=FILE (--checkpoint FILE).'
            )
        return path  # whose digest is checked when it is read
    path = Path(torch.hub.get_dir()) / 'checkpoints' / entry.weights
    if not path.is_file():
        try:
            download(entry.url, path, entry.md5, progress)
        except OSError as error:
            raise FileError(
                f'weights of {name!r} cannot be fetched from {entry.url} '
                f'({getattr(error, "reason", error)}). Download that file on a machine with a '
                f'network ({entry.size}, md5 {entry.md5}) and put it at {path}, or give '
                'checkpoint=FILE (--checkpoint FILE).'
            ) from error
    elif entry.md5 and (found := digest_of(path, 'md5')) != entry.md5:
        raise FileError(
            f'{path} is damaged: its md5 is {found}, expected {entry.md5}. Delete it, and '
            'it is downloaded again.'
        )
    return path


def build_model(model: str | os.PathLike | Config | Mapping) -> tuple[nn.Module, str]:
    """Build a refiner with random weights.

    Args:
        model: Name of a refiner, path of a config, or a config.

    Returns:
        The refiner and its name.

    Raises:
        InvalidValueError: The name is unknown, the config has a mistake, or it has no model.
        InvalidTypeError: The model is no refiner.
        MissingFileError: There is no such config file.

    Example:
        >>> model, name = build_model('lite')
        >>> type(model).__name__, name
        ('CascadePSP', 'lite')
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
            model = load_config(label)
    elif isinstance(model, (Config, Mapping)):
        label = Path(getattr(model, 'filename', None) or 'config').name
    else:
        raise InvalidTypeError(
            f'model must be a name, a config or a module, got {type(model).__name__}.'
        )
    cfg = model.get('model', model)
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise InvalidValueError(f'model: the config {label} has no model with a type.')
    # Sets MMEngine's default scope during this call only.
    with building(f'the model of the config {label}'):
        module = MODELS.build({**cfg, '_scope_': 'mmseg'})
    check_refiner(module, label)
    return module, label


def load_module(
    model: str | os.PathLike | Config | Mapping | nn.Module,
    checkpoint: str | os.PathLike | None = None,
) -> tuple[nn.Module, str, bool]:
    """Build a refiner and load its weights, where they are known.

    Args:
        model: A name of the zoo, a config or its path, or a module, which is returned.
        checkpoint: Its weights. Named refiners load their own by default.

    Returns:
        The module, its name, and whether it has its weights.

    Raises:
        InvalidValueError: The name is unknown, or the weights do not fit.
        InvalidTypeError: The model is no refiner.
        FileError: A config or weights cannot be read or downloaded.

    Example:
        >>> module, name, has_weights = load_module('lite')
        >>> type(module).__name__, name, has_weights
        ('CascadePSP', 'lite', True)
    """
    check_threads()  # the first conversion of weights would wait
    has_weights = isinstance(model, nn.Module)
    if has_weights:
        name = type(model).__name__
        check_refiner(model, name)
    else:
        named = is_name(model)
        model, name = build_model(model)
        if checkpoint is None and named:
            checkpoint = find_weights(name)
    if checkpoint is not None:
        load_weights(model, read_state_dict(checkpoint), checkpoint, name)
        has_weights = True
    return model, name, has_weights


def load_refiner(
    model: str | os.PathLike | Config | Mapping | nn.Module | Network = 'lite',
    checkpoint: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    precision: str = 'auto',
) -> tuple[Network, str]:
    """Load a refiner with its weights.

    Args:
        model, checkpoint, device, precision: See :class:`~mmseg_cascadepsp.Refiner`.

    Returns:
        The network and its name.

    Raises:
        InvalidValueError: The name, precision or device is unknown, or the weights do not fit.
        InvalidTypeError: The model is no refiner.
        FileError: A config, weights or an ONNX file cannot be read or downloaded.
        MissingPackageError: The model is an ONNX file, and onnx or onnxruntime is missing.

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
        device = device or next((value.device for value in model.parameters()), 'cpu')
    model, name, has_weights = load_module(model, checkpoint)
    if not has_weights:
        raise InvalidValueError(
            f'checkpoint must be given for {name}; only the names '
            f'{", ".join(map(repr, ZOO))} know their weights.'
        )
    device = _check_device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    on_cpu = device.type == 'cpu'
    if on_cpu and any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        model = revert_sync_batchnorm(copy.deepcopy(model))  # leaves the given module as it is
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
    """Check that a module is a refiner.

    Args:
        module: The module.
        label: Its name, for the error message.

    Raises:
        InvalidTypeError: It is none.

    Example:
        >>> check_refiner(build_model('lite')[0], 'lite')
    """
    if not isinstance(module, CascadePSP | Network):
        raise InvalidTypeError(
            f'model {label} is a {type(module).__name__}, expected a CascadePSP or a '
            'subclass of mmseg_cascadepsp.cascade.Network.'
        )


def convert_checkpoint(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Convert the checkpoint of the authors' release to one of this package.

    The weights must fit the network of ``cascadepsp_r50``. ``target`` is written atomically and
    replaces an existing file.

    Args:
        source: The authors' file.
        target: File to write, ``.pth`` or ``.safetensors``.

    Raises:
        FileError: ``source`` cannot be read or ``target`` cannot be written.
        InvalidValueError: The weights do not fit. The message names the first ones.

    Example:
        >>> convert_checkpoint('model', 'cascadepsp_r50.pth')  # doctest: +SKIP
    """
    state_dict = read_state_dict(source)
    load_weights(build_model('r50')[0], state_dict, source, 'r50')
    meta = {'source': Path(source).name, 'mmseg_cascadepsp': __version__}
    write_weights(target, state_dict, meta)
