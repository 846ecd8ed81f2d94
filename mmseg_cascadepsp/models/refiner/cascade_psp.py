"""The CascadePSP refiner as an MMSeg segmentor."""

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

#: Settings of older configs, and how to replace them.
RENAMED = {
    'fast': "steps='global' for True, steps='both' for False",
    'local': "steps: 'always' is 'both', 'only' is 'local', 'auto' is 'auto'",
}


def refuse_renamed(settings: Mapping, where: str) -> None:
    """Refuse settings that older configs have, and name their replacement.

    Args:
        settings: Settings by name.
        where: Where they were given, for the error message.

    Raises:
        InvalidTypeError: One of them was renamed.

    Example:
        >>> refuse_renamed({'steps': 'global'}, 'test_cfg')
    """
    for name in RENAMED.keys() & settings.keys():
        raise InvalidTypeError(f'{where}: {name} has been renamed. Give {RENAMED[name]}.')


@MODELS.register_module()
class CascadePSP(BaseSegmentor):
    """CascadePSP, which refines the coarse mask of an object of any class at any resolution.

    Inputs of all modes are (B, 4, H, W). They hold the normalised RGB image and the coarse mask in
    [-1, 1] (see :class:`~mmseg_cascadepsp.models.RefinementPreProcessor`).

    Args:
        backbone: Config of a backbone that returns the output of its stem's convolution (stride
            2), a map of stride 4 and the last map (stride 8), such as :class:`RefinementResNet`
            and :class:`RefinementEfficientNetLite`.
        decode_head: Config of a :class:`RefinementHead`. Its strides are the levels of the
            cascade.
        data_preprocessor: Config of a :class:`RefinementPreProcessor`.
        guided_filter: Arguments of :class:`mmseg_cascadepsp.cascade.GuidedFilter`, which is
            applied to the result. None, as in the paper, means no filter.
        overview: Scale at which the Global step first refines a smaller image. None, as in the
            paper, skips this.
        tidy: Whether to undo what the network says against the coarse mask far from its boundary,
            see :class:`~mmseg_cascadepsp.cascade.CascadeSettings`.
            The paper does not.
        train_cfg: Not used.
        test_cfg: Settings of MMEngine's test. They are fields of
            :class:`mmseg_cascadepsp.cascade.CascadeSettings`, such as ``L`` and ``steps``, and
            ``threshold``, above which a probability belongs to the mask (0.5 by default).
        init_cfg: See :class:`mmengine.model.BaseModule`.

    Raises:
        InvalidTypeError: ``test_cfg`` has a setting that was renamed.

    Example:
        >>> from mmseg_cascadepsp.models.refiner.zoo import build_model, find_config
        >>> model, _ = build_model(find_config('cascadepsp_lite.py'))
        >>> image, masks = torch.zeros(2, 1, 3, 16, 24)
        >>> logits = model.eval().refine_pass(image, masks, [8, 1])
        >>> {stride: tuple(value.shape) for stride, value in logits.items()}
        {8: (1, 1, 16, 24), 1: (1, 1, 16, 24)}
    """

    #: Number of times that the model was put into training mode. Fused optimisers and MMEngine's
    #: EMA change weights without changing the version counter of their tensors.
    times_trained = 0

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        data_preprocessor: dict | None = None,
        guided_filter: dict | None = None,
        overview: float | None = None,
        tidy: bool = False,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.decode_head = MODELS.build(decode_head)
        self.guided_filter = None if guided_filter is None else GuidedFilter(**guided_filter)
        self.overview, self.tidy = overview, tidy
        self.train_cfg = train_cfg
        self.test_cfg = dict(test_cfg or {})
        refuse_renamed(self.test_cfg, 'test_cfg')
        # Convolutions of this network are faster on channels-last tensors, on the CPU and with AMP
        # on a GPU.
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> 'CascadePSP':
        """Set training mode, and count it in :attr:`times_trained`."""
        self.times_trained += bool(mode)
        return super().train(mode)

    @property
    def cascade_settings(self) -> CascadeSettings:
        """Settings of the cascade that this model was made for."""
        return CascadeSettings(
            guided_filter=self.guided_filter,
            overview=self.overview,
            tidy=self.tidy,
        )

    @property
    def cascade_strides(self) -> Sequence[int]:
        """Output strides of the cascade's levels, coarse to fine."""
        return self.decode_head.strides

    def refine_pass(
        self, image: Tensor, masks: Tensor, strides: Sequence[int]
    ) -> dict[int, Tensor]:
        """Run one pass of the refinement module.

        Args:
            image: (B, 3, H, W), normalised. H and W are multiples of 8.
            masks: (B, 3, H, W) in [-1, 1].
            strides: Strides of the outputs to return.

        Returns:
            Logits (B, 1, H, W) of each stride.
        """
        image = image.contiguous(memory_format=torch.channels_last)
        feats = self.backbone(torch.cat((image, masks.to(image)), dim=1))
        return self.decode_head(feats, image, strides)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Compute the features of the first pass.

        Args:
            inputs: (B, 4, H, W).

        Returns:
            The three outputs of the backbone.
        """
        return self.backbone(
            torch.cat((inputs[:, :3], inputs[:, 3:].expand(-1, 3, -1, -1)), dim=1)
        )

    def encode_decode(
        self, inputs: Tensor, batch_data_samples: list[SegDataSample] | None = None
    ) -> Tensor:
        """Compute the finest output of the last pass.

        Args:
            inputs: (B, 4, H, W).
            batch_data_samples: Not used.

        Returns:
            Logits (B, 1, H, W).
        """
        return self._forward(inputs)[-1][self.cascade_strides[-1]]

    def _forward(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[dict[int, Tensor]]:
        """Outputs of all passes, see :func:`mmseg_cascadepsp.cascade.run_cascade`."""
        passes = partial(self.refine_pass, inputs[:, :3])
        return run_cascade(passes, inputs[:, 3:], self.cascade_strides)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the losses of all outputs.

        Args:
            inputs: (B, 4, H, W).
            data_samples: Their ``gt_sem_seg`` is the ground truth, (1, H, W) in 0..255.

        Returns:
            See :meth:`RefinementHead.loss`.
        """
        truth = torch.stack([sample.gt_sem_seg.data for sample in data_samples]).float() / 255
        return self.decode_head.loss(self._forward(inputs), truth)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Refine each image with the Global and Local step, as set in ``test_cfg``.

        Args:
            inputs: (B, 4, H, W).
            data_samples: Samples that get the results. New ones are made by default.

        Returns:
            The samples, with ``pred_sem_seg``, (1, H, W) of 0 and 1, and ``seg_logits``,
            (1, H, W). The latter are probabilities, as for other binary heads of MMSeg.
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
    """Network for images that the data preprocessor has normalised before."""

    def __init__(self, model: CascadePSP) -> None:
        self.model, self.strides = model, tuple(model.cascade_strides)

    def normalize(self, image: Tensor) -> Tensor:
        return image

    def for_image(self, image: Tensor) -> Passes:
        return partial(self.model.refine_pass, image)
