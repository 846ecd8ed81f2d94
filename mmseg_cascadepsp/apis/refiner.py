"""What a Python user holds."""

import copy
import dataclasses
import hashlib
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from rich.progress import Progress
from torch import Tensor, nn

from mmseg_cascadepsp import cascade
from mmseg_cascadepsp.apis.memory import (
    IMAGE_BYTES,
    MARGIN,
    PROBE,
    PeakMemory,
    batch_that_fits,
    parse_bytes,
)
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files.arrays import check_image, check_mask
from mmseg_cascadepsp.models.chain import Strategy, build_strategy, choose_strategy
from mmseg_cascadepsp.models.refiner import cascade_psp
from mmseg_cascadepsp.models.refiner import zoo as model_zoo
from mmseg_cascadepsp.models.refiner.checkpoint import load_weights, read_state_dict
from mmseg_cascadepsp.models.refiner.inference import InferencePass
from mmseg_cascadepsp.models.refiner.onnx import OnnxRefiner, is_exported

PRECISIONS = (*cascade_psp.PRECISIONS, 'auto')


class Refiner:
    """Refines masks of any model with CascadePSP.

    Args:
        model: ``'lite'`` (small, its weights come with the package), ``'r50'`` (the paper's
            network), the path of a config, a Config, the path of an ONNX file that
            ``tools/model_converters/export.py`` wrote (run by onnxruntime on the CPU in its own
            precision), or a module that has ``refine_pass`` and ``normalize`` such as
            :class:`~mmseg_cascadepsp.models.CascadePSP` (put into eval mode, used where it is).
        checkpoint: Weights, of this package or the authors' own. By default those of the name:
            ``'r50'`` downloads the authors' once.
        device: Such as ``'cpu'`` or ``'cuda:1'``; a GPU if there is one by default, a module's own
            device for a module.
        precision: ``'fp32'``, ``'bf16'``, ``'fp16'`` (autocast of the network's passes), or
            ``'auto'``: bf16 of the network's head, fp32 of its backbone, which gives fp32's masks,
            where the processor multiplies in bf16 (AMX, AVX512-BF16, GPUs since Ampere), and fp32
            elsewhere.
        crops: Where the Local step lays its crops: ``'uniform'``, the paper's grid;
            ``'adaptive'``, as few as cover the boundary, for large photos several times quicker.
        crop_filter: Which of them it refines: ``'boundary'``, those that the mask's boundary runs
            through; ``'release'``, those of 10 to 90 % foreground as the authors' package;
            ``'all'``. Adaptive crops take ``'boundary'`` alone.
        guided_filter: Whether probabilities are made to follow the photo's edges by a guided
            filter in the end (:class:`~mmseg_cascadepsp.cascade.GuidedFilter`); by
            default as the model's config says: for ``'lite'``, not for ``'r50'``.
        overview: Share of ``L`` at which the Global step first looks over the whole, which mends
            what the coarse mask lacks by more than its boundary
            (:func:`~mmseg_cascadepsp.cascade.look_over`); 0: it does not, and stays closer to the
            coarse mask. Either way, pieces that do not touch the coarse mask are taken away. By
            default as the config says: 0.5 for ``'lite'``, and neither for ``'r50'``. No overview
            where it would have less than 224 pixels along the longer side.
        max_memory: Bytes, or such as ``'2GB'``: what the tensors of a call may take beyond the
            weights. Crops are batched as far as it allows; where one pass at ``L`` does not fit,
            the error says which ``L`` does. By default crops go one by one, without a limit.
        progress: Whether to show a bar over the crops.

    Raises:
        ValueError: an unknown model, precision, ``crops``, ``crop_filter`` or ``overview``;
            weights that do not fit; ``max_memory`` that is no size; what an ONNX file does not go
            with.
        TypeError: the model is no refiner.
        OSError: a config, weights or ONNX file that cannot be read or fetched.
        ImportError: an ONNX file, without onnx and onnxruntime.

    Example:
        >>> refiner = Refiner('lite')  # doctest: +SKIP
        >>> probability = refiner.refine(image, mask)  # doctest: +SKIP
        >>> sharp = probability > 127  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike | Config | Mapping | nn.Module = 'lite',
        checkpoint: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        precision: str = 'auto',
        crops: str = 'uniform',
        crop_filter: str = 'boundary',
        guided_filter: bool | None = None,
        overview: float | None = None,
        max_memory: int | str | None = None,
        progress: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            raise InvalidValueError(
                f'precision must be one of {", ".join(map(repr, PRECISIONS))}, got {precision!r}.'
            )
        cascade.check_crops(crops, crop_filter)
        self.precision, self.crops, self.crop_filter = precision, crops, crop_filter
        self.max_memory = parse_bytes(max_memory)
        self.progress = progress
        if is_exported(model):
            model = OnnxRefiner(model)
        if isinstance(model, OnnxRefiner):
            model.check_settings(checkpoint, device, precision, max_memory)
            self.name, device = model.name, 'cpu'
        elif isinstance(model, nn.Module):
            self.name = type(model).__name__
            model_zoo.check_refiner(model, self.name)
            device = device or next((value.device for value in model.parameters()), 'cpu')
        else:
            named = model_zoo.is_name(model)
            model, self.name = model_zoo.build_model(model)
            if checkpoint is None and not named:
                raise InvalidValueError(
                    f'checkpoint must be given for {self.name}; only the names '
                    f'{", ".join(map(repr, model_zoo.ZOO))} know their weights.'
                )
            checkpoint = checkpoint or model_zoo.find_weights(self.name)
        if checkpoint is not None:
            load_weights(model, read_state_dict(checkpoint), checkpoint, self.name)
        self.device = _check_device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        if self.device.type == 'cpu' and precision == 'fp16':
            warnings.warn(
                "precision 'fp16' is for GPUs: on a CPU it takes many times as long as 'fp32'. "
                "'auto' or 'bf16' may be quicker.",
                stacklevel=2,
            )
        if self.device.type == 'cpu' and any(
            isinstance(module, nn.SyncBatchNorm) for module in model.modules()
        ):  # for GPUs alone; the module given keeps its own
            model = revert_sync_batchnorm(copy.deepcopy(model))
        model.to(self.device, memory_format=torch.channels_last)
        model.eval()
        self.model = model
        self._refine_pass = InferencePass(model, precision)
        if guided_filter is not None:
            own = self._refine_pass.finish or cascade.GuidedFilter()
            self._refine_pass.finish = own if guided_filter else None
        if overview is not None:
            self._refine_pass.overview = cascade.check_overview(overview)
        self.strides: Sequence[int] = tuple(getattr(model, 'cascade_strides', cascade.STRIDES))

    def refine(
        self, image: np.ndarray, mask: np.ndarray, fast: bool | None = False, L: int = 900
    ) -> np.ndarray:
        """Refine one mask of one image: Global step, then Local step (paper, section 3.2).

        Args:
            image: RGB uint8 ``(H, W, 3)``, of any size (OpenCV reads BGR: convert it).
            mask: Coarse mask, ``(H, W)`` or ``(H, W, 1)``: bool; integers of 0 and 1; other
                integers, 0 to 255, taken above 127; floats, 0 to 1, taken above 0.5.
            fast: Global step alone; None for what the paper does: the Local step only where the
                longer side is ``L`` or more.
            L: Longer side of the Global step and side of the Local step's crops, at least 66;
                memory grows with it.

        Returns:
            uint8 ``(H, W)``: 255 times the probability, rounded down. An empty mask comes back
            empty and a full one full, without running the network.

        Raises:
            TypeError: ``image``, ``mask`` or ``L`` of another type or dtype.
            ValueError: wrong shapes, a mask of another size than the image, NaN or values out of
                range, ``L`` below 66, or too large for ``max_memory``.
        """
        image = check_image(image)
        mask = check_mask(mask, image.shape[:2])
        L = cascade.check_crop_size(L)
        if not mask.any():
            return np.zeros(mask.shape, np.uint8)
        if mask.all():
            return np.full(mask.shape, 255, np.uint8)
        result = np.empty(mask.shape, np.uint8)
        with torch.inference_mode(), Progress(disable=not self.progress, transient=True) as bar:
            task = bar.add_task('crops', total=None)
            job = self.refinement(
                mask.shape,
                fast,
                L,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
            photo, coarse = _tensor(image).permute(2, 0, 1), _tensor(mask)[None]
            for top, rows in job.last_step(photo, job.first_steps(photo, coarse)):
                result[top : top + len(rows)] = (rows * 255).to(torch.uint8).numpy()
        return result

    def refinement(
        self,
        shape: tuple[int, int],
        fast: bool | None = False,
        L: int = 900,
        progress: cascade.Progress | None = None,
        whole: bool = True,
    ) -> cascade.Refinement:
        """What :meth:`refine` does, in two parts that take photo and mask by rows; to be run in
        ``torch.inference_mode``.

        Args:
            shape: ``(H, W)`` of the photo.
            fast: See :meth:`refine`.
            L: See :meth:`refine`.
            progress: Called with (crops done, crops to do).
            whole: Whether photo and mask are in memory, for ``max_memory``.

        Raises:
            ValueError: ``L`` below 66, or too large for ``max_memory``.
        """
        L = cascade.check_crop_size(L)
        rows = shape[0] if whole else min(shape[0], 2 * L)
        return cascade.Refinement(
            refine_pass=self._refine_pass,
            fast=bool(fast),
            local='auto' if fast is None else 'always',
            L=L,
            crops=self.crops,
            crop_filter=self.crop_filter,
            normalize=self.model.normalize,
            strides=self.strides,
            batch_size=self._batch_size((rows, shape[1]), L) or 1,
            progress=progress,
        )

    def refine_semantic(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        strategy: str | Mapping | Strategy = 'scene',
        stuff: str | Collection[int | str] = (),
        background: int | str | None = None,
        ignore_index: int | None = 255,
        classes: Sequence[str] | None = None,
        logits: np.ndarray | torch.Tensor | None = None,
    ) -> np.ndarray:
        """Refine a label map of any model (paper, section 4.3).

        Args:
            image: RGB uint8 ``(H, W, 3)``.
            labels: Class ids, integer ``(H, W)``, 0-based.
            strategy: ``'scene'``: each connected component in a region of its own, fast, for many
                classes; ``'semantic'``: each class over the whole image with Global and Local
                step; ``'binary'``: one class; ``'auto'``: by ``classes``, logged. Or the config of
                a strategy or a strategy (:mod:`mmseg_cascadepsp.models.chain`), for all other
                settings.
            stuff: Classes behind the objects, which win over them only where they are nearly
                certain: ids, names, or that of a set: ``'ade20k'``, ``'cityscapes'``,
                ``'coco_stuff'``, ``'pascal_context'``.
            background: Id or name of the class that takes what the others give up; for
                ``'semantic'``, and ``'binary'``, where it is 0 by default.
            ignore_index: Id of void pixels, which stay as they are; None if there are none.
            classes: Names of the classes: needed for ``'auto'`` and for classes given by name; ids
                are checked against their number.
            logits: Those of the model, ``(classes, H, W)``: with them ``'scene'`` weighs the
                model's own probabilities beside the refiner's, which helps where many classes
                meet.

        Returns:
            ``(H, W)``, dtype of ``labels``. Where no component is large enough, ``labels`` again.

        Raises:
            TypeError: ``image`` or ``labels`` of another type or dtype, unknown settings.
            ValueError: wrong shapes, ids out of range, unknown names; the strategy's ``L`` too
                large for ``max_memory``.
        """
        image = check_image(image)
        # Strategies check the ids against the classes: for one, a single name is that of class 1.
        cascade.check_labels(labels, image.shape[:2], ignore_index=ignore_index)
        with torch.inference_mode(), Progress(disable=not self.progress, transient=True) as bar:
            task = bar.add_task('parts', total=None)
            named = isinstance(strategy, str)
            strategy = self._strategy(strategy, stuff, background, classes)
            # Of another object with refine() nobody knows what it takes.
            if self.max_memory is not None and isinstance(strategy, Strategy):
                size = self._batch_size(labels.shape, strategy.L)
                size = size if named else min(size, strategy.batch_size)
                strategy = dataclasses.replace(strategy, batch_size=size)
            return strategy.refine(
                self._refine_pass,
                _tensor(image).permute(2, 0, 1),
                labels,
                normalize=self.model.normalize,
                strides=self.strides,
                classes=classes,
                ignore_index=ignore_index,
                logits=logits,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            ).labels

    def _strategy(self, strategy, stuff, background, classes) -> Strategy:
        if not isinstance(strategy, str):
            if len(stuff) or background is not None:
                raise InvalidValueError(
                    'stuff and background are settings of the strategy given: set them there.'
                )
            chosen = build_strategy(strategy, classes)
            own = {'crops': self.crops, 'crop_filter': self.crop_filter}
            leaves_open = isinstance(strategy, Mapping) and not own.keys() & strategy.keys()
            if leaves_open and hasattr(chosen, 'crops'):
                chosen = dataclasses.replace(chosen, **own)
            return chosen
        settings = {'type': strategy, 'stuff': stuff}
        if strategy == 'auto':
            if classes is None:
                raise InvalidValueError(
                    "strategy 'auto' chooses by the names of the classes: give them."
                )
            settings['type'], reason = choose_strategy(classes)
            print_log(f'refinement strategy (auto): {settings["type"]}: {reason}', 'current')
            if background is None:
                background = 'auto'
            settings['stuff'] = stuff if len(stuff) else 'auto'
        if settings['type'] in ('semantic', 'binary'):
            settings.update(background=background, crops=self.crops, crop_filter=self.crop_filter)
        elif background not in (None, 'auto'):
            raise InvalidValueError(
                "background is for strategy 'semantic' or 'binary'; the scene strategy refines "
                f'every class, got background {background!r}.'
            )
        return build_strategy(settings, classes)

    def _batch_size(self, shape: tuple[int, int], L: int) -> int | None:
        """Crops per pass within ``max_memory``; None without a limit."""
        if self.max_memory is None:
            return None
        shared = self.device.type == 'cpu'  # photo and passes in the same memory
        image_bytes = IMAGE_BYTES * shape[0] * shape[1] if shared else 0
        return batch_that_fits(self.max_memory, self._pixel_bytes, L, image_bytes)

    @cached_property
    def _pixel_bytes(self) -> float:
        """What one cascade takes per pixel, weights and photo apart."""
        image = self.model.normalize(torch.zeros(1, 3, PROBE, PROBE, dtype=torch.uint8))
        with torch.inference_mode():
            self._refine_pass.prepare(self.device)  # its weights are not counted
        with torch.inference_mode(), PeakMemory() as memory:
            cascade.padded_cascade(
                self._refine_pass, image, -torch.ones(1, 1, PROBE, PROBE), self.strides
            )
        return MARGIN * memory.peak / PROBE**2

    def settings(self) -> dict[str, str]:
        """What a result depends on besides its inputs, as short strings; ``weights`` is a
        fingerprint of all tensors."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(f'{key}{tuple(value.shape)}'.encode())
            digest.update(value.float().cpu().contiguous().numpy())
        dtype = self._refine_pass.dtype(self.device)
        mixed = ' head' if self.precision == 'auto' else ''
        precision = 'fp32' if dtype is None else str(dtype).removeprefix('torch.') + mixed
        if isinstance(self.model, OnnxRefiner):
            precision = self.model.precision
        return {
            'model': Path(self.name).name,  # of a config, wherever it lies
            'weights': digest.hexdigest()[:16],
            'crops': self.crops,
            'crop_filter': self.crop_filter,
            'guided_filter': str(self._refine_pass.finish),
            'overview': str(self._refine_pass.overview),
            'precision': precision,
        }


def _tensor(array: np.ndarray) -> Tensor:
    """Shares the array's memory where torch can: not read-only, no negative strides."""
    if not array.flags.writeable or min(array.strides) < 0:
        array = array.copy()
    return torch.from_numpy(array)


def _check_device(device: str | torch.device) -> torch.device:
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        raise InvalidValueError(
            f'device {str(device)!r} cannot be used: {str(error).splitlines()[0]}'
        ) from None
    return device
