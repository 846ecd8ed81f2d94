"""Any MMSeg segmentor, then the refiner."""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor, SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError
from mmseg_cascadepsp.models.refiner.inference import check_precision

from .building import (
    as_network,
    build_refiner,
    build_segmentor,
    check_segmentor_weights,
)
from .original_pixels import enlarge_labels, original_pixels
from .strategies import build_strategy, known_strategy

OBJECT = ('background', 'object')
OWN_PREFIXES = ('segmentor.', 'refiner.')


@MODELS.register_module()
class RefinedSegmentor(BaseSegmentor):
    """A segmentor whose label maps are refined at the photo's original resolution.

    ``predict`` runs the segmentor as it is, with its own preprocessor and test mode, and then the
    refiner: data samples get the refined label map as ``pred_sem_seg`` and the unrefined one as
    ``pred_sem_seg_coarse``, (1, H, W) both. Where a sample names an ``object_class``
    (:class:`~mmseg_cascadepsp.datasets.BIGDataset`), both are masks of that class, of 0 and 1, and
    ``coarse_mask`` is the unrefined one as uint8 of 0 and 255.

    Checkpoints of the plain segmentor load as they are. Both networks are trained on their own.

    Args:
        segmentor: Config of the segmentor, or a config file (``mmseg::...`` for one of MMSeg's).
        refiner: ``'lite'``, ``'r50'``, the config of a refiner or a config file, or an exported
            one (``.onnx``), which runs on the CPU.
        strategy: How label maps are taken apart and put together: the name or the config of a
            strategy, see :mod:`mmseg_cascadepsp.models.chain`; ``'auto'`` goes by
            the classes.
        checkpoint: Weights of the segmentor, a file or an address; usually the runner loads them.
        refiner_checkpoint: Weights of the refiner; those of its name by default.
        classes: Names of the classes, by which a strategy finds stuff and background;
            ``dataset_meta`` by default.
        enlarge: How the segmentor's output gets the photo's size: ``'logits'``, bilinear before
            the argmax, as MMSeg does; ``'labels'``, bicubic after it, as in the paper's
            measurements on BIG.
        precision: Of the refiner: ``'fp32'``, ``'bf16'``, ``'fp16'``, ``'auto'``; see
            :class:`~mmseg_cascadepsp.Refiner`.
        ignore_index: Label that stands for void, if the segmentor gives any; not where a segmentor
            has so many classes that it is one of them.
        data_preprocessor: For a segmentor that has none of its own.
        init_cfg: See MMEngine.
        kwargs: ``train_cfg``, ``test_cfg`` and ``pretrained``, which MMSeg's ``init_model`` puts
            into every model's config, are not used.

    Raises:
        ValueError: An unknown refiner, strategy, ``enlarge`` or ``precision``;
            weights that do not fit.
        OSError: A config or weights cannot be read.

    Example::

        model = dict(_delete_=True, type='RefinedSegmentor', segmentor={{_base_.model}},
                     refiner='lite', strategy='auto')
    """

    def __init__(
        self,
        segmentor: dict | str | nn.Module,
        refiner: str | dict | nn.Module = 'lite',
        strategy: str | dict = 'auto',
        checkpoint: str | None = None,
        refiner_checkpoint: str | None = None,
        classes: Sequence[str] | None = None,
        enlarge: str = 'logits',
        precision: str = 'auto',
        ignore_index: int = 255,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        if enlarge not in ('logits', 'labels'):
            raise InvalidValueError(f"enlarge must be 'logits' or 'labels', got {enlarge!r}.")
        check_precision(precision)
        unknown = set(kwargs) - {'train_cfg', 'test_cfg', 'pretrained'}
        if unknown:
            raise InvalidTypeError(
                f'RefinedSegmentor has no argument {", ".join(sorted(unknown))}'
            )
        segmentor = build_segmentor(segmentor, data_preprocessor)
        super().__init__(data_preprocessor=segmentor.data_preprocessor, init_cfg=init_cfg)
        self.segmentor = segmentor
        if checkpoint is not None:
            prefixes = [(r'^module\.', ''), (r'^segmentor\.', '')]
            saved = load_checkpoint(
                segmentor, checkpoint, map_location='cpu', revise_keys=prefixes
            )
            check_segmentor_weights(segmentor, saved, checkpoint)
            meta = saved.get('meta', {})
            # Checkpoints older than MMSeg 1.0 have the classes in another place.
            named = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
            classes = classes or named
        self.refiner, self._refiner_is_loaded = build_refiner(refiner, refiner_checkpoint)
        if isinstance(strategy, (str, Mapping)):
            known_strategy(strategy)  # now, not at the first photo
        self.strategy = strategy
        self.classes = classes
        self.enlarge = enlarge
        self.precision = precision
        # In a tuple: a network that is a module itself is registered once, as the refiner.
        self._networks = (as_network(self.refiner, precision),)
        self.ignore_index = ignore_index
        self._chosen = {}

    # What MMSeg's tools ask of a segmentor.
    align_corners = property(lambda self: self.segmentor.align_corners)
    num_classes = property(lambda self: self.segmentor.num_classes)
    out_channels = property(lambda self: self.segmentor.out_channels)
    decode_head = property(lambda self: self.segmentor.decode_head)

    def extract_feat(self, inputs: Tensor):
        """The segmentor's."""
        return self.segmentor.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_data_samples):
        """The segmentor's."""
        return self.segmentor.encode_decode(inputs, batch_data_samples)

    def _forward(self, inputs: Tensor, data_samples=None):
        """The segmentor's."""
        return self.segmentor(inputs, data_samples, mode='tensor')

    def loss(self, inputs: Tensor, data_samples=None) -> dict:
        """There is none.

        Raises:
            RuntimeError: Always; the sentence says how the two networks are trained.
        """
        raise RuntimeError(
            'RefinedSegmentor is not trained: train the segmentor with its own config, as if '
            'there were no refiner, and the refiner on its own, class-agnostic, with '
            'python tools/train.py configs/cascadepsp_lite.py --data-root DATA '
            '(docs/training.md); then test both with tools/test.py'
        )

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segment and refine.

        Args:
            inputs: (B, C, h, w), what the segmentor takes.
            data_samples: MMSeg's; results are put into them, or into new ones.

        Returns:
            See the class; all else is as the segmentor left it.
        """
        return self.refine_samples(self.segment(inputs, data_samples), inputs)

    def segment(self, inputs: Tensor, data_samples=None) -> list[SegDataSample]:
        """The segmentor alone, ``enlarge`` being done later where it is ``'labels'``."""
        with _at_input_size(data_samples if self.enlarge == 'labels' else None):
            return self.segmentor(inputs, data_samples, mode='predict')

    @torch.no_grad()
    def refine_samples(
        self,
        samples: Sequence[SegDataSample],
        inputs: Tensor | None = None,
        use_logits: bool = True,
    ) -> list[SegDataSample]:
        """Refine what a segmentor predicted.

        Args:
            samples: With ``pred_sem_seg``, (1, H, W) or (H, W), or else ``seg_logits``.
            inputs: (B, C, h, w); read where a photo is not to be had otherwise.
            use_logits: Whether the strategy gets ``seg_logits``, where they have the label map's
                size: with them it weighs the segmentor's own probability, too.

        Raises:
            RuntimeError: The refiner has no weights.
            ValueError: A sample has no label map, one of a strange size, or no photo.
        """
        if not self._refiner_is_loaded:
            raise RuntimeError(
                'the refiner has random weights: give refiner_checkpoint, or a '
                "refiner that has weights of its own, 'lite' or 'r50'"
            )
        for index, sample in enumerate(samples):
            coarse = self._coarse_labels(sample)
            image = original_pixels(
                sample,
                tuple(coarse.shape),
                None if inputs is None else inputs[index],
                self.data_preprocessor,
            )
            single = sample.get('object_class')
            if single is not None:
                coarse = (coarse == single).to(coarse.dtype)
            strategy = self._choose_strategy(single is not None)
            result = strategy.refine(
                self._networks[0],
                image,
                coarse.cpu().numpy(),
                classes=OBJECT if single is not None else self._class_names(),
                ignore_index=self._void(),
                logits=_logits(sample, coarse) if use_logits and single is None else None,
            )
            refined = torch.from_numpy(result.labels).to(coarse)
            sample.set_data(
                {
                    'pred_sem_seg': PixelData(data=refined[None]),
                    'pred_sem_seg_coarse': PixelData(data=coarse[None]),
                }
            )
            if single is not None:
                sample.set_data(
                    {'coarse_mask': PixelData(data=coarse[None].to(torch.uint8) * 255)}
                )
        return list(samples)

    def _coarse_labels(self, sample: SegDataSample) -> Tensor:
        """(H, W) int64 label map at the photo's size."""
        if 'pred_sem_seg' in sample:
            labels = sample.pred_sem_seg.data
        elif 'seg_logits' in sample:
            labels = sample.seg_logits.data
            labels = labels.argmax(0) if labels.shape[0] > 1 else labels > 0.5
        else:
            raise InvalidValueError(
                'the segmentor gave neither pred_sem_seg nor seg_logits, so there is '
                'nothing to refine; its samples hold '
                f'{", ".join(sample.keys()) or "nothing"}'
            )
        labels = labels.reshape(labels.shape[-2:]).long()
        size = tuple(sample.get('ori_shape', labels.shape)[:2])
        if tuple(labels.shape) == size:
            return labels
        known = [sample.get('img_shape', ())[:2], sample.get('batch_input_shape', ())[:2]]
        if tuple(labels.shape) not in [tuple(shape) for shape in known]:
            raise InvalidValueError(
                f'the label map of {sample.get("img_path", "a photo")} is '
                f'{labels.shape[0]}x{labels.shape[1]}, the photo {size[0]}x{size[1]} (H x W); '
                'they must agree'
            )
        return enlarge_labels(labels, size)

    def _void(self) -> int | None:
        number = getattr(self.segmentor, 'num_classes', None)
        return None if number is not None and number > self.ignore_index else self.ignore_index

    def _class_names(self) -> tuple[str, ...] | None:
        names = self.classes or (getattr(self, 'dataset_meta', None) or {}).get('classes')
        return tuple(names) if names else None

    def _choose_strategy(self, single: bool):
        """The strategy, built when it is first needed: only then the classes are known."""
        if single not in self._chosen:
            wanted = self.strategy
            if isinstance(wanted, str):
                wanted = dict(type=wanted)
            auto = isinstance(wanted, Mapping) and wanted.get('type', 'auto') == 'auto'
            if auto and single:
                wanted = dict(wanted, type='binary')
            number = 2 if single else getattr(self.segmentor, 'num_classes', None)
            names = OBJECT if single else self._class_names()
            chosen = build_strategy(wanted, classes=names, num_classes=number)
            if auto:
                print_log(f'refinement strategy (auto): {chosen}', logger='current')
            self._chosen[single] = chosen
        return self._chosen[single]

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args, **kwargs) -> None:
        """Take a checkpoint of the plain segmentor for what it is."""
        own = [key for key in state_dict if key.startswith(prefix)]
        names = {key.removeprefix(prefix) for key in own}
        if not any(name.startswith(OWN_PREFIXES) for name in names):
            for key in own:
                name = key.removeprefix(prefix)
                state_dict[f'{prefix}segmentor.{name}'] = state_dict.pop(key)
            # Some layers ask in which version they were saved.
            metadata = getattr(state_dict, '_metadata', None) or {}
            for key in [key for key in metadata if key.startswith(prefix)]:
                metadata[f'{prefix}segmentor.{key.removeprefix(prefix)}'] = metadata[key]
        if any(name.startswith('refiner.') for name in names):
            self._refiner_is_loaded = True
        else:  # those that it has stay
            for name, value in self.refiner.state_dict().items():
                state_dict[f'{prefix}refiner.{name}'] = value
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)

    def train(self, mode: bool = True):
        """The refiner stays in evaluation mode."""
        super().train(mode)
        self.refiner.eval()
        return self


@MODELS.register_module()
class RefinedSegTTAModel(SegTTAModel):
    """MMSeg's test-time augmentation of a :class:`RefinedSegmentor`: the segmentor's logits are
    averaged over the augmentations, at the photo's size (``enlarge`` is ``'logits'``), then the
    label map is refined, once.

    In a config, ``tta_model = dict(type='RefinedSegTTAModel')``; ``tools/test.py`` puts it there.

    Args:
        module: A :class:`RefinedSegmentor`, or its config.
        kwargs: See :class:`mmengine.model.BaseTTAModel`.
    """

    def __init__(self, module: dict | nn.Module, **kwargs) -> None:
        super().__init__(module, **kwargs)
        if not isinstance(self.module, RefinedSegmentor):
            raise InvalidTypeError(
                'RefinedSegTTAModel augments a RefinedSegmentor, got '
                f'{type(self.module).__name__}; use SegTTAModel for it'
            )

    def test_step(self, data) -> list[SegDataSample]:
        """Segment each augmented version of a photo, merge, refine."""
        refined = self.module
        self.module = refined.segmentor
        try:
            samples = super().test_step(data)
        finally:
            self.module = refined
        # Their logits are those of the last augmentation alone.
        return refined.refine_samples(samples, use_logits=False)


def _logits(sample: SegDataSample, labels: Tensor) -> Tensor | None:
    logits = sample.seg_logits.data if 'seg_logits' in sample else None
    if logits is None or len(logits) < 2 or logits.shape[1:] != labels.shape:
        return None
    return logits


@contextmanager
def _at_input_size(samples: Sequence[SegDataSample] | None):
    """Let a segmentor leave its output at the size that it saw."""
    kept = [sample.get('ori_shape') for sample in samples or ()]
    for sample in samples or ():
        sample.set_metainfo({'ori_shape': sample.get('img_shape')})
    try:
        yield
    finally:
        for sample, shape in zip(samples or (), kept, strict=True):
            sample.set_metainfo({'ori_shape': shape})
