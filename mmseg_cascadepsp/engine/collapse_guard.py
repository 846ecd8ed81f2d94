"""Stopping a training that has gone wrong, and saying why."""

import logging

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_cascadepsp.errors import InvalidValueError, UserError

from .cascade_recorder import CascadeRecorder

#: The paper's, and the clipping that this project's small refiner trains with.
SAFE_LR, SAFE_NORM = 3e-4, 5.0
SMALL_BATCH = 4


class TrainingCollapsedError(UserError, RuntimeError):
    """A training was stopped; the message says what happened and what prevents it."""


@HOOKS.register_module()
class CollapseGuardHook(Hook):
    """Stop a refiner's training when its loss is not finite, or when the network has collapsed:
    masks far worse than the coarse ones they come from, or all empty or full.

    It stops before a checkpoint of that iteration is written. With several processes, all of them
    stop together.

    Args:
        not_finite: Iterations in a row without a finite loss. A few are normal in float16, whose
            scaler skips them.
        interval: Iterations between looks at the masks of a batch.
        begin: First iteration at which they are looked at: a new network needs some hundred.
        patience: Looks in a row.
        min_share: IoU below this share of the coarse masks' IoU counts as collapsed.

    Raises:
        ValueError: An argument is not positive.
        TrainingCollapsedError: From within the training.
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
        self._recorder: CascadeRecorder | None = None
        self._streak: Tensor | None = None
        self._longest: Tensor | None = None
        self._bad_looks = 0

    def before_train(self, runner: Runner) -> None:
        """Look at the model."""
        self._recorder = CascadeRecorder(runner.model)
        self._streak = torch.zeros((), device=next(runner.model.parameters()).device)
        self._longest = self._streak
        self._bad_looks = 0

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Record the iteration if the masks are looked at after it."""
        if self._looks(runner):
            self._recorder.start()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Count, and stop where it is due."""
        # On the device: asking for the number itself would stall a GPU in every iteration.
        self._streak = (self._streak + 1) * ~torch.isfinite(outputs['loss'].detach())
        self._longest = torch.maximum(self._longest, self._streak)
        if self.every_n_train_iters(runner, self.not_finite):
            streak = self._longest.clone()
            dist.all_reduce(streak, 'max')
            if streak >= self.not_finite:
                self._stop(runner, f'the loss was not finite in {int(streak)} iterations in a row')
        if self._looks(runner):
            self._recorder.stop()
            self._look(runner, data_batch)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Warn when validation, with the norms' running statistics, shows what the batches do not
        show.
        """
        before, after = ((metrics or {}).get(key) for key in ('IoU_before', 'IoU'))
        if (
            before is not None
            and after is not None
            and runner.iter >= self.begin
            and after < self.min_share * before
        ):
            print_log(
                f'the refined masks of the validation have an IoU of {after:.1f} % where the '
                f'coarse masks have {before:.1f} %; if training goes well otherwise, the running '
                'statistics of the norms do not fit: larger batches, or '
                'model.backbone.norm_eval=True with ImageNet weights, mend that',
                logger='current',
                level=logging.WARNING,
            )

    def _looks(self, runner: Runner) -> bool:
        return runner.iter + 1 >= self.begin and self.every_n_train_iters(runner, self.interval)

    def _look(self, runner: Runner, data_batch: dict) -> None:
        """Compare the batch's finest masks with the coarse ones."""
        logits = self._recorder.passes[-1]
        logits = logits[min(logits)]
        counts = torch.zeros(6, device=logits.device)
        for mask, sample in zip(logits[:, 0] > 0, data_batch['data_samples'], strict=True):
            truth, coarse = (
                sample.get(key).data[0].to(mask.device) > 127
                for key in ('gt_sem_seg', 'coarse_mask')
            )
            mask = mask[: truth.shape[0], : truth.shape[1]]
            mixed = 0.01 < truth.float().mean() < 0.99
            uniform = not 0.001 <= mask.float().mean() <= 0.999
            counts += torch.stack(
                [
                    (mask & truth).sum(),
                    (mask | truth).sum(),
                    (coarse & truth).sum(),
                    (coarse | truth).sum(),
                    mixed,
                    mixed & uniform,
                ]
            )
        dist.all_reduce(counts)
        inside, union, coarse_inside, coarse_union, mixed, uniform = counts.tolist()
        if not mixed:
            return  # crops without an outline tell nothing
        iou, coarse_iou = inside / max(union, 1), coarse_inside / max(coarse_union, 1)
        collapsed = uniform == mixed or iou < self.min_share * coarse_iou
        self._bad_looks = self._bad_looks + 1 if collapsed else 0
        if self._bad_looks >= self.patience:
            shape = 'all empty or full' if uniform == mixed else 'far worse than the coarse ones'
            self._stop(
                runner,
                f'the network has collapsed: its masks were {shape} in {self.patience} looks in a '
                f'row (IoU {100 * iou:.1f} % now, the coarse masks {100 * coarse_iou:.1f} %)',
            )

    @staticmethod
    def _stop(runner: Runner, what: str) -> None:
        raise TrainingCollapsedError(
            f'training stopped at iteration {runner.iter + 1}: {what}. What prevents it: '
            f'{"; ".join(_advice(runner))}. Start anew, or with load_from a checkpoint of before '
            '(docs/training.md; default_hooks.guard=None switches this guard off)'
        )


def _advice(runner: Runner) -> list[str]:
    """What this training could do otherwise, most helpful first."""
    wrapper = runner.optim_wrapper
    group = wrapper.param_groups[0]
    lr = group.get('initial_lr', group['lr'])
    options = [f'optim_wrapper.optimizer.lr={SAFE_LR if lr > SAFE_LR else lr / 3:.3g}']
    if not wrapper.clip_grad_kwargs:
        options.append(f'optim_wrapper.clip_grad.max_norm={SAFE_NORM}')
    advice = [
        f'a lower learning rate (it is {lr:.3g})'
        f'{" and gradient clipping" if len(options) > 1 else ""}: --cfg-options '
        f'{" ".join(options)}'
    ]
    if isinstance(wrapper, AmpOptimWrapper):
        advice.append(
            'bfloat16 in the place of float16: optim_wrapper.type=BFloat16OptimWrapper without '
            '--amp'
        )
    schedulers = runner.param_schedulers or []
    if not any('Linear' in type(s).__name__ for s in schedulers):
        advice.append(
            "a warm-up: dict(type='LinearLR', by_epoch=False, start_factor=0.05, end=500) first "
            'in param_scheduler'
        )
    if runner.train_dataloader.batch_size * dist.get_world_size() <= SMALL_BATCH:
        advice.append(f'batches of more than {SMALL_BATCH}')
    return advice
