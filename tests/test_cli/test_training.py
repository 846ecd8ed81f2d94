"""What tools/train.py asks of its config and its work dir."""

import os

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner

from mmseg_cascadepsp.cli.configs import read_config
from mmseg_cascadepsp.cli.schedule import set_iterations, without_validation
from mmseg_cascadepsp.cli.train import check_data, last_checkpoint
from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

CONFIG = 'configs/cascadepsp_lite.py'


@pytest.mark.parametrize('name', ["Anna's photos", 'a\\1b', 'Größe "neu"', "\\'"])
def test_any_data_root(tmp_path, monkeypatch, name):
    monkeypatch.delenv('MMSEG_CASCADEPSP_DATA', raising=False)
    root = f'{tmp_path}/{name}'
    cfg = read_config(CONFIG, data_root=root)
    assert cfg.train_dataloader.dataset.data_root == f'{root}/train'
    assert os.environ['MMSEG_CASCADEPSP_DATA'] == root
    assert read_config(CONFIG).train_dataloader.dataset.data_root == f'{root}/train'


def test_hooks_are_switched_off_by_none(monkeypatch):
    off = {f'default_hooks.{name}': None for name in ('guard', 'pictures', 'checkpoint')}
    hooks = read_config(CONFIG, options=off).default_hooks
    runner = object.__new__(Runner)
    runner._hooks = []
    runner.register_default_hooks(hooks)
    kinds = {type(hook).__name__ for hook in runner.hooks}
    assert 'LoggerHook' in kinds
    assert not kinds & {'CollapseGuardHook', 'CascadePicturesHook', 'SafeCheckpointHook'}
    all_kinds = {hook.type for hook in read_config(CONFIG).default_hooks.values()}
    assert {'SafeCheckpointHook'} < all_kinds and len(all_kinds - kinds) == 3


def test_the_last_checkpoint_is_found_after_a_kill_and_a_move(tmp_path):
    assert last_checkpoint(str(tmp_path / 'new')) is None
    for name in ('best_IoU_iter_99.pth', 'iter_x.pth', '.iter_30.pth.tmp'):
        (tmp_path / name).write_text('')
    assert last_checkpoint(str(tmp_path)) is None
    for name in ('iter_10.pth', 'iter_4.pth'):  # copied without the note: the names tell
        (tmp_path / name).write_text('')
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_10.pth')
    note = tmp_path / 'last_checkpoint'
    note.write_text(str(tmp_path / 'iter_4.pth'))
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_4.pth')
    note.write_text('/elsewhere/iter_4.pth')
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_4.pth')
    note.write_text('')
    assert last_checkpoint(str(tmp_path)) == ''  # the checkpoint hook finds it, see test_train.py


def rates(cfg):
    """Learning rate of each iteration of a training, as MMEngine's schedulers give it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(each), default_args=dict(optimizer=optimizer))
        for each in cfg.param_scheduler
    ]
    found = []
    for _ in range(cfg.train_cfg.max_iters):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return np.array(found)


@pytest.mark.parametrize('name', ['cascadepsp_lite', 'deeplabv3plus_efficientnet-lite0_camvid'])
def test_a_training_of_another_length_keeps_its_schedule(name):
    cfg = read_config(f'configs/{name}.py')
    expected = rates(cfg)
    for share in (0.5, 2):
        other = read_config(f'configs/{name}.py')
        set_iterations(other, round(len(expected) * share))
        found = rates(other)
        places = np.linspace(0, 0.999, 500)
        np.testing.assert_allclose(
            found[(places * len(found)).astype(int)],
            expected[(places * len(expected)).astype(int)],
            atol=0.03,
        )


def test_intervals_shrink_with_a_training_and_do_not_grow():
    cfg = read_config('configs/cascadepsp_r50.py')
    set_iterations(cfg, 600)
    assert cfg.train_cfg.max_iters == 600 and cfg.train_cfg.val_interval == 50
    assert cfg.param_scheduler[0].milestones == [300]
    hooks = cfg.default_hooks
    assert (hooks.checkpoint.interval, hooks.logger.interval, hooks.pictures.interval) == (
        10,
        1,
        8,
    )
    cfg = read_config('configs/cascadepsp_lite.py')
    set_iterations(cfg, 22000)
    assert cfg.train_cfg.val_interval == 1000 and cfg.default_hooks.checkpoint.interval == 1000
    assert cfg.custom_hooks[0].momentum == pytest.approx(2e-4)


@pytest.mark.parametrize('iters', [1, 2, 7])
def test_the_shortest_trainings_have_a_schedule(iters):
    cfg = read_config(CONFIG)
    set_iterations(cfg, iters)
    assert len(rates(cfg)) == iters and np.isfinite(rates(cfg)).all()


def test_epochs_and_no_iterations_are_refused():
    cfg = Config(dict(train_cfg=dict(max_epochs=3)))
    with pytest.raises(InvalidValueError, match='trains by epochs'):
        set_iterations(cfg, 5)
    with pytest.raises(InvalidValueError, match='at least 1, got 0'):
        set_iterations(read_config(CONFIG), 0)


def test_without_validation_no_set_is_asked_for(tmp_path):
    (tmp_path / 'train').mkdir()
    cfg = read_config('configs/cascadepsp_r50.py', data_root=str(tmp_path))
    without_validation(cfg)
    assert cfg.val_dataloader is cfg.val_cfg is cfg.val_evaluator is None
    assert cfg.default_hooks.checkpoint.save_best is None
    with pytest.raises(MissingFileError) as told:
        check_data(cfg)
    assert str(tmp_path / 'val') not in str(told.value)
