"""Refiners as ONNX whose costliest convolutions are int8."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmseg_cascadepsp import cascade
from mmseg_cascadepsp.evaluation.folders import Example, find_examples, find_sets
from mmseg_cascadepsp.utils import atomic_open, read_image, read_mask

from .export import INPUTS, OnnxRefiner, export_refiner, require
from .validation import check_image, check_mask

if TYPE_CHECKING:
    from .refiner import Refiner

SIDE = 448
"""Longer side of the photos whose passes calibrate; activations hardly depend on it."""
PHOTOS = 20
TOLERANCE = 0.02
"""Of probabilities, against float32."""
LEAST_NEAR, LEAST_IOU = 0.998, 0.999
"""What :class:`Agreement` must reach."""
BLOCKS = 'decode_head.ups.'
"""What the names of the upsampling blocks' weights begin with."""


@dataclass(frozen=True)
class Agreement:
    """How far an int8 refiner gives what its float32 one gives.

    Attributes:
        photos: on how many.
        near: fraction of the probabilities that differ by at most :data:`TOLERANCE`.
        iou: of the masks, intersections of all photos over unions.
    """

    photos: int
    near: float
    iou: float

    def __str__(self) -> str:
        photos = 'photo' if self.photos == 1 else 'photos'
        return (
            f'{self.near:.3%} of the probabilities within {TOLERANCE} of float32, mask IoU '
            f'{self.iou:.5f}, on {self.photos} {photos}'
        )


@dataclass(frozen=True)
class _Cascade:
    """A Global step of float32: ``image``, RGB (3, H, W) in 0..255, and coarse ``mask``, (1, H, W)
    in [-1, 1], at most :data:`SIDE` long; the inputs of each of its ``passes``; and the
    ``probability``, (1, 1, H', W').
    """

    image: Tensor
    mask: Tensor
    passes: list[tuple[Tensor, Tensor]]
    probability: Tensor


def calibration_photos(
    folders: Iterable[str | os.PathLike], limit: int = PHOTOS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Photos, RGB uint8 (H, W, 3), and coarse masks, bool (H, W), read one by one.

    Args:
        folders: a root that holds ``[val/]<set>/{images,masks,coarse_*}``, or a folder of photos
            and one of masks of the same stems.
        limit: how many at most, evenly spread over those found.

    Raises:
        OSError: a folder does not exist or holds none; later, a file cannot be read.
        ValueError: one or two folders are expected, ``limit`` is below 1; later, a mask is not of
            the size of its photo.
    """
    folders = list(folders)
    if limit < 1:
        raise ValueError(f'limit of photos must be at least 1, got {limit}.')
    if len(folders) == 1:
        examples = find_sets(folders[0])
    elif len(folders) == 2:
        photos, masks = folders
        examples = find_examples(photos, masks, [masks])  # truths are not looked at
    else:
        raise ValueError(
            'folders to calibrate on must be one root of sets, or one of photos and one of masks, '
            f'got {len(folders)}.'
        )
    number = min(limit, len(examples))
    chosen = [examples[i * len(examples) // number] for i in range(number)]
    return map(_read, chosen)


def _read(example: Example) -> tuple[np.ndarray, np.ndarray]:
    image, mask = read_image(example.image), read_mask(example.coarse)
    try:
        return image, check_mask(mask, image.shape[:2])
    except ValueError as error:
        raise ValueError(f'{example.coarse}: {error}') from None


def export_int8(
    refiner: 'Refiner',
    target: str | os.PathLike,
    photos: Iterable[tuple[np.ndarray, np.ndarray]],
) -> Agreement:
    """Write a refiner as ONNX, as :func:`export_refiner` does, with the 3x3 convolutions of the
    upsampling blocks in int8 (weights per channel in 7 bits, activations uint8), and all else in
    float32.

    Those convolutions have most of a pass's products; rounding elsewhere, in the backbone or the
    shortcuts, reaches the masks. Ranges of the activations come from the passes of the Global
    step, at :data:`SIDE`, on every second photo; on the others, which calibration has not seen,
    the file is compared with float32 (a single photo serves for both). It is written only when
    99.8 % of the probabilities are within 0.02 and the masks' IoU is 0.999. Its metadata has
    ``precision``, ``int8``, and ``agreement``, the measured figures as JSON.

    Args:
        refiner: see :func:`export_refiner`.
        target: a path that ends with ``.onnx``.
        photos: of the kind that will be refined: image and coarse mask as
            :meth:`Refiner.refine` takes them, read one by one (10 MB of each are kept). Masks that
            are empty or full are left out, as no network runs on them.

    Returns:
        What was measured.

    Raises:
        ValueError: another suffix, no photos, bad ones, or a network without such convolutions.
        RuntimeError: too far from float32; no file is written.
        TypeError, ImportError, OSError: see :func:`export_refiner`, and what ``photos`` raises.
    """
    target = Path(target)
    if target.suffix != '.onnx':
        raise ValueError(f'target of int8 must end with .onnx, got {str(target)!r}.')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'float32.onnx')
        export_refiner(refiner, path)
        original = OnnxRefiner(path)
        cascades = [_record(original, image, mask) for image, mask in _with_boundary(photos)]
        if not cascades:
            raise ValueError(
                'photos to calibrate on must be at least one with a mask that is neither empty '
                'nor full, got none.'
            )
        model = _quantize(path, Path(folder, 'int8.onnx'), cascades[::2])
    agreement = _compare(OnnxRefiner(model.SerializeToString()), cascades[1::2] or cascades)
    if not (agreement.near >= LEAST_NEAR and agreement.iou >= LEAST_IOU):
        raise RuntimeError(
            f'model {refiner.name} cannot be exported as int8: {agreement}; expected at least '
            f'{LEAST_NEAR:.1%} and {LEAST_IOU}. Calibrate on more photos of the kind that will be '
            'refined, or stay with float32.'
        )
    for key, value in (('precision', 'int8'), ('agreement', json.dumps(asdict(agreement)))):
        model.metadata_props.add(key=key, value=value)
    with atomic_open(target) as file:
        file.write(model.SerializeToString())
    return agreement


def _with_boundary(photos) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for image, mask in photos:
        image = check_image(image)
        mask = check_mask(mask, image.shape[:2])
        if mask.any() and not mask.all():
            yield image, mask


def _refine(
    model: OnnxRefiner, refine_pass: cascade.RefinePass, image: Tensor, mask: Tensor
) -> Tensor:
    """Probability, (1, 1, H, W), of a Global step with the model's overview."""
    finest = model.cascade_strides[-1]
    return cascade.global_step(
        cascade.FinishedPass(refine_pass, overview=model.overview),
        image,
        mask,
        L=SIDE,
        normalize=model.normalize,
        strides=model.cascade_strides,
        final=(finest,),
    )[finest]


def _record(model: OnnxRefiner, photo: np.ndarray, coarse: np.ndarray) -> _Cascade:
    passes = []
    image = torch.tensor(photo).permute(2, 0, 1)
    mask = torch.tensor(coarse)[None].float() * 2 - 1
    if max(mask.shape) > SIDE:
        image, mask = (cascade.resize_longer_side(part, SIDE, 'area') for part in (image, mask))

    def refine_pass(image, masks, strides):
        passes.append((image, masks))
        return model.refine_pass(image, masks, strides)

    return _Cascade(image, mask, passes, _refine(model, refine_pass, image, mask))


def convolutions(graph) -> list[str]:
    """Names of the nodes of an ONNX graph that become int8: the 3x3 convolutions of the
    upsampling blocks, told by their weights.
    """
    wide = {
        weight.name
        for weight in graph.initializer
        if weight.name.startswith(BLOCKS) and list(weight.dims[2:]) == [3, 3]
    }
    return [node.name for node in graph.node if node.op_type == 'Conv' and node.input[1] in wide]


def _quantize(source: Path, target: Path, cascades: list[_Cascade]):
    """The quantised model, with the metadata of the one that it was made of."""
    onnx, tools = require('onnx'), require('onnxruntime.quantization')
    model = onnx.load(source)
    nodes = convolutions(model.graph)
    if not nodes:
        raise ValueError(
            'model has nothing to make int8: expected 3x3 convolutions in upsampling blocks '
            f'({BLOCKS}*), which a refiner of stride 8 alone does not have.'
        )
    facts = {entry.key: entry.value for entry in model.metadata_props}
    # Or onnxruntime asks for its preprocessing (shapes inferred, norms and constants folded), all
    # of which the graph has; it would rename the weights besides.
    onnx.helper.set_model_props(model, {'onnx.quant.pre_process': 'onnxruntime.quant'})

    class Reader(tools.CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = (
                dict(zip(INPUTS, (part.numpy() for part in inputs), strict=True))
                for one in cascades
                for inputs in one.passes
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    tools.quantize_static(
        model,
        target,
        Reader(),
        quant_format=tools.QuantFormat.QDQ,
        op_types_to_quantize=['Conv'],
        nodes_to_quantize=nodes,
        per_channel=True,
        # Weights of 7 bits, for hardly less agreement: sums of 8 saturate without VNNI.
        reduce_range=True,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        # Of all passes: means of their extremes cut off more, the more so the fewer photos.
        calibrate_method=tools.CalibrationMethod.MinMax,
    )
    model = onnx.load(target)
    onnx.helper.set_model_props(model, facts)
    return model


def _compare(model: OnnxRefiner, cascades: list[_Cascade]) -> Agreement:
    counts = np.zeros(4)
    for one in cascades:
        found = _refine(model, model.refine_pass, one.image, one.mask)
        near = (found - one.probability).abs() <= TOLERANCE
        masks = found > 0.5, one.probability > 0.5
        counts += [near.sum(), near.numel(), (masks[0] & masks[1]).sum(),
                   (masks[0] | masks[1]).sum()]
    near, pixels, both, either = counts.tolist()
    return Agreement(len(cascades), near / pixels, both / either if either else 1.0)
