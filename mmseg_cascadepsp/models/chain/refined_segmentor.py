"""Any segmentor of MMSeg, followed by the refiner."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_cascadepsp.cascade.settings import check_ignore_index
from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError, NotReadyError
from mmseg_cascadepsp.models.refiner.inference import check_precision

from .building import (
    as_network,
    build_refiner,
    build_segmentor,
    check_segmentor_weights,
)
from .classes import check_classes
from .original_pixels import enlarge_labels, original_pixels
from .strategies import build_strategy, known_strategy

OBJECT = ('background', 'object')
OWN_PREFIXES = ('segmentor.', 'refiner.')


@MODELS.register_module()
class RefinedSegmentor(BaseSegmentor):
    """A segmentor whose label maps are refined at the photo's original resolution.

    ``predict`` runs the segmentor unchanged and then the refiner. Data samples get the refined
    label map as ``pred_sem_seg`` and the unrefined one as ``pred_sem_seg_coarse``, both (1, H, W),
    and ``ori_img``, the photo that was refined on, RGB uint8 (H, W, 3).
    If a sample has an ``object_class`` (:class:`~mmseg_cascadepsp.datasets.BIGDataset`), both are
    masks of that class with 0 and 1, and ``coarse_mask`` is the unrefined mask as uint8 with 0 and
    255.

    Checkpoints of the segmentor alone can be loaded. Segmentor and refiner are trained separately.
    Without a GPU, synchronised norms (SyncBN) of the segmentor become plain ones.

    In a config, write ``model = dict(_delete_=True, type='RefinedSegmentor',
    segmentor={{_base_.model}}, refiner='lite')``.

    Args:
        segmentor: Config of the segmentor, or a config file (``mmseg::...`` for one of MMSeg).
        refiner: ``'lite'``, ``'r50'``, config or config file of a refiner, or an exported refiner
            (``.onnx``), which runs on the CPU.
        strategy: Name or config of a strategy, which splits a label map into masks and fuses the
            refined ones (see :func:`~mmseg_cascadepsp.models.chain.build_strategy`). ``'auto'``
            chooses by the classes.
        checkpoint: File or address of the segmentor's weights. Usually the runner loads them.
        refiner_checkpoint: Weights of the refiner. Named refiners have their own by default.
        classes: Names of all classes, in order. Strategies find stuff and background by them. The
            default is ``dataset_meta['classes']``, if that are so many names as the segmentor has
            classes.
        enlarge: How the output of the segmentor is resized to the photo. ``'logits'`` resizes
            logits bilinearly, as MMSeg does. ``'labels'`` resizes label maps bicubically, as the
            paper does on BIG.
        precision: Precision of the refiner, ``'fp32'``, ``'bf16'``, ``'fp16'`` or ``'auto'``. See
            :class:`~mmseg_cascadepsp.Refiner`.
        ignore_index: Label of void pixels. It is an ordinary class if the segmentor has so many
            classes. By default that of the dataset, which is usually 255.
        data_preprocessor: Config of the data preprocessor, if the segmentor's config has none.
        init_cfg: See :class:`mmengine.model.BaseModule`.
        kwargs: ``train_cfg``, ``test_cfg`` and ``pretrained`` are accepted, because MMSeg's
            ``init_model`` sets them, and not used.

    Raises:
        InvalidValueError: The refiner, strategy, ``enlarge`` or ``precision`` is unknown, or
            weights or ``classes`` do not fit.
        InvalidTypeError: There is no such argument or setting.
        FileError: A config or weights cannot be read.

    Example:
        >>> import numpy as np
        >>> from mmseg.models.data_preprocessor import SegDataPreProcessor
        >>> segmentor = nn.Identity()  # a network of MMSeg in practice
        >>> segmentor.data_preprocessor = SegDataPreProcessor()
        >>> model = RefinedSegmentor(segmentor, refiner='lite', strategy='semantic')
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.long)
        >>> sample = SegDataSample(metainfo={'ori_img': np.zeros((8, 8, 3), np.uint8)})
        >>> sample.pred_sem_seg = PixelData(data=labels)
        >>> model.refine_samples([sample])[0].pred_sem_seg.data.shape
        torch.Size([1, 8, 8])
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
        ignore_index: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        if enlarge not in ('logits', 'labels'):
            raise InvalidValueError(f"enlarge must be 'logits' or 'labels', got {enlarge!r}.")
        check_precision(precision)
        check_ignore_index(ignore_index)
        classes = check_classes(classes)
        unknown = set(kwargs) - {'train_cfg', 'test_cfg', 'pretrained'}
        if unknown:
            raise InvalidTypeError(
                f'RefinedSegmentor has no argument {", ".join(sorted(unknown))}'
            )
        segmentor = build_segmentor(segmentor, data_preprocessor)
        if not torch.cuda.is_available():
            segmentor = revert_sync_batchnorm(segmentor)
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
            if classes is None and _are_of(named, segmentor):
                classes = named
        self.refiner, self._refiner_is_loaded = build_refiner(refiner, refiner_checkpoint)
        if isinstance(strategy, (str, Mapping)):
            known_strategy(strategy)  # raises errors now, not at the first photo
        if classes is not None and not _are_of(classes, segmentor):
            raise InvalidValueError(
                f'classes must be the {segmentor.num_classes} of the segmentor, got the names of '
                f'{len(classes)}.'
            )
        self.strategy = strategy
        self.classes = classes
        #: What a dataset or checkpoint says of the classes. MMSeg's tools set it.
        self.dataset_meta: Mapping = {}
        self.enlarge = enlarge
        self.precision = precision
        # In a tuple, because a network that is a module must not be registered a second time.
        self._networks = (as_network(self.refiner, precision),)
        self.ignore_index = ignore_index
        self._chosen = {}
        self._has_warned = False

    # Attributes that MMSeg's tools read.
    align_corners = property(lambda self: self.segmentor.align_corners)
    num_classes = property(lambda self: self.segmentor.num_classes)
    out_channels = property(lambda self: self.segmentor.out_channels)
    decode_head = property(lambda self: self.segmentor.decode_head)

    def extract_feat(self, inputs: Tensor):
        """Call the method of the segmentor."""
        return self.segmentor.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_data_samples):
        """Call the method of the segmentor."""
        return self.segmentor.encode_decode(inputs, batch_data_samples)

    def _forward(self, inputs: Tensor, data_samples=None):
        """Call the method of the segmentor."""
        return self.segmentor(inputs, data_samples, mode='tensor')

    def loss(self, inputs: Tensor, data_samples=None) -> dict:
        """Refuse training.

        Raises:
            RuntimeError: Always. The message says how to train the two networks.
        """
        raise RuntimeError(
            'RefinedSegmentor cannot be trained: train the segmentor with its own config, and the '
            'refiner with python tools/train.py configs/cascadepsp_lite.py --data-root DATA '
            '(docs/training.md). Then test both together with tools/test.py.'
        )

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segment and refine.

        Args:
            inputs: (B, C, h, w), input of the segmentor.
            data_samples: Samples that get the results. The segmentor makes new ones by default.

        Returns:
            The samples, with the results that the class describes.
        """
        return self.refine_samples(self.segment(inputs, data_samples), inputs)

    def segment(self, inputs: Tensor, data_samples=None) -> list[SegDataSample]:
        """Run the segmentor alone.

        Args:
            inputs: (B, C, h, w), input of the segmentor.
            data_samples: See :meth:`predict`.

        Returns:
            The samples. With ``enlarge='labels'`` their label maps are not enlarged yet.
        """
        with _at_input_size(data_samples if self.enlarge == 'labels' else None):
            return self.segmentor(inputs, data_samples, mode='predict')

    @torch.no_grad()
    def refine_samples(
        self,
        samples: Sequence[SegDataSample],
        inputs: Tensor | None = None,
        use_logits: bool = True,
    ) -> list[SegDataSample]:
        """Refine predictions of a segmentor.

        Args:
            samples: Samples with ``pred_sem_seg``, (1, H, W) or (H, W), or ``seg_logits``.
            inputs: (B, C, h, w), input of the segmentor. It is used if a photo is not available.
            use_logits: Whether the strategy may use ``seg_logits`` of the label map's size as the
                probabilities of the segmentor.

        Returns:
            The samples, with the results that the class describes.

        Raises:
            NotReadyError: The refiner has no weights.
            InvalidValueError: A sample has no photo, or no label map of the right size.
        """
        if not self._refiner_is_loaded:
            raise NotReadyError(
                'the refiner has random weights: give refiner_checkpoint, or '
                "refiner='lite' or 'r50', which have their own weights"
            )
        for index, sample in enumerate(samples):
            coarse = self._coarse_labels(sample)
            image = original_pixels(
                sample,
                tuple(coarse.shape),
                None if inputs is None else inputs[index],
                self.data_preprocessor,
            )
            # For pictures: the file may be another one, as EXIF turns it.
            sample.set_metainfo({'ori_img': image.permute(1, 2, 0).cpu().numpy()})
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
        """Label map at the size of the photo, (H, W) int64."""
        if 'pred_sem_seg' in sample:
            labels = sample.pred_sem_seg.data
        elif 'seg_logits' in sample:
            labels = sample.seg_logits.data
            labels = labels.argmax(0) if labels.shape[0] > 1 else labels > 0.5
        else:
            raise InvalidValueError(
                'the segmentor returned neither pred_sem_seg nor seg_logits, so nothing can be '
                'refined; its samples hold '
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
        void, number = self.ignore_index, _number_of_classes(self.segmentor)
        if void is None:
            void = (self.dataset_meta or {}).get('ignore_index', 255)
        return None if number is not None and 0 <= void < number else void

    def _class_names(self) -> tuple[str, ...] | None:
        """Names of all classes, if their number is the segmentor's.

        MMSeg's ``init_model`` gives names of Cityscapes to a model whose checkpoint has none.
        """
        names = self.classes or (self.dataset_meta or {}).get('classes')
        if not names:
            return None
        if _are_of(names, self.segmentor):
            return tuple(names)
        if not self._has_warned:
            self._has_warned = True
            print_log(
                f'refinement: {len(names)} names of classes are known where the segmentor has '
                f'{_number_of_classes(self.segmentor)} classes, so they are not used to find '
                'stuff and background; give classes=, or a strategy with ids.',
                logger='current',
                level=logging.WARNING,
            )
        return None

    def _choose_strategy(self, single: bool):
        """Build the strategy at the first use, because only then the classes are known."""
        if single not in self._chosen:
            wanted = self.strategy
            if isinstance(wanted, str):
                wanted = dict(type=wanted)
            auto = isinstance(wanted, Mapping) and wanted.get('type', 'auto') == 'auto'
            if auto and single:
                wanted = dict(wanted, type='binary')
            number = 2 if single else _number_of_classes(self.segmentor)
            names = OBJECT if single else self._class_names()
            chosen = build_strategy(wanted, classes=names, num_classes=number)
            if auto:
                print_log(f'refinement strategy (auto): {chosen}', logger='current')
            self._chosen[single] = chosen
        return self._chosen[single]

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args, **kwargs) -> None:
        """Accept checkpoints of the segmentor alone."""
        own = [key for key in state_dict if key.startswith(prefix)]
        names = {key.removeprefix(prefix) for key in own}
        if not any(name.startswith(OWN_PREFIXES) for name in names):
            for key in own:
                name = key.removeprefix(prefix)
                state_dict[f'{prefix}segmentor.{name}'] = state_dict.pop(key)
            # Some layers read the version that saved them.
            metadata = getattr(state_dict, '_metadata', None) or {}
            for key in [key for key in metadata if key.startswith(prefix)]:
                metadata[f'{prefix}segmentor.{key.removeprefix(prefix)}'] = metadata[key]
        if any(name.startswith('refiner.') for name in names):
            self._refiner_is_loaded = True
        else:  # keep the present weights
            for name, value in self.refiner.state_dict().items():
                state_dict[f'{prefix}refiner.{name}'] = value
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)

    def train(self, mode: bool = True):
        """Set the mode of the segmentor. The refiner stays in evaluation mode."""
        super().train(mode)
        self.refiner.eval()
        return self


def _number_of_classes(segmentor: nn.Module) -> int | None:
    """Number of classes of a segmentor of MMSeg, None for another module."""
    return segmentor.num_classes if hasattr(segmentor, 'num_classes') else None


def _are_of(classes: Sequence[str] | None, segmentor: nn.Module) -> bool:
    """Whether these are names of all classes of the segmentor.

    A segmentor of one output for a single object may count the background or not.
    """
    number = _number_of_classes(segmentor)
    return bool(classes) and (number in (None, len(classes)) or {number, len(classes)} == {1, 2})


def _logits(sample: SegDataSample, labels: Tensor) -> Tensor | None:
    logits = sample.seg_logits.data if 'seg_logits' in sample else None
    if logits is None or len(logits) < 2 or logits.shape[1:] != labels.shape:
        return None
    return logits


@contextmanager
def _at_input_size(samples: Sequence[SegDataSample] | None):
    """Make a segmentor return its output at the size of its input."""
    kept = [sample.get('ori_shape') for sample in samples or ()]
    for sample in samples or ():
        sample.set_metainfo({'ori_shape': sample.get('img_shape')})
    try:
        yield
    finally:
        for sample, shape in zip(samples or (), kept, strict=True):
            sample.set_metainfo({'ori_shape': shape})
