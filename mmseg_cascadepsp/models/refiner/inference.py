"""How a refiner is run once its weights are fixed: the same function, computed faster."""

import contextlib
import copy
import functools
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn

from mmseg_cascadepsp.cascade import Network, Passes
from mmseg_cascadepsp.errors import InvalidValueError

from .cascade_psp import CascadePSP
from .winograd import WinogradConv2d

#: Name of a refiner's precision -> dtype of autocast around its passes; ``'auto'`` chooses.
PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16, 'auto': None}


def check_precision(precision: str) -> str:
    """Return ``precision``, or say what is wrong with it.

    Raises:
        InvalidValueError: It is not the name of one.

    Example:
        >>> check_precision('fp32')
        'fp32'
    """
    if precision not in PRECISIONS:
        raise InvalidValueError(
            f'precision must be one of {", ".join(map(repr, PRECISIONS))}, got {precision!r}.'
        )
    return precision


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16: AMX or AVX512-BF16, or a GPU since Ampere.

    Example:
        >>> has_fast_bf16(torch.device('meta'))
        False
    """
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    names = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    return device.type == 'cpu' and any(getattr(torch.cpu, name, bool)() for name in names)


class FastNetwork(nn.Module):
    """Copy of a :class:`CascadePSP` for inference: its function, to rounding.

    Norms are folded into the convolutions before them, the stem's response to the image is
    computed once for all passes of a cascade, and wide 3x3 convolutions are
    :class:`~mmseg_cascadepsp.models.refiner.winograd.WinogradConv2d`. Weights that stay as they
    are are shared with the model.

    Args:
        model: Its ``backbone`` has ``stem_conv``, ``stem_response`` and ``from_stem``.
        winograd: Parts that will run in float32 on a CPU, of ``'backbone'`` and ``'decode_head'``.
        float32_backbone: Whether autocast is to leave the backbone alone.
    """

    def __init__(
        self, model: CascadePSP, winograd: Sequence[str] = (), float32_backbone: bool = False
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

    def for_image(self, image: Tensor) -> Passes:
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


class CascadeNetwork(Network):
    """A :class:`CascadePSP` as the :class:`~mmseg_cascadepsp.cascade.Network` of a cascade.

    In evaluation mode it runs as a :class:`FastNetwork`, which is made anew when the model's
    weights have changed or it has been in training mode. With gradients, or in training mode, the
    model itself runs, with the statistics of evaluation. Only what is written through a tensor's
    ``.data`` in evaluation mode goes unnoticed. Threads may share it, of a model in evaluation
    mode.

    Args:
        model: The refiner.
        precision: ``'fp32'``, ``'bf16'``, ``'fp16'``: autocast of the whole network. ``'auto'``:
            the head, which has most of the products, in bfloat16, and the backbone, whose rounding
            is what reaches the masks, in float32; all of it in float32 where
            :func:`has_fast_bf16` says no.

    Raises:
        InvalidValueError: An unknown precision.
    """

    def __init__(self, model: CascadePSP, precision: str = 'fp32') -> None:
        self.model, self.precision = model, check_precision(precision)
        self.defaults = model.cascade_settings
        self._made: tuple[tuple, FastNetwork | None] = ((), None)
        if precision == 'bf16' and self.device.type == 'cpu' and not has_fast_bf16(self.device):
            warnings.warn(
                "precision 'bf16' would take about ten times as long on this processor, which "
                "does not multiply in bf16: 'fp32' is used.",
                stacklevel=2,
            )
            self.precision = 'fp32'
        if precision == 'fp16' and self.device.type == 'cpu':
            warnings.warn(
                "precision 'fp16' is for GPUs: on a CPU it takes many times as long as 'fp32'. "
                "'auto' or 'bf16' may be quicker.",
                stacklevel=2,
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """Output strides of the cascade, coarse to fine."""
        return tuple(self.model.cascade_strides)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next((value.device for value in self.model.parameters()), torch.device('cpu'))

    def normalize(self, image: Tensor) -> Tensor:
        """See :meth:`mmseg_cascadepsp.cascade.Network.normalize`."""
        return self.model.normalize(image)

    def dtype(self, device: torch.device) -> torch.dtype | None:
        """Lower precision that autocast uses on a device; None for float32."""
        if self.precision == 'auto':
            return torch.bfloat16 if has_fast_bf16(device) and self._is_known() else None
        return PRECISIONS[self.precision]

    def _is_known(self) -> bool:
        return hasattr(self.model.backbone, 'from_stem')

    def describe(self) -> dict[str, str]:
        """A fingerprint of all tensors, and the precision."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(f'{key}{tuple(value.shape)}'.encode())
            digest.update(value.float().cpu().contiguous().numpy())
        dtype = self.dtype(self.device)
        mixed = ' head' if self.precision == 'auto' else ''
        precision = 'fp32' if dtype is None else str(dtype).removeprefix('torch.') + mixed
        return {'weights': digest.hexdigest()[:16], 'precision': precision}

    def for_image(self, image: Tensor) -> Passes:
        """See :meth:`mmseg_cascadepsp.cascade.Network.for_image`."""
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
        """The network that fits the model's weights, made unless it is there already; None where
        the model itself runs.
        """
        model = self.model
        if torch.is_grad_enabled() or not self._is_known() or model.training:
            return None
        tensors = (*model.parameters(), *model.buffers())
        made_of = (device.type, model.times_trained, *map(_state, tensors))
        known, network = self._made
        if made_of != known:
            mixed = self.precision == 'auto' and self.dtype(device) is not None
            winograd = ('backbone', 'decode_head') if self.dtype(device) is None else ()
            winograd = ('backbone',) if mixed else winograd
            with torch.inference_mode(False), torch.no_grad():
                network = FastNetwork(model, winograd if device.type == 'cpu' else (), mixed)
            self._made = made_of, network
        return network


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """A model that is being trained refines with its norms' statistics, and they stay as they
    are.
    """
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
