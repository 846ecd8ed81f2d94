"""Stop a training whose loss is no longer finite, and say what to change."""

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_cascadepsp.errors import InvalidValueError, UserError

#: Learning rate of the paper, and norm that gradients are clipped to for the lite refiner.
SAFE_LR, SAFE_NORM = 3e-4, 5.0
SMALL_BATCH = 4


class TrainingCollapsedError(UserError, RuntimeError):
    """A training was stopped. The message says what happened and how to prevent it.

    Example:
        >>> from mmseg_cascadepsp.errors import UserError
        >>> issubclass(TrainingCollapsedError, UserError)
        True
    """


@HOOKS.register_module()
class CollapseGuardHook(Hook):
    """Stop a training whose loss is not finite, before a checkpoint of it is written.

    As MMDetection's ``CheckInvalidLossHook``, with advice. All processes stop at once.

    Args:
        not_finite: Number of iterations in a row with an infinite or NaN loss that stops the
            training, at least 1. With float16 a few are normal, because the gradient scaler skips
            them.

    Raises:
        InvalidValueError: ``not_finite`` is below 1.
        TrainingCollapsedError: The training has collapsed.

    Example:
        >>> CollapseGuardHook(not_finite=3).not_finite
        3
    """

    def __init__(self, not_finite: int = 5) -> None:
        if not_finite < 1:
            raise InvalidValueError(f'not_finite must be at least 1, got {not_finite}')
        self.not_finite = not_finite
        self._streak = 0

    def before_train(self, runner: Runner) -> None:
        """Forget earlier trainings."""
        self._streak = 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Count losses that are not finite, and look at the count now and then."""
        # A tensor, because reading its number would make the GPU wait in every iteration.
        self._streak = (self._streak + 1) * ~torch.isfinite(outputs['loss'].detach())
        if self.every_n_train_iters(runner, self.not_finite):
            dist.all_reduce(self._streak, 'max')
            if self._streak >= self.not_finite:
                _stop(
                    runner, f'the loss was not finite in {int(self._streak)} iterations in a row'
                )


def _stop(runner: Runner, reason: str) -> None:
    """Raise the error, with advice that fits the settings of the training."""
    wrapper = runner.optim_wrapper
    group = wrapper.param_groups[0]
    lr = group.get('initial_lr', group['lr'])
    options = f'optim_wrapper.optimizer.lr={SAFE_LR if lr > SAFE_LR else lr / 3:.3g}'
    if not wrapper.clip_grad_kwargs:
        options += f' optim_wrapper.clip_grad.max_norm={SAFE_NORM}'
    advice = [f'a learning rate below {lr:.3g} and clipped gradients: --cfg-options {options}']
    if isinstance(wrapper, AmpOptimWrapper):
        advice.append('bfloat16: optim_wrapper.type=BFloat16OptimWrapper without --amp')
    if not any(
        'Linear' in type(scheduler).__name__ for scheduler in runner.param_schedulers or ()
    ):
        advice.append(
            "a warm-up: dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=500) as the "
            'first entry of param_scheduler'
        )
    if runner.train_dataloader.batch_size * dist.get_world_size() <= SMALL_BATCH:
        advice.append(f'batches of more than {SMALL_BATCH}')
    raise TrainingCollapsedError(
        f'training stopped at iteration {runner.iter + 1}: {reason}. To prevent it, try '
        f'{"; ".join(advice)}. Start again from the beginning, or from an earlier checkpoint with '
        'load_from (docs/training.md; default_hooks.guard=None switches this guard off)'
    )
