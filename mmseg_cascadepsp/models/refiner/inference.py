"""How a refiner is run once its weights are fixed: the same function, computed faster."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn

from mmseg_cascadepsp.cascade.passes import Finish
from mmseg_cascadepsp.models.refiner.cascade_psp import PRECISIONS, CascadePSP
from mmseg_cascadepsp.models.refiner.winograd import WinogradConv2d

#: Masks (B, 3, H, W) and strides -> {stride: logits}; the image is known.
MaskPass = Callable[[Tensor, Sequence[int]], dict[int, Tensor]]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16: AMX or AVX512-BF16, or a GPU since Ampere."""
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    names = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    return device.type == 'cpu' and any(getattr(torch.cpu, name, bool)() for name in names)


class FastNetwork(nn.Module):
    """Copy of a :class:`CascadePSP` for inference: its function, to rounding.

    Norms are folded into the convolutions before them, the stem's response to the image is
    computed once for all passes of a cascade, and wide 3x3 convolutions are
    :class:`WinogradConv2d`. Weights that stay as they are are
    shared with the model.

    Args:
        model: whose ``backbone`` has ``stem_conv``, ``stem_response`` and ``from_stem``.
        winograd: parts that will run in float32 on a CPU, of ``'backbone'`` and ``'decode_head'``.
        float32_backbone: whether autocast is to leave the backbone alone.
    """

    def __init__(
        self,
        model: CascadePSP,
        winograd: Sequence[str] = (),
        float32_backbone: bool = False,
    ) -> None:
        super().__init__()
        shared = {id(value): value for value in (*model.parameters(), *model.buffers())}
        self.backbone = copy.deepcopy(model.backbone, shared)
        self.decode_head = copy.deepcopy(model.decode_head, shared)
        self.float32_backbone = float32_backbone
        self.eval()
        # Not the stem's: its response before the norm is a skip.
        for part in (*self.backbone.children(), self.decode_head.ups):
            if isinstance(part, (nn.Sequential, nn.ModuleList)):
                fuse_conv_bn(part)
        self.image_stem = _take_channels(self.backbone.stem_conv, slice(0, 3))
        self.mask_stem = _take_channels(self.backbone.stem_conv, slice(3, None))
        self.mask_stem.bias = None
        for name in winograd:
            _replace_convolutions(getattr(self, name))

    def for_image(self, image: Tensor) -> MaskPass:
        """Passes over one image, (B, 3, H, W), normalised."""
        image = image.contiguous(memory_format=torch.channels_last)
        with self._backbone_precision(image):
            response = self.backbone.stem_response(image, self.image_stem)

        def run(masks: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
            masks = masks.to(image).contiguous(memory_format=torch.channels_last)
            with self._backbone_precision(image):
                stem = self.backbone.stem_response(masks, self.mask_stem).add_(response)
                feats = self.backbone.from_stem(stem, image.shape[-2:])
            return self.decode_head(feats, image, strides)

        return run

    def _backbone_precision(self, image: Tensor):
        if self.float32_backbone:
            return torch.autocast(image.device.type, enabled=False)
        return contextlib.nullcontext()


def _take_channels(conv: nn.Conv2d, channels: slice) -> nn.Conv2d:
    part = copy.deepcopy(conv)
    weight = conv.weight[:, channels].contiguous(memory_format=torch.channels_last)
    part.weight = nn.Parameter(weight)
    part.in_channels = weight.shape[1]
    return part


def _replace_convolutions(module: nn.Module) -> None:
    for name, child in module.named_children():
        if WinogradConv2d.pays(child):
            setattr(module, name, WinogradConv2d(child))
        else:
            _replace_convolutions(child)


class InferencePass:
    """A model's :data:`~mmseg_cascadepsp.cascade.RefinePass` for inference.

    A :class:`CascadePSP` in evaluation mode runs as a :class:`FastNetwork`, which is made anew
    when the model's weights have changed or it has been in training mode; any other model as it
    is; a model in training mode refines in evaluation mode, too. Only what is written through a
    tensor's ``.data`` in evaluation mode goes unnoticed.
    Threads may share it, of a model in evaluation mode.

    Args:
        model: has ``refine_pass``.
        precision: ``'fp32'``, ``'bf16'``, ``'fp16'``: autocast of the whole network. ``'auto'``:
            of a :class:`CascadePSP` the head, which has most of the products, in bfloat16, the
            backbone, whose rounding is what reaches the masks, in float32; all of it in float32
            where :func:`has_fast_bf16` says no.
    """

    def __init__(self, model: nn.Module, precision: str = 'fp32') -> None:
        self.model, self.precision = model, precision
        #: What the finest output of a cascade is finished by; the model's own.
        self.finish: Finish | None = getattr(model, 'guided_filter', None)
        #: See :func:`mmseg_cascadepsp.cascade.look_over`; the model's own.
        self.overview: float | None = getattr(model, 'overview', None)
        self._made: tuple[tuple, FastNetwork | None] = ((), None)

    def dtype(self, device: torch.device) -> torch.dtype | None:
        """Lower precision that autocast uses on a device; None for float32."""
        if self.precision == 'auto':
            fast = has_fast_bf16(device) and self._is_known()
            return torch.bfloat16 if fast else None
        return PRECISIONS[self.precision]

    def _is_known(self) -> bool:
        return isinstance(self.model, CascadePSP) and hasattr(self.model.backbone, 'from_stem')

    def __call__(self, image: Tensor, masks: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
        """One pass; logits in float32."""
        return self.for_image(image)(masks, strides)

    def for_image(self, image: Tensor) -> MaskPass:
        """Passes over one image; what depends on it alone is computed once."""
        network = self.prepare(image.device)
        dtype = self.dtype(image.device)

        def autocast():
            return torch.autocast(image.device.type, dtype, enabled=dtype is not None)

        if network is None:
            run = functools.partial(self.model.refine_pass, image)
        else:
            with autocast():
                run = network.for_image(image)

        def run_in_precision(masks: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
            with autocast(), _evaluating(self.model):
                logits = run(masks, strides)
            return {stride: value.float() for stride, value in logits.items()}

        return run_in_precision

    def prepare(self, device: torch.device) -> FastNetwork | None:
        """Make the network that fits the model's weights, unless it is there already."""
        model = self.model
        if torch.is_grad_enabled() or not self._is_known() or model.training:
            return None
        tensors = (*model.parameters(), *model.buffers())
        made_of = (device.type, model.times_trained, *map(_state, tensors))
        known, network = self._made
        if made_of != known:
            mixed = self.precision == 'auto' and self.dtype(device) is not None
            winograd = ('backbone', 'decode_head') if self.dtype(device) is None else ()
            if mixed:
                winograd = ('backbone',)
            with torch.inference_mode(False), torch.no_grad():
                network = FastNetwork(model, winograd if device.type == 'cpu' else (), mixed)
            self._made = made_of, network
        return network


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """A model that is being trained refines with its norms' statistics, and they stay as they
    are."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False  # not train(), which models overwrite
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _state(value: Tensor) -> tuple[int, int]:
    """Changes when a tensor is written to."""
    return value.data_ptr(), 0 if value.is_inference() else value._version
