"""What the passes of a cascade gave while a training iteration ran."""

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.models.refiner import CascadePSP


class CascadeRecorder:
    """Records a refiner's passes between :meth:`start` and :meth:`stop`; costs no forward pass of
    its own.

    Args:
        model: A :class:`~mmseg_cascadepsp.models.CascadePSP`, or one inside MMEngine's wrappers.

    Raises:
        ValueError: It is another model.
    """

    def __init__(self, model: nn.Module) -> None:
        model = model.module if is_model_wrapper(model) else model
        if not isinstance(model, CascadePSP):
            raise InvalidValueError(
                f'model: the hooks that watch a cascade are for CascadePSP, got '
                f'{type(model).__name__}; leave them out of its config'
            )
        self.model = model
        #: Normalised image, (B, 3, H, W), of the last iteration recorded; None before.
        self.image: Tensor | None = None
        #: For each pass: stride -> logits (B, 1, H, W).
        self.passes: list[dict[int, Tensor]] = []
        self._handle = None

    def start(self) -> None:
        """Record from here."""
        self.stop()
        self.image, self.passes = None, []
        self._handle = self.model.decode_head.register_forward_hook(self._keep)

    def stop(self) -> None:
        """Record no longer."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def rgb(self) -> Tensor:
        """The recorded images as RGB uint8 (B, H, W, 3)."""
        preprocessor = self.model.data_preprocessor
        image = self.image.float() * preprocessor.std + preprocessor.mean
        return image.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _keep(self, _: nn.Module, args: tuple, outputs: dict[int, Tensor]) -> None:
        self.image = args[1].detach()
        self.passes.append({stride: logits.detach() for stride, logits in outputs.items()})
