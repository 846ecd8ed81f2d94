"""Training in bfloat16 where no gradient scaling is needed."""

from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """MMEngine's optimiser wrapper under bfloat16 autocast, on the CPU too (its AmpOptimWrapper
    wants a GPU).

    Args:
        kwargs: see :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Forward and loss under autocast."""
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield
