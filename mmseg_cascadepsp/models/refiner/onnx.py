"""Export of refiners to ONNX, and inference with such files."""

import copy
import functools
import hashlib
import importlib
import json
import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType

import torch
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from mmseg_cascadepsp.cascade import CascadeSettings, GuidedFilter, Network, Passes
from mmseg_cascadepsp.errors import (
    FileError,
    InvalidTypeError,
    InvalidValueError,
    MissingFileError,
    MissingPackageError,
)
from mmseg_cascadepsp.files import atomic_open
from mmseg_cascadepsp.version import __version__

from .cascade_psp import CascadePSP
from .inference import CascadeNetwork
from .portable import PortableNetwork

INPUTS = ('image', 'masks')
OPSET = 18
"""Newest opset that PyTorch's exporter writes natively. onnxruntime 1.14 and later read it."""
#: Batch size, height and width of the example input for the export.
_TRACED = (2, 104, 72)
#: Sizes at which the result is checked. `lite` pads them to multiples of 32, in both directions,
#: in one or in none. The smallest has a single pixel at stride 32.
_CHECKED = ((1, 56, 120), (1, 64, 96), (1, 104, 128), (1, 16, 16), (1, 24, 40))
TOLERANCE = 1e-3
"""Largest difference of the logits from those of the model. Rounding causes a hundredth of it."""


def export_network(network: Network, target: str | os.PathLike, name: str) -> None:
    """Export one pass of a refiner to an ONNX file, in float32.

    The graph has two inputs. ``image`` is (B, 3, H, W), RGB and normalised. ``masks`` is
    (B, 3, H, W) in [-1, 1] (see :class:`mmseg_cascadepsp.cascade.Network`). H and W are any
    multiples of 8. Its outputs ``logits_8``, ``logits_4`` and ``logits_1`` are the logits
    (B, 1, H, W) of each stride.

    The metadata hold what the cascade needs besides. ``strides``, ``mean``, ``std``,
    ``guided_filter``, ``overview`` and ``tidy`` are JSON. ``name`` is the name of the
    refiner, and ``mmseg_cascadepsp`` the version of this package.

    The file is written only if its logits agree with those of the model at several sizes.

    Args:
        network: Network of the refiner.
        target: File to write, ``.onnx``. ``Refiner(target)`` and any ONNX runtime can run it.
        name: Name of the refiner.

    Raises:
        InvalidValueError: ``target`` has another suffix.
        InvalidTypeError: The network is no CascadePSP, or its backbone cannot be exported.
        MissingPackageError: An ONNX package is missing.
        RuntimeError: The exported graph gives other logits than the model.
        FileError: ``target`` cannot be written.

    Example:
        >>> from mmseg_cascadepsp.models.refiner.zoo import load_refiner
        >>> network, name = load_refiner('lite', device='cpu')
        >>> export_network(network, 'lite.onnx', name)  # doctest: +SKIP
    """
    target = Path(target)
    if target.suffix != '.onnx':
        raise InvalidValueError(f'target must end with .onnx, got {str(target)!r}.')
    model = network.model if isinstance(network, CascadeNetwork) else None
    if model is None or not hasattr(model.backbone, 'from_stem'):
        raise InvalidTypeError(
            f'model {name} cannot be exported: expected a CascadePSP whose backbone has '
            f'from_stem, such as RefinementResNet, got {type(model or network).__name__}.'
        )
    for package in ('onnx', 'onnxruntime', 'onnxscript'):
        require(package)
    model = revert_sync_batchnorm(copy.deepcopy(model)).cpu().float().eval()
    facts = {
        'name': Path(name).stem,  # without the folder of a config
        'strides': json.dumps(list(model.cascade_strides)),
        'mean': json.dumps(model.data_preprocessor.mean.flatten().tolist()),
        'std': json.dumps(model.data_preprocessor.std.flatten().tolist()),
        **{key: json.dumps(value) for key, value in asdict(network.defaults).items()},
        'mmseg_cascadepsp': __version__,
    }
    content = _to_onnx(_trace(PortableNetwork(model)), model.cascade_strides, facts)
    _check(OnnxRefiner(content).refine_pass, model, name)
    with atomic_open(target) as file:
        file.write(content)


def _example(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, masks = torch.randn(2, batch, 3, height, width, generator=generator)
    return image, masks.tanh()


def _trace(network: PortableNetwork) -> 'torch.export.ExportedProgram':
    # torch.export would specialise the graph for a size of 1. ONNX runs that size, too.
    sizes = {
        0: torch.export.Dim('batch'),
        2: 8 * torch.export.Dim('height_by_8', min=2),
        3: 8 * torch.export.Dim('width_by_8', min=2),
    }
    with torch.no_grad(), _quiet():
        return torch.export.export(
            network, _example(*_TRACED), dynamic_shapes=(sizes, sizes), strict=False
        )


def _to_onnx(
    program: 'torch.export.ExportedProgram', strides: Sequence[int], facts: dict[str, str]
) -> bytes:
    onnx = require('onnx')
    with _quiet():
        model = torch.onnx.export(
            program,
            input_names=INPUTS,
            output_names=[f'logits_{stride}' for stride in strides],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        ).model_proto
    onnx.helper.set_model_props(model, facts)
    return model.SerializeToString()


@contextmanager
def _quiet():
    """Silence messages of the exporters, for example about missing torchvision."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check(run, model: CascadePSP, name: str) -> None:
    for size in _CHECKED:
        image, masks = _example(*size)
        with torch.no_grad():
            expected = model.refine_pass(image, masks, model.cascade_strides)
            found = run(image, masks, model.cascade_strides)
        for stride, logits in expected.items():
            error = (found[stride] - logits).abs().max() / logits.abs().max().clamp(min=1)
            if not error <= TOLERANCE:
                raise RuntimeError(
                    f'model {name} cannot be exported: the logits of stride {stride} are off by '
                    f'{error:.2g} at {size[1]}x{size[2]}, expected at most {TOLERANCE}. Does a '
                    'layer compute something else for some input sizes?'
                )


class OnnxRefiner(nn.Module, Network):
    """A refiner in an ONNX file that :func:`export_network` wrote.

    onnxruntime runs it on the CPU, on as many threads as PyTorch uses. ``Refiner('lite.onnx')``
    makes one. onnxruntime always computes all outputs of a graph. The graph is therefore split
    after each output, and a pass stops at the finest output that it needs.

    Args:
        source: The file, or its content as bytes.

    Attributes:
        name: Name of the exported refiner.
        strides: Output strides, from coarse to fine.
        defaults: Settings of the cascade that it was exported with.

    Raises:
        MissingPackageError: onnx or onnxruntime is not installed.
        FileError: There is no such file, or it is no ONNX file.
        InvalidValueError: The file was not written by :func:`export_network`.

    Example:
        >>> OnnxRefiner('lite.onnx').strides  # doctest: +SKIP
        (8, 4, 1)
    """

    def __init__(self, source: str | os.PathLike | bytes) -> None:
        super().__init__()
        onnx = require('onnx')
        self._runtime = require('onnxruntime')
        label = 'of bytes' if isinstance(source, bytes) else os.fspath(source)
        content = source if isinstance(source, bytes) else _read(source)
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # classes of protobuf, which depend on its version
            raise FileError(
                f'model {label} ({len(content)} bytes) is truncated, damaged or no ONNX file.'
            ) from error
        facts = {entry.key: entry.value for entry in model.metadata_props}
        lacks = [key for key in ('name', 'strides', 'mean', 'std') if key not in facts]
        if lacks:
            raise InvalidValueError(
                f'model {label} lacks {", ".join(lacks)} in its metadata: expected a file that '
                'Refiner.export or tools/model_converters/export.py wrote.'
            )
        self._source = source
        self.name = facts['name']
        self.strides = tuple(json.loads(facts['strides']))
        names = [field.name for field in fields(CascadeSettings) if field.name in facts]
        settings = {name: json.loads(facts[name]) for name in names}
        if settings.get('guided_filter'):
            settings['guided_filter'] = GuidedFilter(**settings['guided_filter'])
        self.defaults = CascadeSettings(**settings)
        for key in ('mean', 'std'):
            value = torch.tensor(json.loads(facts[key]))[:, None, None]
            self.register_buffer(key, value)
        self.fingerprint = hashlib.sha256(content).hexdigest()[:16]
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._stages = [
            self._runtime.InferenceSession(part, options, providers=['CPUExecutionProvider'])
            for part in _cut(model, [f'logits_{stride}' for stride in self.strides])
        ]

    def __reduce__(self):
        return type(self), (self._source,)

    def __copy__(self):
        # By __reduce__, a copy with other defaults would read the file again.
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def check_settings(
        self,
        checkpoint: str | os.PathLike | None,
        device: str | torch.device | None,
        precision: str,
    ) -> None:
        """Refuse settings that an exported refiner does not have.

        Args:
            checkpoint: Must be None.
            device: Must be None or the CPU.
            precision: Must be ``'auto'`` or ``'fp32'``.

        Raises:
            InvalidValueError: One of them is something else.
        """
        if checkpoint is not None:
            raise InvalidValueError(
                'checkpoint must not be given for an exported refiner, which has its weights, got '
                f'{os.fspath(checkpoint)!r}.'
            )
        if device is not None and torch.device(device).type != 'cpu':
            raise InvalidValueError(
                f"device must be 'cpu' for an exported refiner, got {str(device)!r}; on a GPU use "
                'the refiner that was exported.'
            )
        if precision not in ('auto', 'fp32'):
            raise InvalidValueError(
                "precision must be 'auto' or 'fp32' for an exported refiner, whose file decides, "
                f'got {precision!r}.'
            )

    def normalize(self, image: Tensor) -> Tensor:
        """Normalise images.

        Args:
            image: (B, 3, H, W), RGB, uint8 or float in 0..255.

        Returns:
            (B, 3, H, W) float32.
        """
        return (image.cpu().float() - self.mean) / self.std

    def for_image(self, image: Tensor) -> Passes:
        """See :meth:`mmseg_cascadepsp.cascade.Network.for_image`."""
        return functools.partial(self.refine_pass, image)

    def describe(self) -> dict[str, str]:
        """Fingerprint of the file, and the precision."""
        return {'weights': self.fingerprint, 'precision': 'fp32'}

    def _apply(self, fn, recurse=True):
        """Stay on the CPU when the model around it is moved."""
        return self

    def refine_pass(
        self, image: Tensor, masks: Tensor, strides: Sequence[int]
    ) -> dict[int, Tensor]:
        """Run one pass, see :meth:`mmseg_cascadepsp.models.CascadePSP.refine_pass`."""
        value = self._runtime.OrtValue.ortvalue_from_numpy
        tensors = {
            name: value(tensor.float().cpu().contiguous().numpy())
            for name, tensor in zip(INPUTS, (image, masks), strict=True)
        }
        for stride, stage in zip(self.strides, self._stages, strict=True):
            if stride < min(strides):
                break
            names = [output.name for output in stage.get_outputs()]
            needed = {entry.name: tensors[entry.name] for entry in stage.get_inputs()}
            tensors.update(zip(names, stage.run_with_ort_values(names, needed), strict=True))
        return {
            stride: torch.from_numpy(tensors[f'logits_{stride}'].numpy()).to(image.device)
            for stride in strides
        }


def is_exported(model: object) -> bool:
    """Whether something is the path of an ONNX file.

    Args:
        model: A path, or anything else.

    Example:
        >>> is_exported('lite.onnx'), is_exported('lite')
        (True, False)
    """
    return isinstance(model, (str, os.PathLike)) and os.fspath(model).endswith('.onnx')


def _cut(model, outputs: Sequence[str]) -> list[bytes]:
    """Split an ONNX model into one part for each output.

    Part k computes what output k needs and earlier parts have not computed. Besides output k it
    returns what later parts need. Each node is in one part only.
    """
    onnx = require('onnx')
    graph = onnx.shape_inference.infer_shapes(model).graph  # adds types that are missing
    maker = {name: i for i, node in enumerate(graph.node) for name in node.output}
    part_of: dict[int, int] = {}
    for part, output in enumerate(outputs):
        left = [maker[output]]
        while left:
            number = left.pop()
            if number not in part_of:
                part_of[number] = part
                left += [maker[name] for name in graph.node[number].input if name in maker]
    types = {
        info.name: info.type.tensor_type.elem_type
        for info in (*graph.input, *graph.value_info, *graph.output)
    }
    weights = {weight.name: weight for weight in graph.initializer}
    parts = []
    for part, output in enumerate(outputs):
        numbers = sorted(number for number in part_of if part_of[number] == part)
        nodes = [
            graph.node[number] for number in numbers
        ]  # the order of the graph is valid for each part
        made = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in node.input if name)
        later = {
            name
            for number, at in part_of.items()
            if at > part
            for name in graph.node[number].input
        }
        handed_on = [output, *sorted(made & later - {output})]
        taken = [name for name in read if name not in made and name not in weights]

        def infos(names):
            return [onnx.helper.make_tensor_value_info(name, types[name], None) for name in names]

        cut = onnx.helper.make_graph(
            nodes,
            f'{graph.name}_{output}',
            infos(taken),
            infos(handed_on),
            [weights[name] for name in read if name in weights],
        )
        parts.append(
            onnx.helper.make_model(
                cut, opset_imports=model.opset_import, ir_version=model.ir_version
            ).SerializeToString()
        )
    return parts


def _read(path: str | os.PathLike) -> bytes:
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f'model: {path} {"is a folder" if path.is_dir() else "does not exist"}.'
        )
    return path.read_bytes()


def require(module: str) -> ModuleType:
    """Import a package that ONNX files need.

    Args:
        module: Its name.

    Raises:
        MissingPackageError: It is not installed.

    Example:
        >>> require('json').__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'{module} is not installed, and ONNX needs it: pip install onnx onnxruntime '
            'onnxscript (the extra "export").'
        ) from error
