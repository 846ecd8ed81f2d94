"""A sign of life at the beginning of a training."""

import time

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner


class FirstLossHook(Hook):
    """Print the loss of the first iteration and how long it took.

    The log tells it every fifty iterations or so, which take minutes on a CPU.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> hook, runner = FirstLossHook(), SimpleNamespace(max_iters=9)
        >>> hook.before_train(runner)
        >>> hook.after_train_iter(runner, 0, outputs={'loss': torch.tensor(0.5)})
    """

    def before_train(self, runner: Runner) -> None:
        """Begin."""
        self._start = time.perf_counter()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Tell, once."""
        if self._start is None:
            return
        seconds, self._start = time.perf_counter() - self._start, None
        print_log(
            f'first iteration of {runner.max_iters}: loss {outputs["loss"].item():.4f}, '
            f'{seconds:.1f} s',
            logger='current',
        )
