"""Training in bfloat16."""

import warnings
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS

from mmseg_cascadepsp.models.refiner.inference import has_fast_bf16


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Train in bfloat16, which needs no scaling of gradients.

    MMEngine's ``AmpOptimWrapper`` needs a GPU. This one also runs on CPUs. It trains in float32,
    with a warning, on a CPU without instructions for bfloat16, where bfloat16 would take about ten
    times as long.

    Args:
        args, kwargs: See :class:`mmengine.optim.OptimWrapper`.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        >>> with wrapper.optim_context(model):
        ...     loss = model(torch.ones(1, 2)).mean()
        >>> wrapper.update_params(loss)
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.device = torch.device(get_device())
        self.enabled = self.device.type != 'cpu' or has_fast_bf16(self.device)
        if not self.enabled:
            warnings.warn(
                'optim_wrapper: this processor does not multiply in bfloat16, so training uses '
                'float32. type=OptimWrapper does the same without this warning.',
                stacklevel=2,
            )

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Run the forward pass and the loss under autocast.

        Args:
            model: The model that is trained.
        """
        with (
            super().optim_context(model),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.enabled),
        ):
            yield
