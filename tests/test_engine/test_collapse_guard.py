"""The guard stops what has collapsed, says why, and its advice prevents it."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_cascadepsp.engine import CollapseGuardHook, TrainingCollapsedError, collapse_guard
from tests.training import tiny_config, write_data


class FakeRunner:
    """As much of a runner as the guard looks at."""

    def __init__(self, lr=3e-4, wrapper=OptimWrapper, batch_size=9, **kwargs):
        weight = torch.nn.Parameter(torch.zeros(1))
        self.optim_wrapper = wrapper(optimizer=torch.optim.Adam([weight], lr=lr), **kwargs)
        self.param_schedulers = []
        self.train_dataloader = SimpleNamespace(batch_size=batch_size)
        self.iter = -1


def samples(count=3, size=16):
    """Truth is the left half, the coarse mask a column more."""
    batch = []
    for _ in range(count):
        masks = torch.zeros(2, 1, size, size, dtype=torch.uint8)
        masks[0, ..., : size // 2], masks[1, ..., : size // 2 + 1] = 255, 255
        sample = SegDataSample()
        sample.gt_sem_seg, sample.coarse_mask = (PixelData(data=mask) for mask in masks)
        batch.append(sample)
    return batch


def guard(**kwargs):
    hook = CollapseGuardHook(**dict(dict(interval=1, begin=1, patience=3, not_finite=2), **kwargs))
    return hook


def step(hook, runner, loss=1.0, masks='good', batch=None):
    """One iteration whose finest masks are good, empty, full or wrong."""
    runner.iter += 1
    batch = batch or samples()
    truth = torch.stack([sample.gt_sem_seg.data for sample in batch]).float() / 255
    logits = dict(
        good=truth - 0.5, empty=truth * 0 - 9, full=truth * 0 + 9, wrong=0.5 - truth,
        nan=truth * torch.nan,
    )[masks]  # fmt: skip
    recorder = SimpleNamespace(passes=[{8: -logits}, {8: -logits, 1: logits}])
    recorder.start = recorder.stop = lambda: None
    hook._recorder = recorder
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0, dict(data_samples=batch), dict(loss=torch.tensor(loss)))


@pytest.mark.parametrize('loss', [float('nan'), float('inf')])
def test_losses_that_are_not_finite(loss):
    hook, runner = guard(not_finite=3, begin=999), FakeRunner()
    for value in (1.0, loss, loss, 1.0, loss, loss, 1.0):  # skipped steps of float16's scaler
        step(hook, runner, value)
    with pytest.raises(TrainingCollapsedError, match='iteration 12: the loss was not finite in 5'):
        for _ in range(5):
            step(hook, runner, loss)


@pytest.mark.parametrize('masks', ['empty', 'full', 'nan', 'wrong'])
def test_masks_that_have_collapsed(masks):
    words = (
        r'far worse than .* in 3 checks in a row \(now an IoU of 0.0 %, the coarse masks 87.5 %'
    )
    hook, runner = guard(), FakeRunner()
    for what in (masks, masks, 'good', masks, masks):  # it recovers in between
        step(hook, runner, masks=what)
    with pytest.raises(TrainingCollapsedError, match=words):
        step(hook, runner, masks=masks)


def test_when_it_looks():
    hook, runner = guard(begin=10, interval=5), FakeRunner()
    for _ in range(19):
        step(hook, runner, masks='empty')  # looks at 10 and 15
    with pytest.raises(TrainingCollapsedError, match='iteration 20'):
        step(hook, runner, masks='empty')


def test_crops_without_outline_tell_nothing():
    hook, runner = guard(), FakeRunner()
    batch = samples()
    for sample in batch:
        sample.gt_sem_seg.data.zero_()
    for _ in range(9):
        step(hook, runner, masks='empty', batch=batch)


def test_advice_fits_the_training():
    def message(**kwargs):
        hook, runner = guard(patience=1), FakeRunner(**kwargs)
        runner.param_schedulers = kwargs.pop('schedulers', [])
        with pytest.raises(TrainingCollapsedError) as caught:
            step(hook, runner, masks='empty')
        return str(caught.value)

    text = message(lr=0.5, batch_size=2)
    assert 'below 0.5 ' in text and 'optim_wrapper.optimizer.lr=0.0003' in text
    assert 'optim_wrapper.clip_grad.max_norm=5.0' in text
    assert 'LinearLR' in text and 'batches of more than 4' in text
    assert 'default_hooks.guard=None' in text and 'BFloat16' not in text
    text = message(clip_grad=dict(max_norm=1.0))
    assert 'optimizer.lr=0.0001' in text
    assert 'max_norm' not in text and 'batches of more' not in text


def test_advice_against_float16(monkeypatch):
    hook, runner = guard(patience=1), FakeRunner()
    runner.optim_wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)  # its constructor wants a GPU
    runner.optim_wrapper.__dict__ = FakeRunner().optim_wrapper.__dict__
    with pytest.raises(TrainingCollapsedError, match='type=BFloat16OptimWrapper without --amp'):
        step(hook, runner, masks='empty')


def test_validation_that_fails_alone(monkeypatch):
    said = []
    monkeypatch.setattr(collapse_guard, 'print_log', lambda text, **_: said.append(text))
    hook, runner = guard(begin=100), FakeRunner()
    for iteration, after in ((50, 1.0), (200, 80.0)):
        runner.iter = iteration
        hook.after_val_epoch(runner, dict(IoU=after, IoU_before=85.0))
    hook.after_val_epoch(runner, dict(mIoU=1.0))
    assert not said
    hook.after_val_epoch(runner, dict(IoU=1.0, IoU_before=85.0))
    assert len(said) == 1 and 'running statistics' in said[0]


def test_bad_arguments():
    with pytest.raises(ValueError, match='patience must be at least 1, got 0'):
        CollapseGuardHook(patience=0)
    with pytest.raises(ValueError, match='Hook are for CascadePSP, got Linear'):
        CollapseGuardHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1)))


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
        cfg.default_hooks.guard.update(begin=16, interval=8, patience=3)
        cfg.default_hooks.checkpoint.save_best = None
        cfg.merge_from_dict(changes)
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    with pytest.raises(TrainingCollapsedError, match='loss was not finite'):
        train('infinite', lr=1e6)
    with pytest.raises(TrainingCollapsedError, match='the network has collapsed') as caught:
        train('absurd', lr=100.0)
    assert not list(tmp_path.rglob('*.pth'))
    advised = dict(re.findall(r'(optim_wrapper\.\S+)=([\d.]+)', str(caught.value)))
    assert set(advised) == {'optim_wrapper.optimizer.lr', 'optim_wrapper.clip_grad.max_norm'}
    runner = train('advised', lr=100.0, **{key: float(v) for key, v in advised.items()})
    assert runner.iter == 64 and list(tmp_path.glob('advised/iter_64.pth'))
