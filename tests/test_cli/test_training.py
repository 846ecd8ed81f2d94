"""What tools/train.py asks of its config and its work dir."""

import os

import pytest
from mmengine.runner import Runner

from mmseg_cascadepsp.cli.configs import read_config
from mmseg_cascadepsp.cli.train import last_checkpoint

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
