"""Recording the outputs of the cascade in a training iteration."""

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.models.refiner import CascadePSP


class CascadeRecorder:
    """Record the passes that a refiner runs between :meth:`start` and :meth:`stop`.

    Args:
        model: A :class:`~mmseg_cascadepsp.models.CascadePSP`, also in a wrapper of MMEngine.

    Raises:
        InvalidValueError: It is another model.

    Example:
        >>> from mmseg_cascadepsp.models.refiner.zoo import build_model
        >>> model, _ = build_model('lite')
        >>> recorder = CascadeRecorder(model.eval())
        >>> recorder.start()
        >>> _ = model(torch.zeros(1, 4, 32, 32))
        >>> recorder.stop()
        >>> [sorted(outputs) for outputs in recorder.passes]
        [[8], [4, 8], [1, 4, 8]]
    """

    def __init__(self, model: nn.Module) -> None:
        model = model.module if is_model_wrapper(model) else model
        if not isinstance(model, CascadePSP):
            raise InvalidValueError(
                f'model: CascadePicturesHook is for CascadePSP, got {type(model).__name__}; '
                'remove it from default_hooks'
            )
        self.model = model
        #: Normalised images (B, 3, H, W) of the recorded iteration. None before.
        self.image: Tensor | None = None
        #: Logits (B, 1, H, W) by stride, for each pass.
        self.passes: list[dict[int, Tensor]] = []
        self._handle = None

    def start(self) -> None:
        """Forget earlier passes and begin to record."""
        self.stop()
        self.image, self.passes = None, []
        self._handle = self.model.decode_head.register_forward_hook(self._keep)

    def stop(self) -> None:
        """Stop recording."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def rgb(self) -> Tensor:
        """Return the recorded images, RGB uint8 (B, H, W, 3)."""
        preprocessor = self.model.data_preprocessor
        image = self.image.float() * preprocessor.std + preprocessor.mean
        return image.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _keep(self, _: nn.Module, args: tuple, outputs: dict[int, Tensor]) -> None:
        self.image = args[1].detach()
        self.passes.append({stride: logits.detach() for stride, logits in outputs.items()})
