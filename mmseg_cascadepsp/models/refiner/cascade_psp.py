"""The refiner as an MMSeg segmentor."""

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_cascadepsp.cascade import (
    FinishedPass,
    GuidedFilter,
    check_overview,
    refine,
    run_cascade,
)

#: Name of a refiner's precision -> dtype of autocast around its passes.
PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}


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
        guided_filter: arguments of :class:`mmseg_cascadepsp.cascade.GuidedFilter`, by which the
            result of a test is filtered in the end; None: it is not, as in the paper.
        overview: share of the size at which a test's Global step first looks over the whole, see
            :func:`mmseg_cascadepsp.cascade.look_over`; 0: it does not. Either way, pieces that do
            not touch the coarse mask are taken away; None: neither, as in the paper.
        test_cfg: arguments of :func:`mmseg_cascadepsp.cascade.refine` (``L``, ``fast``, ``local``,
            ``enlarge``, ``crop_filter``, ...) and ``threshold`` of the mask on the probability,
            0.5.
        init_cfg: see MMEngine.
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
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.decode_head = MODELS.build(decode_head)
        self.guided_filter = None if guided_filter is None else GuidedFilter(**guided_filter)
        self.overview = check_overview(overview)
        self.train_cfg = train_cfg
        self.test_cfg = dict(test_cfg or {})
        # Convolutions of this network are faster on channels-last tensors, on the CPU and with AMP
        # on a GPU.
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> 'CascadePSP':
        """As of any module; counted in :attr:`times_trained`."""
        self.times_trained += bool(mode)
        return super().train(mode)

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
        """One pass of the refinement module: a :data:`mmseg_cascadepsp.cascade.RefinePass`.

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
        return run_cascade(self.refine_pass, inputs[:, :3], inputs[:, 3:], self.cascade_strides)

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
        data_samples = data_samples or [SegDataSample() for _ in inputs]
        for image, sample in zip(inputs, data_samples, strict=True):
            probability = refine(
                FinishedPass(self.refine_pass, self.guided_filter, self.overview),
                image[:3],
                image[3:],
                strides=self.cascade_strides,
                **options,
            )[None]
            sample.set_data(
                {
                    'seg_logits': PixelData(data=probability),
                    'pred_sem_seg': PixelData(data=(probability > threshold).to(torch.uint8)),
                }
            )
        return data_samples
