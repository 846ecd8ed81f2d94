"""The guard stops what has collapsed, says why, and its advice prevents it."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner

from mmseg_cascadepsp.engine import CollapseGuardHook, TrainingCollapsedError
from tests.training import tiny_config, write_data


class FakeRunner:
    """As much of a runner as the guard looks at."""

    def __init__(self, lr=3e-4, wrapper=OptimWrapper, batch_size=9, **kwargs):
        weight = torch.nn.Parameter(torch.zeros(1))
        self.optim_wrapper = wrapper(optimizer=torch.optim.Adam([weight], lr=lr), **kwargs)
        self.param_schedulers = []
        self.train_dataloader = SimpleNamespace(batch_size=batch_size)
        self.iter = -1


def step(hook, runner, loss):
    runner.iter += 1
    hook.after_train_iter(runner, 0, {}, dict(loss=torch.tensor(loss)))


@pytest.mark.parametrize('loss', [float('nan'), float('inf')])
def test_losses_that_are_not_finite(loss):
    hook, runner = CollapseGuardHook(not_finite=3), FakeRunner()
    for value in (1.0, loss, loss, 1.0, loss, loss, 1.0):  # skipped steps of float16's scaler
        step(hook, runner, value)
    with pytest.raises(TrainingCollapsedError, match='iteration 12: the loss was not finite in 5'):
        for _ in range(5):
            step(hook, runner, loss)


def test_advice_fits_the_training():
    def message(**kwargs):
        hook, runner = CollapseGuardHook(1), FakeRunner(**kwargs)
        runner.param_schedulers = kwargs.pop('schedulers', [])
        with pytest.raises(TrainingCollapsedError) as caught:
            step(hook, runner, float('nan'))
        return str(caught.value)

    text = message(lr=0.5, batch_size=2)
    assert 'below 0.5 ' in text and 'optim_wrapper.optimizer.lr=0.0003' in text
    assert 'optim_wrapper.clip_grad.max_norm=5.0' in text
    assert 'LinearLR' in text and 'batches of more than 4' in text
    assert 'default_hooks.guard=None' in text and 'BFloat16' not in text
    text = message(clip_grad=dict(max_norm=1.0))
    assert 'optimizer.lr=0.0001' in text
    assert 'max_norm' not in text and 'batches of more' not in text


def test_advice_against_float16():
    hook, runner = CollapseGuardHook(1), FakeRunner()
    runner.optim_wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)  # its constructor wants a GPU
    runner.optim_wrapper.__dict__ = FakeRunner().optim_wrapper.__dict__
    with pytest.raises(TrainingCollapsedError, match='type=BFloat16OptimWrapper without --amp'):
        step(hook, runner, float('nan'))


def test_bad_arguments():
    with pytest.raises(ValueError, match='not_finite must be at least 1, got 0'):
        CollapseGuardHook(not_finite=0)


@pytest.mark.slow
def test_a_training_that_collapses_and_one_with_the_advice(tmp_path):
    def train(name, lr, **changes):
        cfg = Config(tiny_config(write_data(tmp_path / 'data'), tmp_path / name))
        cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=lr))
        cfg.param_scheduler = []
        cfg.custom_hooks = []
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.experiment_name = f'collapse_{name}'
        cfg.randomness = dict(seed=0)
        cfg.train_cfg.max_iters = 64
        cfg.default_hooks.checkpoint.save_best = None
        cfg.merge_from_dict(changes)
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    with pytest.raises(TrainingCollapsedError, match='loss was not finite') as caught:
        train('absurd', lr=1e6)
    assert not list(tmp_path.rglob('*.pth'))
    advised = dict(re.findall(r'(optim_wrapper\.\S+)=([\d.]+)', str(caught.value)))
    assert set(advised) == {'optim_wrapper.optimizer.lr', 'optim_wrapper.clip_grad.max_norm'}
    runner = train('advised', lr=1e6, **{key: float(v) for key, v in advised.items()})
    assert runner.iter == 64 and list(tmp_path.glob('advised/iter_64.pth'))
