"""What a Python user holds."""

import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from rich.progress import Progress as ProgressBar
from torch import Tensor, nn

from mmseg_cascadepsp import cascade
from mmseg_cascadepsp.cascade import (
    CascadeSettings,
    GuidedFilter,
    Network,
    OnePhoto,
    Progress,
    call_settings,
)
from mmseg_cascadepsp.cascade.changes import (
    RefinementReport,
    change_of,
    reason_to_keep,
    sureness_of,
    without_specks,
)
from mmseg_cascadepsp.cascade.edges import ACCURATE, accurate_parts
from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError
from mmseg_cascadepsp.files.arrays import check_threshold
from mmseg_cascadepsp.files.label_ids import told_mask
from mmseg_cascadepsp.files.mask_values import Reading
from mmseg_cascadepsp.models.chain import Strategy, build_strategy, choose_strategy
from mmseg_cascadepsp.models.refiner.onnx import export_network
from mmseg_cascadepsp.models.refiner.zoo import load_refiner

from .inputs import Picture, read_inputs, read_label_map, read_photo

#: What :meth:`Refiner.refine` gives of one mask.
Refinement = np.ndarray | tuple[np.ndarray, RefinementReport]


class Refiner:
    """Refines masks of any model with CascadePSP.

    Args:
        model: ``'lite'`` (small, its weights come with the package), ``'r50'`` (the paper's
            network), the path of a config, a Config, the path of an ONNX file that
            ``mmseg-cascadepsp export`` wrote (run on the CPU in its own precision), a
            :class:`~mmseg_cascadepsp.models.CascadePSP` (put into eval mode, used where it is), or
            any :class:`~mmseg_cascadepsp.cascade.Network`.
        checkpoint: Weights, of this package or the authors' own. By default those of the name:
            ``'r50'`` downloads the authors' once.
        device: Such as ``'cpu'`` or ``'cuda:1'``. By default a GPU if there is one, and for a
            module its own device.
        precision: ``'fp32'``, ``'bf16'``, ``'fp16'`` (autocast of the network's passes), or
            ``'auto'``: bf16 of the network's head and fp32 of its backbone, which gives fp32's
            masks, where the processor multiplies in bf16 (AMX, AVX512-BF16, GPUs since Ampere),
            and fp32 elsewhere.
        progress: Whether to show a bar over the crops, or what is called with (crops or parts
            done, crops or parts to do) instead.
        settings: Fields of :class:`~mmseg_cascadepsp.cascade.CascadeSettings`, such as ``L``,
            ``steps``, ``crops``, ``overview``, ``batch_size`` and ``compat``, in the place of the
            model's own. ``guided_filter`` may also be True or False.

    Attributes:
        network: The :class:`~mmseg_cascadepsp.cascade.Network` behind it.
        name: What the model is called.

    Raises:
        InvalidValueError: An unknown model or precision, settings out of range, or weights that do
            not fit.
        InvalidTypeError: The model is no refiner, or there is no such setting.
        FileError: A config, weights or ONNX file cannot be read or fetched.
        MissingPackageError: An ONNX file, without onnx and onnxruntime.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp import Refiner
        >>> refiner = Refiner('lite', L=224)
        >>> image = np.full((96, 128, 3), 40, np.uint8)
        >>> image[24:72, 32:96] = 200
        >>> mask = np.zeros((96, 128), bool)
        >>> mask[27:70, 30:98] = True
        >>> probability = refiner.refine(image, mask)
        >>> probability.shape, probability.dtype
        ((96, 128), dtype('uint8'))
    """

    def __init__(
        self,
        model: str | os.PathLike | Config | Mapping | nn.Module | Network = 'lite',
        checkpoint: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        precision: str = 'auto',
        progress: bool | Progress = False,
        **settings: Any,
    ) -> None:
        network, self.name = load_refiner(model, checkpoint, device, precision)
        self.progress = progress
        self.network = network.with_defaults(_changed(network.defaults, settings))

    @property
    def cascade(self) -> CascadeSettings:
        """The settings in force: those of the model, changed by those given."""
        return self.network.defaults

    def with_settings(self, **settings: Any) -> 'Refiner':
        """The same refiner, network shared, with some settings changed.

        Args:
            settings: See the class.

        Raises:
            InvalidValueError: A setting is out of range, or ``compat`` would be undone, which has
                replaced other settings.
            InvalidTypeError: There is no such setting.

        Example:
            >>> from mmseg_cascadepsp import Refiner
            >>> Refiner('lite').with_settings(L=500).cascade.L
            500
        """
        other = object.__new__(type(self))
        other.name, other.progress = self.name, self.progress
        other.network = self.network.with_defaults(_changed(self.cascade, settings))
        return other

    def __repr__(self) -> str:
        """Model, where it runs and in which numbers, and the settings that are not the paper's."""
        told = {
            'device': str(self.network.device),
            **self.network.describe(),
            **{
                field.name: getattr(self.cascade, field.name)
                for field in fields(self.cascade)
                if getattr(self.cascade, field.name) != field.default or field.name == 'L'
            },
        }
        shown = ''.join(f', {key}={value!r}' for key, value in told.items())
        return f'Refiner({Path(self.name).name!r}{shown})'

    def settings(self) -> dict[str, str]:
        """What a result depends on besides its inputs: model, weights, precision and every setting
        in force, as short strings.

        Example:
            >>> from mmseg_cascadepsp import Refiner
            >>> Refiner('lite', L=500).settings()['L']
            '500'
        """
        return {
            'model': Path(self.name).name,  # of a config, wherever it lies
            **self.network.describe(),
            **{
                field.name: str(getattr(self.cascade, field.name))
                for field in fields(self.cascade)
            },
        }

    def refine(
        self,
        image: Picture,
        mask: Picture | Sequence[Picture] | None = None,
        fast: bool | None = None,
        L: int | None = None,
        return_report: bool = False,
        *,
        resize_mask: bool = False,
        alpha: str = 'white',
        threshold: float = 0.5,
        **reading: Any,
    ) -> Refinement | list[Refinement]:
        """Refine one mask of one image: Global step, then Local step (paper, section 3.2).

        Args:
            image: RGB uint8 ``(H, W, 3)``, of any size. OpenCV reads BGR, which no array tells:
                convert it. Or a path, a picture of Pillow, a torch tensor, grey, RGBA, or floats
                from 0 to 1, see :func:`~mmseg_cascadepsp.apis.read_photo`.
            mask: Coarse mask, ``(H, W)``: bool, 0/1, 0/255 or fractions. Or a path, a picture of
                Pillow or a torch tensor, see :func:`~mmseg_cascadepsp.apis.read_inputs`. A list of
                masks: what depends on the photo alone is computed once. None: the alpha channel
                of ``image``, a cut-out.
            fast: True: Global step alone. False: both steps, also for small images, as the
                authors' package. None: as the settings say, which is the paper's way by default:
                the Local step where the longer side is ``L`` or more.
            L: Longer side of the Global step and side of the Local step's crops, at least 66.
                Memory grows with it. None: as the settings say, 900 by default.
            return_report: Whether to tell how much the mask changes, how sure the refiner is of
                it, and why the mask stays as it was.
            resize_mask: Whether a mask of another size is brought to that of the image. Networks
                give 512 x 512 for any photo.
            alpha: What becomes of transparent parts of ``image``: ``'white'``: they lie on white,
                as in a viewer. ``'drop'``: they keep their colours.
            threshold: Probability above which you will count a pixel as object, from 0 to below
                1. Specks, and whether a mask stays as it was, are judged by it. The probability
                comes back all the same.
            reading: Fields of :class:`~mmseg_cascadepsp.files.mask_values.Reading`, where image
                and mask do not say it themselves: ``mask_values``, ``ignore``, ``exif``.

        Returns:
            uint8 ``(H, W)``: 255 times the probability, rounded down. An empty mask comes back
            empty and a full one full, without running the network. A mask stays as it was
            where it would come back empty, where an object below 100 pixels would keep less than
            60 % of them, where it would change by more than the setting ``max_change``, and where
            it lies on the photo's edges already (``keep_accurate``). With ``compat='release'``
            none does. With ``return_report`` the result and a
            :class:`~mmseg_cascadepsp.cascade.changes.RefinementReport`. Without, there is a
            warning when a mask stays as it was. Of a list of masks, a list of these.

        Raises:
            InvalidTypeError: ``image``, ``mask`` or ``L`` of another type or dtype.
            InvalidValueError: Wrong shapes, a mask of another size than the image, NaN or values
                out of range, what can be read in two ways, or ``L`` below 66.
            FileError: A file cannot be read.
            DeviceMemoryError: The GPU has too little memory for ``L``. It says which should fit.

        Example:
            See the class.
        """
        settings = _changed(self.cascade, call_settings(fast, L))
        check_threshold(threshold)
        photo, masks = read_inputs(image, mask, _reading(reading), alpha, resize_mask)
        network = OnePhoto(self.network) if len(masks) > 1 else self.network
        results: list[Refinement] = []
        for number, each in enumerate(masks, 1):
            result, sure, kept = self._refine(network, photo, each, settings, threshold)
            if return_report:
                new = sure > 255 * threshold
                change = change_of(each, new, sureness_of(each, new, sure / 255))
                results.append((result, RefinementReport(change, kept)))
                continue
            if kept:
                which = f'mask {number} of {len(masks)}: ' if len(masks) > 1 else ''
                warnings.warn(f'{which}{kept}: the mask stays as it was.', stacklevel=2)
            results.append(result)
        return results if isinstance(mask, list | tuple) else results[0]

    def _refine(
        self,
        network: Network,
        image: np.ndarray,
        mask: np.ndarray,
        settings: CascadeSettings,
        threshold: float,
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """What comes back of a mask, what the network says, and why the mask stays as it was."""
        given = mask.astype(np.uint8) * 255
        if mask.all() or not mask.any():
            return given, given, ''
        with torch.inference_mode(), self._telling('crops') as progress:
            probability = cascade.refine(
                network,
                _tensor(image).permute(2, 0, 1),
                _tensor(mask)[None],
                settings,
                progress,
            )
            found = probability.mul_(255).to(torch.uint8).numpy()
            del probability  # a float of every pixel of a large photo
        cut = int(255 * threshold)  # the largest value that is no object
        if settings.tidy:
            new = found > cut
            tidy = without_specks(mask, new)
            for specks, within in ((new & ~tidy, (0, cut)), (tidy & ~new, (cut + 1, 255))):
                found[specks] = np.clip(255 - found[specks], *within)
            del new, tidy
        kept = ''
        if settings.compat is None:
            if settings.keep_accurate:
                stays = accurate_parts(image, mask, found > cut)
                if stays.all():
                    kept = f'{ACCURATE} (refined with keep_accurate=False, --no-keep-accurate)'
                else:
                    np.copyto(found, given, where=stays)
            kept = kept or reason_to_keep(mask, found > cut, settings.max_change)
        return given if kept else found, found, kept

    def refine_semantic(
        self,
        image: Picture,
        labels: Picture,
        strategy: str | Mapping | Strategy = 'scene',
        stuff: str | Collection[int | str] = 'auto',
        background: int | str | None = None,
        ignore_index: int | None = 255,
        classes: Sequence[str] | None = None,
        logits: np.ndarray | torch.Tensor | None = None,
    ) -> np.ndarray:
        """Refine a label map of any model (paper, section 4.3).

        Args:
            image: RGB uint8 ``(H, W, 3)``, or what :meth:`refine` takes.
            labels: Class ids, integer ``(H, W)``, 0-based. Or the path of a label map, a picture
                of Pillow or a torch tensor.
            strategy: ``'scene'``: each connected component in a region of its own, for many
                classes. ``'semantic'``: each class over the whole image. ``'binary'``: one class.
                ``'auto'``: chosen by ``classes``, and logged. For all other settings, the config
                of a strategy or a strategy (:mod:`mmseg_cascadepsp.models.chain`).
            stuff: Classes behind the objects, which win over them only where they are nearly
                certain: ids, names, the name of a set (``'ade20k'``, ``'cityscapes'``,
                ``'coco_stuff'``, ``'pascal_context'``), or ``'auto'``: those of the set whose
                class names ``classes`` are, none for another.
            background: Id or name of the class that takes what the others give up. For
                ``'semantic'``, and for ``'binary'``, where it is 0 by default.
            ignore_index: Id of void pixels, which stay as they are. None: there are none.
            classes: Names of the classes. They are needed for ``'auto'`` and for classes given by
                name. Ids are checked against their number.
            logits: Those of the model, ``(classes, H, W)``. With them ``'scene'`` weighs the
                model's own probabilities beside the refiner's, which helps where many classes
                meet.

        Returns:
            ``(H, W)``, dtype of ``labels``. Where no component is large enough, ``labels`` again.

        Raises:
            InvalidTypeError: ``image`` or ``labels`` of another type or dtype, unknown settings.
            InvalidValueError: Wrong shapes, ids out of range, or unknown names.

        Example:
            >>> import numpy as np
            >>> from mmseg_cascadepsp import Refiner
            >>> image = np.full((96, 128, 3), 40, np.uint8)
            >>> image[24:72, 32:96] = 200
            >>> labels = np.zeros((96, 128), np.int64)
            >>> labels[27:70, 30:98] = 1
            >>> refined = Refiner('lite').refine_semantic(image, labels)
            >>> refined.shape, refined.dtype
            ((96, 128), dtype('int64'))
        """
        image, labels = read_photo(image), read_label_map(labels)
        # Strategies check the ids against the classes: for one, a single name is that of class 1.
        cascade.check_labels(labels, image.shape[:2], ignore_index=ignore_index)
        chosen = self._strategy(strategy, stuff, background, classes)
        sentence = told_mask(labels, 'labels', ignore_index)
        if sentence:
            warnings.warn(sentence, stacklevel=2)
        with torch.inference_mode(), self._telling('parts') as progress:
            return chosen.refine(
                self.network,
                _tensor(image).permute(2, 0, 1),
                labels,
                classes=classes,
                ignore_index=ignore_index,
                logits=logits,
                progress=progress,
            ).labels

    def export(self, target: str | os.PathLike) -> None:
        """Write the refiner as an ONNX file, which ``Refiner(target)`` runs.

        Args:
            target: The file, ``.onnx``.

        Raises:
            InvalidTypeError, InvalidValueError, MissingPackageError, FileError: See
                :func:`mmseg_cascadepsp.models.refiner.onnx.export_network`.

        Example:
            >>> from mmseg_cascadepsp import Refiner
            >>> Refiner('lite').export('lite.onnx')  # doctest: +SKIP
        """
        export_network(self.network, target, self.name)

    @contextmanager
    def _telling(self, what: str) -> Iterator[Progress]:
        if callable(self.progress):
            yield self.progress
            return
        with ProgressBar(disable=not self.progress, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _strategy(
        self,
        strategy: str | Mapping | Strategy,
        stuff: str | Collection[int | str],
        background: int | str | None,
        classes: Sequence[str] | None,
    ) -> Strategy:
        if not isinstance(strategy, str):
            if stuff != 'auto' or background is not None:
                raise InvalidValueError(
                    'stuff and background are settings of the strategy given: set them there.'
                )
            return build_strategy(strategy, classes)
        if strategy == 'auto':
            if classes is None:
                raise InvalidValueError(
                    "strategy 'auto' chooses by the names of the classes: give them."
                )
            strategy, reason = choose_strategy(classes)
            print_log(f'refinement strategy (auto): {strategy}: {reason}', 'current')
            background = 'auto' if background is None else background
        config: dict[str, Any] = {'type': strategy, 'stuff': stuff}
        if strategy in ('semantic', 'binary'):
            config['background'] = background
        elif background not in (None, 'auto'):
            raise InvalidValueError(
                "background is for strategy 'semantic' or 'binary'; the scene strategy refines "
                f'every class, got background {background!r}.'
            )
        if strategy == 'scene' and self.cascade.compat is not None:
            config['compat'] = self.cascade.compat
        return build_strategy(config, classes)


def _reading(arguments: Mapping) -> Reading:
    unknown = arguments.keys() - {field.name for field in fields(Reading)}
    if unknown:
        raise InvalidTypeError(f'refine has no argument {", ".join(sorted(unknown))}.')
    return Reading(**arguments)


def _changed(settings: CascadeSettings, changes: Mapping) -> CascadeSettings:
    if not changes:
        return settings
    changes = dict(changes)
    if settings.compat is not None and changes.get('compat', settings.compat) is None:
        raise InvalidValueError(
            f'compat={settings.compat!r} has replaced the settings before it: make a new Refiner '
            'in place of undoing it.'
        )
    if changes.get('guided_filter') is True:
        changes['guided_filter'] = settings.guided_filter or GuidedFilter()
    elif changes.get('guided_filter') is False:
        changes['guided_filter'] = None
    return settings.replace(**changes)


def _tensor(array: np.ndarray) -> Tensor:
    """Shares the array's memory where torch can: not read-only, no negative strides."""
    if not array.flags.writeable or min(array.strides) < 0:
        array = array.copy()
    return torch.from_numpy(array)
