"""Refiners as files of other runtimes: ONNX, and PyTorch's exported programs."""

import copy
import hashlib
import importlib
import json
import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from mmseg_cascadepsp.cascade import GuidedFilter
from mmseg_cascadepsp.errors import (
    FileError,
    InvalidTypeError,
    InvalidValueError,
    MissingFileError,
    MissingPackageError,
)
from mmseg_cascadepsp.files import atomic_open
from mmseg_cascadepsp.models.refiner.cascade_psp import CascadePSP
from mmseg_cascadepsp.models.refiner.portable import PortableNetwork
from mmseg_cascadepsp.version import __version__

if TYPE_CHECKING:
    from mmseg_cascadepsp.apis.refiner import Refiner

FORMATS = ('.onnx', '.pt2')
INPUTS = ('image', 'masks')
OPSET = 18
"""The newest that PyTorch's exporter writes itself; onnxruntime 1.14 reads it."""
#: Size of the example that is traced.
_TRACED = (2, 104, 72)
#: Sizes on which the result is checked: such as pad on both sides (`lite` pads to 32), on one and
#: on none, and the smallest, whose map at stride 32 is one pixel.
_CHECKED = ((1, 56, 120), (1, 64, 96), (1, 104, 128), (1, 16, 16), (1, 24, 40))
TOLERANCE = 1e-3
"""Of logits, against the model; rounding is a hundredth of it."""


def export_refiner(refiner: 'Refiner', target: str | os.PathLike) -> None:
    """Write one pass of a refiner's network, in float32, as a file for other runtimes.

    The graph takes ``image``, (B, 3, H, W), RGB, normalised, and ``masks``, (B, 3, H, W) in
    [-1, 1] (see :data:`mmseg_cascadepsp.cascade.RefinePass`), H and W any multiples of 8 (in
    ``.pt2`` from 16), and returns the logits (B, 1, H, W) of each stride of the cascade (in ONNX
    ``logits_8``, ``logits_4``, ``logits_1``). The file carries what a cascade needs besides:
    ``strides``, ``mean`` and ``std`` of the normalisation and the refiner's ``guided_filter`` and
    ``overview`` as JSON, ``name``, and ``mmseg_cascadepsp``, the version that wrote it: ONNX
    as metadata, ``.pt2`` as extra files. It appears only when its logits were found to be the
    model's, at other sizes than the traced one.

    Args:
        refiner: whose model is a :class:`~mmseg_cascadepsp.models.CascadePSP`.
        target: ``.onnx``, for ``Refiner(target)`` and any ONNX runtime, or ``.pt2``, for
            ``torch.export.load``, which needs nothing of this package.

    Raises:
        ValueError: another suffix.
        TypeError: the model is no CascadePSP, or has a backbone of another kind.
        ImportError: an ONNX package is missing.
        RuntimeError: the logits of the exported graph are not the model's.
        OSError: ``target`` cannot be written.
    """
    target, model, own = Path(target), refiner.model, refiner._refine_pass
    if target.suffix not in FORMATS:
        raise InvalidValueError(
            f'target must end with {" or ".join(FORMATS)}, got {str(target)!r}.'
        )
    if not isinstance(model, CascadePSP) or not hasattr(model.backbone, 'from_stem'):
        raise InvalidTypeError(
            f'model {refiner.name} cannot be exported: expected a CascadePSP whose backbone has '
            f'from_stem, such as RefinementResNet, got {type(model).__name__}.'
        )
    if target.suffix == '.onnx':
        for name in ('onnx', 'onnxruntime', 'onnxscript'):
            require(name)
    model = revert_sync_batchnorm(copy.deepcopy(model)).cpu().float().eval()
    program = _trace(PortableNetwork(model))
    facts = {
        'name': Path(refiner.name).stem,  # of a config no path
        'strides': json.dumps(list(model.cascade_strides)),
        'mean': json.dumps(model.data_preprocessor.mean.flatten().tolist()),
        'std': json.dumps(model.data_preprocessor.std.flatten().tolist()),
        'guided_filter': json.dumps(own.finish and asdict(own.finish)),
        'overview': json.dumps(own.overview),
        'mmseg_cascadepsp': __version__,
    }
    if target.suffix == '.onnx':
        content = _to_onnx(program, model.cascade_strides, facts)
        _check(OnnxRefiner(content).refine_pass, model, refiner.name)
        with atomic_open(target) as file:
            file.write(content)
        return
    _drop_guards(program)
    run = program.module()
    _check(
        lambda image, masks, strides: dict(zip(strides, run(image, masks), strict=True)),
        model,
        refiner.name,
    )
    with atomic_open(target) as file, _quiet():
        torch.export.save(program, file, extra_files=facts)


def _example(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, masks = torch.randn(2, batch, 3, height, width, generator=generator)
    return image, masks.tanh()


def _trace(network: PortableNetwork) -> 'torch.export.ExportedProgram':
    # A map of one pixel at stride 8 would be another graph to torch.export, not to ONNX.
    sizes = {
        0: torch.export.Dim('batch'),
        2: 8 * torch.export.Dim('height_by_8', min=2),
        3: 8 * torch.export.Dim('width_by_8', min=2),
    }
    with torch.no_grad(), _quiet():
        return torch.export.export(
            network, _example(*_TRACED), dynamic_shapes=(sizes, sizes), strict=False
        )


def _drop_guards(program: 'torch.export.ExportedProgram') -> None:
    """Let a program take all sizes that its ranges allow.

    Crops of padded maps and maps of one pixel have other strides in memory than those of the
    traced size; newer versions of torch turn that bookkeeping, on which no result depends, into
    guards that refuse a side that is a multiple of 32. :func:`_check` is what vouches for such
    sizes. Ranges (from 16) are kept apart from guards, and stay.
    """
    if getattr(program, '_guards_code', None):
        program._guards_code = []


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
    """Without what the exporters say of themselves and of torchvision's absence."""
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
                    f'{error:.2g} at {size[1]}x{size[2]}, expected at most {TOLERANCE}; does a '
                    'layer decide by the size of its input?'
                )


class OnnxRefiner(nn.Module):
    """A refiner that :func:`export_refiner` or :func:`export_int8` wrote as ONNX, run by
    onnxruntime on the CPU, on as many threads as PyTorch has. ``Refiner('refiner.onnx')`` holds
    one.

    onnxruntime computes all of a graph, whatever is asked for; so the graph is cut behind each
    output, coarse to fine, and a pass runs no further than the finest output that it needs.

    Args:
        source: the file, or its content.

    Attributes:
        name: of the refiner that was exported.
        cascade_strides: output strides, coarse to fine.
        precision: ``'fp32'`` or ``'int8'``.
        guided_filter, overview: as :class:`~mmseg_cascadepsp.models.CascadePSP` has them; not in
            the graph.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        OSError: no such file, or it is no ONNX.
        ValueError: :func:`export_refiner` did not write it.
    """

    def __init__(self, source: str | os.PathLike | bytes) -> None:
        super().__init__()
        onnx = require('onnx')
        self._runtime = require('onnxruntime')
        label = 'of bytes' if isinstance(source, bytes) else os.fspath(source)
        content = source if isinstance(source, bytes) else _read(source)
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # protobuf's own kinds, which differ by its version
            raise FileError(
                f'model {label} ({len(content)} bytes) is truncated, damaged or no ONNX file.'
            ) from error
        facts = {entry.key: entry.value for entry in model.metadata_props}
        lacks = [key for key in ('name', 'strides', 'mean', 'std') if key not in facts]
        if lacks:
            raise InvalidValueError(
                f'model {label} lacks {", ".join(lacks)} in its metadata: expected a file that '
                'tools/model_converters/export.py wrote.'
            )
        self._source = source
        self.name, self.precision = facts['name'], facts.get('precision', 'fp32')
        self.cascade_strides: Sequence[int] = tuple(json.loads(facts['strides']))
        settings = json.loads(facts.get('guided_filter', 'null'))
        self.guided_filter = settings and GuidedFilter(**settings)
        self.overview: float | None = json.loads(facts.get('overview', 'null'))
        for key in ('mean', 'std'):
            value = torch.tensor(json.loads(facts[key]))[:, None, None]
            self.register_buffer(key, value)
        # Refiner.settings tells refiners apart by their tensors.
        digest = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        self.register_buffer('fingerprint', torch.from_numpy(digest.copy()))
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._stages = [
            self._runtime.InferenceSession(part, options, providers=['CPUExecutionProvider'])
            for part in _cut(model, [f'logits_{stride}' for stride in self.cascade_strides])
        ]

    def __reduce__(self):
        return type(self), (self._source,)

    def check_settings(
        self,
        checkpoint: str | os.PathLike | None,
        device: str | torch.device | None,
        precision: str,
        max_memory: int | str | None,
    ) -> None:
        """Raise ``ValueError`` for settings of a Refiner that an exported one does not have."""
        if checkpoint is not None:
            raise InvalidValueError(
                'checkpoint must not be given for an exported refiner, which has its weights, got '
                f'{os.fspath(checkpoint)!r}.'
            )
        if device is not None and torch.device(device).type != 'cpu':
            raise InvalidValueError(
                f"device must be 'cpu' for an exported refiner, got {str(device)!r}; a GPU runs "
                'the refiner that was exported.'
            )
        if precision not in ('auto', 'fp32'):
            raise InvalidValueError(
                "precision must be 'auto' or 'fp32' for an exported refiner, whose file decides, "
                f'got {precision!r}.'
            )
        if max_memory is not None:
            raise InvalidValueError(
                'max_memory must not be given for an exported refiner, whose memory onnxruntime '
                f'does not tell, got {max_memory!r}; a smaller L needs less.'
            )

    def normalize(self, image: Tensor) -> Tensor:
        """RGB (B, 3, H, W), uint8 or float in 0..255 -> float32 as the network takes it."""
        return ((image.cpu().float() - self.mean) / self.std).to(image.device)

    def _apply(self, fn, recurse=True):
        """Stays on the CPU where the segmentor before it is moved."""
        return self

    def refine_pass(
        self, image: Tensor, masks: Tensor, strides: Sequence[int]
    ) -> dict[int, Tensor]:
        """One pass, as :meth:`mmseg_cascadepsp.models.CascadePSP.refine_pass`."""
        value = self._runtime.OrtValue.ortvalue_from_numpy
        tensors = {
            name: value(tensor.float().cpu().contiguous().numpy())
            for name, tensor in zip(INPUTS, (image, masks), strict=True)
        }
        for stride, stage in zip(self.cascade_strides, self._stages, strict=True):
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
    """Whether ``model`` is the path of an ONNX file."""
    return isinstance(model, (str, os.PathLike)) and os.fspath(model).endswith('.onnx')


def _cut(model, outputs: Sequence[str]) -> list[bytes]:
    """Cut an ONNX model behind each of its outputs: part ``k`` computes what output ``k`` needs
    and no part before has computed, and hands on what later parts need. Every node and every
    weight is in one part alone (but for constants that several nodes share).
    """
    onnx = require('onnx')
    graph = onnx.shape_inference.infer_shapes(model).graph  # types that other tools left out
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
        nodes = [graph.node[number] for number in numbers]  # in their order, which is a valid one
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
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'{module} is not installed, and ONNX needs it: pip install onnx onnxruntime '
            'onnxscript (the extra "export").'
        ) from error
