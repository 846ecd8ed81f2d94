"""Reading, checking and publishing weights."""

import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError
from mmseg_cascadepsp.version import __version__

from .convert import (
    convert_release_state_dict,
    is_release_state_dict,
)
from .safe_tensors import is_safetensors, read_safetensors, write_weights

SHIPPED = {
    'cascadepsp_lite.pth': 'bd15a9fecfe912a57b0d968263aa46899733f51f964a848f2ddc24819772a1e0',
    'cascadepsp_lite.safetensors': (
        'c7a058257c6890e2bdb80730322a717b447a5fdfb3fc77e9ae38ea33761c2c8b'
    ),
    'deeplabv3plus_persons-cats-horses.pth': (
        'b295003b536f4e79a33405ad5f77677be28118b85752b2da92b438f22c5bdb73'
    ),
}
"""SHA-256 of the weights in ``mmseg_cascadepsp/weights``."""
WEIGHTS = Path(__file__).resolve().parents[2] / 'weights'
SHOWN = 3
"""Number of keys of each kind that an error names."""


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the weights of a checkpoint to the CPU, without running code from it.

    Checkpoints of MMEngine, plain state dicts, the file of the authors' release and
    ``.safetensors`` can be read.
    Keys of the release are renamed to those of this package.

    Args:
        path: The checkpoint.

    Returns:
        Weights by key.

    Raises:
        FileError: The file is truncated, damaged or no checkpoint.
        MissingFileError: There is no such file.
        InvalidValueError: It holds no weights, or weights that are not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     torch.save({'state_dict': {'module.weight': torch.ones(2)}}, f'{folder}/a.pth')
        ...     read_state_dict(f'{folder}/a.pth')
        {'weight': tensor([1., 1.])}
    """
    return _weights_of(_read(Path(path)), path)


def _read(path: Path) -> object:
    if path == Path():
        raise MissingFileError(
            "checkpoint is '', which names no file; a variable of the shell may not be set."
        )
    if not path.is_file():
        raise MissingFileError(
            f'checkpoint {path} {"is a folder" if path.is_dir() else "does not exist"}.'
        )
    check_file(path)
    if is_safetensors(path):
        return read_safetensors(path)
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise FileError(
            f'checkpoint {path} ({path.stat().st_size} bytes) is damaged, or holds more than '
            f'weights, which is refused because it could run code: {reason}'
        ) from error
    except Exception as error:  # torch.load has no common exception for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(
            f'checkpoint {path} ({path.stat().st_size} bytes) is truncated, damaged or no '
            f'checkpoint: {reason}'
        ) from error


def check_file(path: str | os.PathLike) -> None:
    """Check what is known of a checkpoint's bytes. PyTorch loads flipped bits in silence.

    These are the checksums of the records inside, the digest of weights that this package ships,
    and the first digits of the SHA-256 in a name such as ``NAME-1a2b3c4d.pth``, as OpenMMLab's and
    PyTorch's downloads have them.

    Args:
        path: The checkpoint. What is no archive is left to PyTorch.

    Raises:
        FileError: A checksum is another one.

    Example:
        >>> check_file(WEIGHTS / 'cascadepsp_lite.pth')  # says nothing
    """
    path = Path(path)
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except Exception as error:  # zlib.error, EOFError, RuntimeError and more
            damaged = str(error) or type(error).__name__
        if damaged:
            raise FileError(
                f'checkpoint {path} is damaged: the checksum of its record {damaged} is another '
                'one; fetch or copy it again.'
            )
    shipped = SHIPPED.get(path.name) if path.resolve().parent == WEIGHTS else None
    expected = shipped or digest_in(path.name)
    if expected is None:
        return
    found = digest_of(path, 'sha256')
    if not found.startswith(expected):
        cure = 'install the package again' if shipped else 'delete it and fetch it again'
        raise FileError(
            f'checkpoint {path} is damaged: its SHA-256 begins with {found[:8]}, expected '
            f'{expected[:8]}; {cure}.'
        )


def digest_of(path: str | os.PathLike, kind: str) -> str:
    """Checksum of a file.

    Args:
        path: The file.
        kind: Such as ``'sha256'`` or ``'md5'``.

    Returns:
        Its digits, hexadecimal.

    Example:
        >>> digest_of(WEIGHTS / 'cascadepsp_lite.pth', 'sha256')[:8]
        'bd15a9fe'
    """
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_in(name: str) -> str | None:
    """The first digits of the SHA-256 that the name of a checkpoint has.

    Args:
        name: Of the file.

    Returns:
        Eight digits. None where there are none, and of a date.

    Example:
        >>> digest_in('fcn_r50-d8_20200614-bf1400d8.pth'), digest_in('fcn-20200614.pth')
        ('bf1400d8', None)
    """
    found = re.search(r'-(?!(?:19|20)\d{6}\.)([0-9a-f]{8})\.(?:pth|safetensors)$', name)
    return found and found[1]


def _weights_of(content: object, path: str | os.PathLike) -> dict[str, Tensor]:
    state_dict = content
    for name in ('state_dict', 'model'):
        if isinstance(state_dict, Mapping) and isinstance(state_dict.get(name), Mapping):
            state_dict = state_dict[name]
    if (
        not isinstance(state_dict, Mapping)
        or not state_dict
        or not all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in state_dict.items()
        )
    ):
        raise InvalidValueError(
            f'checkpoint {path} holds no weights: expected a dict of tensors by name, alone or '
            'under "state_dict".'
        )
    strange = [
        key
        for key, value in state_dict.items()
        if value.layout != torch.strided or value.is_meta or value.is_quantized
    ]
    if strange:
        raise InvalidValueError(
            f'checkpoint {path} holds sparse, quantized or empty tensors, first {strange[0]}; '
            'expected plain ones.'
        )
    broken = [
        key
        for key, value in state_dict.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if broken:
        raise InvalidValueError(
            f'checkpoint {path} holds values that are not finite in {len(broken)} '
            f'of {len(state_dict)} tensors, first {broken[0]}.'
        )
    if is_release_state_dict(state_dict):
        return convert_release_state_dict(state_dict)
    return {key.removeprefix('module.'): value for key, value in state_dict.items()}


def load_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str | os.PathLike, name: str
) -> None:
    """Load weights into a model. If any of them does not fit, nothing is loaded.

    Args:
        model: Model to load the weights into. It keeps its dtype.
        state_dict: Weights by key, as :func:`read_state_dict` returns them.
        source: File of the weights, for the error message.
        name: Name of the model, for the error message.

    Raises:
        InvalidValueError: Keys are missing, unexpected or of another shape. The message counts
            them and names the first ones.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> load_weights(model, {'weight': torch.ones(1, 2)}, 'a.pth', 'linear')
        >>> model.weight.data
        tensor([[1., 1.]])
    """
    own = model.state_dict()
    counters = 'num_batches_tracked'  # files of old PyTorch versions do not have them
    faults = {
        'missing': [key for key in own if key not in state_dict and not key.endswith(counters)],
        'unexpected': [key for key in state_dict if key not in own and not key.endswith(counters)],
        'of another shape': [
            f'{key} {tuple(value.shape)} for {tuple(own[key].shape)}'
            for key, value in state_dict.items()
            if key in own and value.shape != own[key].shape
        ],
    }
    if any(faults.values()):
        told = '; '.join(
            f'{len(keys)} {kind} ({", ".join(keys[:SHOWN])}{", ..." if len(keys) > SHOWN else ""})'
            for kind, keys in faults.items()
            if keys
        )
        raise InvalidValueError(
            f'checkpoint {source} does not fit the model {name!r}, which has '
            f'{len(own)} tensors: {told}.'
        )
    model.load_state_dict(
        {key: value for key, value in state_dict.items() if key in own}, strict=False
    )


def publish_checkpoint(
    source: str | os.PathLike | Sequence[str | os.PathLike], target: str | os.PathLike
) -> None:
    """Write the weights of a training checkpoint, in float16, and the names of its classes.

    If several checkpoints are given, their weights are averaged ("model soup", Wortsman et al.
    2022). The mean of the last checkpoints of a training, or of several trainings from the same
    start, is often better than each of them.

    ``target`` is written atomically. An existing file is replaced, unless it is a training
    checkpoint, whose optimizer would be lost.

    Args:
        source: A checkpoint, or several of the same network. They may have been published before.
            The names of the classes are those of the first.
        target: File to write, ``.pth`` or ``.safetensors``.

    Raises:
        FileError: ``source`` cannot be read or ``target`` cannot be written.
        InvalidValueError: ``source`` is empty, holds no weights, weights that are too large for
            float16, or weights of different networks. Or ``target`` is a training checkpoint.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for value in (1, 3):
        ...         torch.save({'weight': torch.full((2,), value / 1)}, f'{folder}/{value}.pth')
        ...     publish_checkpoint([f'{folder}/1.pth', f'{folder}/3.pth'], f'{folder}/mean.pth')
        ...     read_state_dict(f'{folder}/mean.pth')
        {'weight': tensor([2., 2.], dtype=torch.float16)}
    """
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not sources:
        raise InvalidValueError('source must be at least one checkpoint, got none.')
    if Path(target).is_file():
        older = _read(Path(target))
        keys = set(older) if isinstance(older, Mapping) else set()
        if 'state_dict' in keys and keys - {'meta', 'state_dict'}:
            raise InvalidValueError(
                f'target {target} is a training checkpoint, whose optimizer and progress would be '
                'lost. The file to write must be given last.'
            )
    contents = [_read(Path(path)) for path in sources]
    states = [_weights_of(*pair) for pair in zip(contents, sources, strict=True)]
    for state in states:  # norms count batches, which inference does not need
        for key in [key for key in state if key.endswith('num_batches_tracked')]:
            del state[key]
    shapes = [{key: tuple(value.shape) for key, value in state.items()} for state in states]
    for path, other in zip(sources, shapes, strict=True):
        if other != shapes[0]:
            differ = sorted(key for key, _ in other.items() ^ shapes[0].items())
            raise InvalidValueError(
                f'checkpoint {path} is of another network than {sources[0]}: {len(set(differ))} '
                f'tensors differ in name or shape, first {differ[0]}.'
            )
    state_dict = {}
    for key, value in states[0].items():
        if value.is_floating_point():
            if len(states) > 1:  # a mean would lose the sign of zeros
                value = torch.stack([state[key].double() for state in states]).mean(0)
            value = value.half()
            if not value.isfinite().all():
                raise InvalidValueError(
                    f'checkpoint {", ".join(map(str, sources))}: {key} is too large for fp16.'
                )
        state_dict[key] = value
    names = ', '.join(Path(path).name for path in sources)
    meta = {'source': names, 'mmseg_cascadepsp': __version__}
    trained = contents[0].get('meta') if isinstance(contents[0], Mapping) else None
    if isinstance(trained, Mapping) and 'dataset_meta' in trained:
        meta['dataset_meta'] = trained['dataset_meta']
    write_weights(target, state_dict, meta)
