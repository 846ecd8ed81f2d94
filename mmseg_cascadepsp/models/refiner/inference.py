"""Faster inference with the same results."""

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
from mmseg_cascadepsp.cascade.threads import check_threads
from mmseg_cascadepsp.errors import InvalidValueError

from .cascade_psp import CascadePSP
from .winograd import WinogradConv2d

#: Dtype of autocast for each precision. ``'auto'`` decides by the device.
PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16, 'auto': None}


def check_precision(precision: str) -> str:
    """Check the name of a precision.

    Args:
        precision: A key of :data:`PRECISIONS`.

    Returns:
        The name.

    Raises:
        InvalidValueError: There is no such precision.

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
    """Whether a device has instructions for bfloat16.

    CPUs with AMX or AVX512-BF16 have them, and NVIDIA's GPUs since Ampere.

    Args:
        device: CPU or GPU.

    Example:
        >>> has_fast_bf16(torch.device('meta'))
        False
    """
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    names = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    return device.type == 'cpu' and any(getattr(torch.cpu, name, bool)() for name in names)


class FastNetwork(nn.Module):
    """Copy of a :class:`CascadePSP` for inference, with the same results up to rounding.

    Norms are folded into convolutions. The part of the stem that reads the image is computed once
    for all passes of a cascade. Wide 3x3 convolutions are replaced by
    :class:`~mmseg_cascadepsp.models.refiner.winograd.WinogradConv2d`. Weights that do not change
    are shared with the model.

    Args:
        model: The refiner. Its backbone has ``stem_conv``, ``stem_response`` and ``from_stem``.
        winograd: Parts whose convolutions are replaced, of ``'backbone'`` and ``'decode_head'``.
            It pays for float32 on CPUs.
        float32_backbone: Whether the backbone runs in float32 under autocast.

    Example:
        >>> from mmseg_cascadepsp.models.refiner.zoo import build_model
        >>> network = FastNetwork(build_model('lite')[0])
        >>> image, masks = torch.zeros(2, 1, 3, 16, 24)
        >>> with torch.no_grad():
        ...     logits = network.for_image(image)(masks, [1])
        >>> logits[1].shape
        torch.Size([1, 1, 16, 24])
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
        # The stem keeps its norm, because its output before the norm is a skip connection.
        for part in (*self.backbone.children(), self.decode_head.ups):
            if isinstance(part, (nn.Sequential, nn.ModuleList)):
                fuse_conv_bn(part)
        self.image_stem = _take_channels(self.backbone.stem_conv, slice(0, 3))
        self.mask_stem = _take_channels(self.backbone.stem_conv, slice(3, None))
        self.mask_stem.bias = None
        for name in winograd:
            _replace_convolutions(getattr(self, name))

    def for_image(self, image: Tensor) -> Passes:
        """Prepare the passes over one image.

        Args:
            image: (B, 3, H, W), normalised. H and W are multiples of 8.

        Returns:
            Function of masks (B, 3, H, W) in [-1, 1] and strides that returns the logits
            (B, 1, H, W) of each stride.
        """
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
    """Makes a :class:`CascadePSP` usable as :class:`~mmseg_cascadepsp.cascade.Network`.

    In evaluation mode without gradients, a :class:`FastNetwork` runs in its place. It is rebuilt
    when the weights have changed or the model has been in training mode. Changes through a
    tensor's ``.data`` in evaluation mode are not noticed. With gradients or in training mode the
    model itself runs, and its norms use their running statistics. Threads may share a network
    whose model is in evaluation mode.

    Args:
        model: The refiner.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'`` for the whole network. ``'auto'`` runs the
            head in bfloat16 and the backbone, whose rounding errors affect masks most, in
            float32. Everything is float32 if the device has no instructions for bfloat16
            (:func:`has_fast_bf16`).

    Raises:
        InvalidValueError: ``precision`` is unknown.
        NotReadyError: See :func:`~mmseg_cascadepsp.cascade.threads.check_threads`.

    Example:
        >>> from mmseg_cascadepsp.cascade import CascadeSettings, refine
        >>> from mmseg_cascadepsp.models.refiner.zoo import build_model
        >>> network = CascadeNetwork(build_model('lite')[0].eval())
        >>> image = torch.zeros(3, 32, 32, dtype=torch.uint8)
        >>> mask = torch.ones(1, 32, 32, dtype=torch.bool)
        >>> refine(network, image, mask, CascadeSettings(L=66)).shape
        torch.Size([32, 32])
    """

    def __init__(self, model: CascadePSP, precision: str = 'fp32') -> None:
        self.model, self.precision = model, check_precision(precision)
        check_threads()
        self.defaults, self.strides = model.cascade_settings, tuple(model.cascade_strides)
        self._is_known = hasattr(model.backbone, 'from_stem')  # which a FastNetwork runs
        # In a list, which copies with other defaults share.
        self._made: list[tuple[tuple, FastNetwork | None]] = [((), None)]

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next((value.device for value in self.model.parameters()), torch.device('cpu'))

    def normalize(self, image: Tensor) -> Tensor:
        """See :meth:`mmseg_cascadepsp.cascade.Network.normalize`."""
        return self.model.data_preprocessor.normalize(image)

    def dtype(self, device: torch.device) -> torch.dtype | None:
        """Dtype of autocast on a device, None for float32.

        Args:
            device: Where the network runs.
        """
        if self.precision == 'auto':
            return torch.bfloat16 if has_fast_bf16(device) and self._is_known else None
        if self.precision == 'bf16' and device.type == 'cpu' and not has_fast_bf16(device):
            return None
        return PRECISIONS[self.precision]

    def _warn_of_precision(self, device: torch.device) -> None:
        """Warn of a precision that is slow on the device, which is known when a network runs."""
        if device.type != 'cpu':
            return
        if self.precision == 'bf16' and self.dtype(device) is None:
            warnings.warn(
                "precision 'bf16' would take about ten times as long on this processor, which "
                "does not multiply in bf16: 'fp32' is used.",
                stacklevel=3,
            )
        if self.precision == 'fp16':
            warnings.warn(
                "precision 'fp16' is for GPUs: on a CPU it takes many times as long as 'fp32'. "
                "'auto' or 'bf16' may be quicker.",
                stacklevel=3,
            )

    def describe(self) -> dict[str, str]:
        """Fingerprint of all weights, and the precision."""
        check_threads()
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
        self._warn_of_precision(image.device)
        network = self.prepare(image.device)
        dtype = self.dtype(image.device)

        autocast = functools.partial(
            torch.autocast, image.device.type, dtype, enabled=dtype is not None
        )
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
        """Build the fast network, unless one of the same weights exists.

        Args:
            device: Where the network runs.

        Returns:
            The network, or None if the model itself has to run.
        """
        model = self.model
        if torch.is_grad_enabled() or not self._is_known or model.training:
            return None
        tensors = (*model.parameters(), *model.buffers())
        # A tensor's storage and version change when it is written to.
        states = (
            (value.data_ptr(), 0 if value.is_inference() else value._version) for value in tensors
        )
        made_of = (device.type, model.times_trained, *states)
        known, network = self._made[0]
        if made_of != known:
            mixed = self.precision == 'auto' and self.dtype(device) is not None
            winograd = ('backbone', 'decode_head') if self.dtype(device) is None else ()
            winograd = ('backbone',) if mixed else winograd
            with torch.inference_mode(False), torch.no_grad():
                network = FastNetwork(model, winograd if device.type == 'cpu' else (), mixed)
            self._made[0] = made_of, network
        return network


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode, and restore the mode of each module afterwards."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False  # not train(), which models overwrite
    try:
        yield
    finally:
        for module in training:
            module.training = True
