"""The refiner as an MMSeg segmentor."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_cascadepsp.cascade import (
    CascadeSettings,
    GuidedFilter,
    Network,
    Passes,
    refine,
    run_cascade,
)
from mmseg_cascadepsp.errors import InvalidTypeError

#: Settings of older configs, and what takes their place.
RENAMED = {
    'fast': "steps='global' for True, steps='both' for False",
    'local': "steps: 'always' is 'both', 'only' is 'local', 'auto' is 'auto'",
}


def refuse_renamed(settings: Mapping, where: str) -> None:
    """Raise :class:`InvalidTypeError` for settings of older configs, with their new name.

    Example:
        >>> refuse_renamed({'steps': 'global'}, 'test_cfg')
    """
    for name in RENAMED.keys() & settings.keys():
        raise InvalidTypeError(f'{where}: {name} is called otherwise now: {RENAMED[name]}.')


@MODELS.register_module()
class CascadePSP(BaseSegmentor):
    """CascadePSP: refines a coarse mask of an image, class-agnostic, at any resolution.

    Inputs of all modes are (B, 4, H, W): the normalised RGB image and the coarse mask in [-1, 1]
    (see :class:`~mmseg_cascadepsp.models.RefinementPreProcessor`).

    Args:
        backbone: yields stem response (/2), a map of /4 and the last map (/8), as
            :class:`RefinementResNet` and :class:`RefinementEfficientNetLite`.
        decode_head: a :class:`RefinementHead`; its strides are the levels of the cascade.
        data_preprocessor: a :class:`RefinementPreProcessor`.
        train_cfg: not used.
        guided_filter: Arguments of :class:`mmseg_cascadepsp.cascade.GuidedFilter`, which the
            result goes through in the end; None: none, as in the paper.
        overview: Share of the size at which the Global step first looks over the whole image;
            None: it does not, as in the paper.
        remove_detached: Whether connected components that do not touch the coarse mask are
            removed; the paper does not.
        test_cfg: How MMEngine's test runs the cascade: fields of
            :class:`mmseg_cascadepsp.cascade.CascadeSettings` (``L``, ``steps``, ``enlarge``,
            ``crop_filter``, ...), and ``threshold`` of the mask on the probability, 0.5.
        init_cfg: See MMEngine.
    """

    #: How many times the model was put into training mode. Fused optimisers and MMEngine's EMA
    #: change weights without a trace in their tensors: what was made of them before is old.
    times_trained = 0

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        data_preprocessor: dict | None = None,
        guided_filter: dict | None = None,
        overview: float | None = None,
        remove_detached: bool = False,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.decode_head = MODELS.build(decode_head)
        self.guided_filter = None if guided_filter is None else GuidedFilter(**guided_filter)
        self.overview, self.remove_detached = overview, remove_detached
        self.train_cfg = train_cfg
        self.test_cfg = dict(test_cfg or {})
        refuse_renamed(self.test_cfg, 'test_cfg')
        # Convolutions of this network are faster on channels-last tensors, on the CPU and with AMP
        # on a GPU.
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> 'CascadePSP':
        """As of any module; counted in :attr:`times_trained`."""
        self.times_trained += bool(mode)
        return super().train(mode)

    @property
    def cascade_settings(self) -> CascadeSettings:
        """The settings that this model gives its best results with."""
        return CascadeSettings(
            guided_filter=self.guided_filter,
            overview=self.overview,
            remove_detached=self.remove_detached,
        )

    @property
    def cascade_strides(self) -> Sequence[int]:
        """Output strides of the cascade's levels, coarse to fine."""
        return self.decode_head.strides

    def normalize(self, image: Tensor) -> Tensor:
        """RGB (B, 3, H, W), uint8 or float in 0..255 -> what :meth:`refine_pass` takes, on the
        model's device.
        """
        return self.data_preprocessor.normalize(image)

    def refine_pass(
        self, image: Tensor, masks: Tensor, strides: Sequence[int]
    ) -> dict[int, Tensor]:
        """One pass of the refinement module.

        Args:
            image: (B, 3, H, W), normalised; H and W multiples of 8.
            masks: (B, 3, H, W) in [-1, 1].
            strides: outputs wanted.

        Returns:
            stride -> logits (B, 1, H, W).
        """
        image = image.contiguous(memory_format=torch.channels_last)
        feats = self.backbone(torch.cat((image, masks.to(image)), dim=1))
        return self.decode_head(feats, image, strides)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """(B, 4, H, W) -> features of the first pass."""
        return self.backbone(
            torch.cat((inputs[:, :3], inputs[:, 3:].expand(-1, 3, -1, -1)), dim=1)
        )

    def encode_decode(
        self, inputs: Tensor, batch_data_samples: list[SegDataSample] | None = None
    ) -> Tensor:
        """(B, 4, H, W) -> logits (B, 1, H, W) of the last pass's finest output."""
        return self._forward(inputs)[-1][self.cascade_strides[-1]]

    def _forward(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[dict[int, Tensor]]:
        """All outputs of all passes; see :func:`mmseg_cascadepsp.cascade.run_cascade`."""
        passes = partial(self.refine_pass, inputs[:, :3])
        return run_cascade(passes, inputs[:, 3:], self.cascade_strides)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of all outputs.

        Args:
            inputs: (B, 4, H, W).
            data_samples: ``gt_sem_seg`` is the truth, (1, H, W), soft, 0..255.
        """
        truth = torch.stack([sample.gt_sem_seg.data for sample in data_samples]).float() / 255
        return self.decode_head.loss(self._forward(inputs), truth)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Refine each image with Global and Local step, as ``test_cfg`` says.

        Args:
            inputs: (B, 4, H, W).
            data_samples: results are put into these, or into new ones.

        Returns:
            Samples with ``pred_sem_seg`` ((1, H, W) of 0 and 1) and ``seg_logits`` (the
            probability, as MMSeg does for binary heads).
        """
        options = dict(self.test_cfg)
        threshold = options.pop('threshold', 0.5)
        settings = self.cascade_settings.replace(**options)
        network = _OfNormalisedImages(self)
        data_samples = data_samples or [SegDataSample() for _ in inputs]
        for image, sample in zip(inputs, data_samples, strict=True):
            probability = refine(network, image[:3], image[3:], settings)[None]
            sample.set_data(
                {
                    'seg_logits': PixelData(data=probability),
                    'pred_sem_seg': PixelData(data=(probability > threshold).to(torch.uint8)),
                }
            )
        return data_samples


class _OfNormalisedImages(Network):
    """A model's passes over images that its data preprocessor has normalised."""

    def __init__(self, model: CascadePSP) -> None:
        self.model, self.strides = model, tuple(model.cascade_strides)

    def normalize(self, image: Tensor) -> Tensor:
        return image

    def for_image(self, image: Tensor) -> Passes:
        return partial(self.model.refine_pass, image)
