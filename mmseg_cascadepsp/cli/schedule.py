"""Trainings of another length than that of their config."""

from collections.abc import Mapping

from mmseg_cascadepsp.errors import InvalidValueError

#: Settings of learning rates and momenta that are numbers of iterations.
MOMENTS = (
    'begin',
    'end',
    'T_max',
    'milestones',
    'step_size',
    'total_steps',
    'periods',
    'restarts',
)
#: Settings of hooks that are numbers of iterations.
HOOK_MOMENTS = ('begin_iter', 'end_iter', 'switch_iter', 'gamma')


def set_iterations(cfg: Mapping, iters: int) -> None:
    """Train for ``iters`` iterations, with the schedule of a config stretched or shrunk to them.

    The moments of learning rates (warm-up, milestones, ends) and of hooks keep their shares of the
    training. Averages of weights reach back over the same share. Intervals of validation,
    checkpoints, logs and pictures shrink in the same way. They do not grow, so that a longer
    training has no more to lose when it is stopped.

    Args:
        cfg: The config of a training by iterations, changed in place.
        iters: Number of iterations.

    Raises:
        InvalidValueError: ``iters`` is below 1, or the config trains by epochs.

    Example:
        >>> from mmengine.config import Config
        >>> cfg = Config(dict(
        ...     train_cfg=dict(max_iters=60000, val_interval=5000),
        ...     param_scheduler=[dict(type='MultiStepLR', by_epoch=False, milestones=[30000])],
        ... ))
        >>> set_iterations(cfg, 6000)
        >>> cfg.train_cfg.val_interval, cfg.param_scheduler[0].milestones
        (500, [3000])
    """
    if iters < 1:
        raise InvalidValueError(f'--iters must be at least 1, got {iters}.')
    loop = cfg.get('train_cfg') or {}
    schedulers = cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, Mapping) else schedulers
    if not loop.get('max_iters') or any(one.get('by_epoch', True) for one in schedulers):
        raise InvalidValueError(
            '--iters is for configs that train by iterations; this one trains by epochs: change '
            'its train_cfg and param_scheduler by --cfg-options.'
        )
    share = iters / loop['max_iters']
    loop['max_iters'] = iters
    if 'max_iters' in cfg:
        cfg['max_iters'] = iters
    _shrink(loop, 'val_interval', share)
    for one in schedulers:
        _scale(one, MOMENTS, share)
        if 'end' in one:  # two iterations at least, or a warm-up divides by 0
            one['end'] = max(one['end'], one.get('begin', 0) + 2)
    for hook in (*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ())):
        if hook is None or hook.get('by_epoch'):
            continue
        _shrink(hook, 'interval', share)
        _scale(hook, HOOK_MOMENTS, share)
        if 'EMA' in str(hook.get('type')) and 'momentum' in hook:
            hook['momentum'] = min(hook['momentum'] / share, 0.5)


def without_validation(cfg: Mapping) -> None:
    """Train without validating: no set for it is needed, and the last checkpoint is the result.

    Args:
        cfg: The config of a training, changed in place.

    Example:
        >>> from mmengine.config import Config
        >>> cfg = Config(dict(val_cfg={}, default_hooks=dict(checkpoint=dict(save_best='mBA'))))
        >>> without_validation(cfg)
        >>> cfg.val_cfg, cfg.default_hooks.checkpoint.save_best
        (None, None)
    """
    for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[name] = None
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if checkpoint is not None:
        checkpoint['save_best'] = None


def _shrink(part: Mapping, name: str, share: float) -> None:
    if isinstance(part.get(name), int) and part[name] > 0:
        part[name] = min(part[name], max(1, round(part[name] * share)))


def _scale(part: Mapping, names: tuple[str, ...], share: float) -> None:
    for name in names:
        value = part.get(name)
        if isinstance(value, list | tuple):
            part[name] = [max(1, round(each * share)) for each in value]
        elif value:
            part[name] = max(1, round(value * share))
