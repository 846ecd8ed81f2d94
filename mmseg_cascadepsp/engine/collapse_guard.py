"""Stop a training whose network has collapsed, and say what to change."""

import logging

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_cascadepsp.errors import InvalidValueError, UserError

from .cascade_recorder import CascadeRecorder

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
    """Stop the training of a refiner when its loss is not finite or its masks have collapsed.

    Masks count as collapsed when they are far worse than the coarse masks that they come from,
    measured by the smaller IoU of object and background. Empty and full masks are among them.
    The training stops before a checkpoint of that iteration is written, in all processes at once.

    Args:
        not_finite: Number of iterations in a row with an infinite or NaN loss that stops the
            training, at least 1. With float16 a few are normal, because the gradient scaler skips
            them.
        interval: Number of iterations between two checks of the masks, at least 1.
        begin: First iteration whose masks are checked. A new network needs a few hundred.
        patience: Number of failed checks in a row that stops the training, at least 1.
        min_share: Masks have collapsed if their IoU is below this share of the IoU of the coarse
            masks, in [0, 1].

    Raises:
        InvalidValueError: ``not_finite``, ``interval`` or ``patience`` is below 1, or the model
            is not a :class:`~mmseg_cascadepsp.models.CascadePSP`.
        TrainingCollapsedError: The training has collapsed.

    Example:
        >>> hook = CollapseGuardHook(interval=100, patience=3)
        >>> hook.begin
        500
    """

    def __init__(
        self,
        not_finite: int = 5,
        interval: int = 50,
        begin: int = 500,
        patience: int = 5,
        min_share: float = 0.5,
    ) -> None:
        options = dict(not_finite=not_finite, interval=interval, patience=patience)
        for name, value in options.items():
            if value < 1:
                raise InvalidValueError(f'{name} must be at least 1, got {value}')
        self.not_finite, self.interval, self.begin = not_finite, interval, begin
        self.patience, self.min_share = patience, min_share
        self._streak = self._failed = 0

    def before_train(self, runner: Runner) -> None:
        """Find the refiner, and forget earlier trainings."""
        self._recorder = CascadeRecorder(runner.model)
        self._streak = self._failed = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Record the masks of this iteration if they are to be checked."""
        if self._is_due(runner):
            self._recorder.start()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Check the loss, and the masks when a check is due."""
        # A tensor, because reading its number would make the GPU wait in every iteration.
        self._streak = (self._streak + 1) * ~torch.isfinite(outputs['loss'].detach())
        if self.every_n_train_iters(runner, self.not_finite):
            dist.all_reduce(self._streak, 'max')
            if self._streak >= self.not_finite:
                _stop(
                    runner, f'the loss was not finite in {int(self._streak)} iterations in a row'
                )
        if not self._is_due(runner):
            return
        self._recorder.stop()
        passes = self._recorder.passes[-1]
        ours, coarse = _smaller_ious(passes[min(passes)] > 0, data_batch['data_samples'])
        self._failed = self._failed + 1 if ours < self.min_share * coarse else 0
        if self._failed >= self.patience:
            _stop(
                runner,
                'the network has collapsed: its masks were far worse than the coarse masks in '
                f'{self.patience} checks in a row (now an IoU of {100 * ours:.1f} %, the coarse '
                f'masks {100 * coarse:.1f} %)',
            )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Warn when refinement fails in validation, which uses the running statistics of norms."""
        metrics = metrics or {}
        after, before = metrics.get('IoU', 0), metrics.get('IoU_before', 0)
        if runner.iter >= self.begin and after < self.min_share * before:
            print_log(
                f'in validation the refined masks have an IoU of {after:.1f} %, the coarse masks '
                f'{before:.1f} %. If the training loss is good, the running statistics of the '
                'norms do not fit: train with larger batches, or with '
                'model.backbone.norm_eval=True and ImageNet weights',
                logger='current',
                level=logging.WARNING,
            )

    def _is_due(self, runner: Runner) -> bool:
        return runner.iter + 1 >= self.begin and self.every_n_train_iters(runner, self.interval)


def _smaller_ious(masks: torch.Tensor, samples: list) -> tuple[float, float]:
    """The smaller IoU of object and background, of ``masks`` (B, 1, H, W) and coarse masks."""
    counts = masks.new_zeros(2, 2, 2, dtype=torch.float)  # whose mask, which class, (and, or)
    for mask, sample in zip(masks, samples, strict=True):
        truth, coarse = (
            sample.get(key).data.to(mask.device) > 127 for key in ('gt_sem_seg', 'coarse_mask')
        )
        both = torch.stack((mask[:, : truth.shape[1], : truth.shape[2]], coarse))
        for index, (found, wanted) in enumerate(((both, truth), (~both, ~truth))):
            counts[:, index, 0] += (found & wanted).sum((1, 2, 3))
            counts[:, index, 1] += (found | wanted).sum((1, 2, 3))
    dist.all_reduce(counts)
    ours, coarse = (counts[..., 0] / counts[..., 1].clamp(min=1)).amin(1).tolist()
    return ours, coarse


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
