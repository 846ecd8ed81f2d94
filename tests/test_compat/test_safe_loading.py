"""mmengine's checkpoints load weights-only; a malicious one is still refused."""

import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmseg_cascadepsp.compat.safe_loading import (
    allow_mmengine_checkpoints,
    history_buffer_getattr,
)


class Toy(BaseModel):
    """The smallest model that mmengine trains."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        return {'loss': self.linear(inputs).square().mean()}


class Call:
    """Pickled as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def roundtrip(content, path):
    torch.save(content, path)
    return torch.load(path, map_location='cpu', weights_only=True)


def test_torch_without_the_list_can_be_imported(monkeypatch):
    monkeypatch.delattr(torch.serialization, 'add_safe_globals')
    allow_mmengine_checkpoints()


def make_runner(work_dir, max_iters: int, resume: bool = False) -> Runner:
    return Runner(
        model=Toy(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader([dict(inputs=torch.ones(2))] * 4, batch_size=2),
        train_cfg=dict(by_epoch=False, max_iters=max_iters, val_interval=100),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
            logger=dict(type='LoggerHook', interval=1),
        ),
        resume=resume,
        log_level='ERROR',
        default_scope='mmengine',
        experiment_name=f'toy-{max_iters}',
    )


def test_a_run_is_resumed(tmp_path):
    make_runner(tmp_path, 2).train()
    runner = make_runner(tmp_path, 4, resume=True)
    runner.train()
    assert runner.iter == 4
    # The log of the first two iterations came with the checkpoint.
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 4


def test_history_and_numpy_scalars_come_back(tmp_path):
    hub = MessageHub('safe-loading')
    for value in (1.0, 3.0):
        hub.update_scalar('train/loss', value)
    infos = dict(half=np.float16(2), count=np.int64(7), flag=np.bool_(True), name=np.str_('x'))
    for key, value in infos.items():
        hub.update_info(key, value)
    state = roundtrip(dict(message_hub=hub.state_dict()), tmp_path / 'a.pth')['message_hub']
    loss = state['log_scalars']['train/loss']
    assert isinstance(loss, HistoryBuffer)
    assert loss.mean() == 2.0 and loss.statistics('max') == 3.0 and loss.current() == 3.0
    for key, value in infos.items():
        assert state['runtime_info'][key] == value
        assert type(state['runtime_info'][key]) is type(value)


@pytest.mark.parametrize(
    'dtype', ['float16', 'float64', 'int32', 'uint8', 'bool', 'complex64', 'U3']
)
def test_numpy_arrays_come_back(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    loaded = roundtrip(dict(array=array), tmp_path / 'a.pth')['array']
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype


@pytest.mark.parametrize(
    'owner, name',
    [
        (torch.Tensor, 'numpy'),
        (np.ndarray, 'tofile'),
        (HistoryBuffer, '__init__'),
        (Toy, 'forward'),
    ],
)
def test_other_attributes_are_refused(tmp_path, owner, name):
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        roundtrip(dict(meta=Call(getattr, owner, name)), tmp_path / 'a.pth')


@pytest.mark.parametrize('name', ['statistics', '__setstate__', '__globals__', 'Min', ''])
def test_only_the_four_statistics_resolve(name):
    with pytest.raises(ValueError, match='do not trust this file'):
        history_buffer_getattr(HistoryBuffer, name)
    assert history_buffer_getattr(HistoryBuffer, 'min') is HistoryBuffer.min


def test_a_subclass_is_not_the_history_buffer():
    with pytest.raises(ValueError, match='do not trust this file'):
        history_buffer_getattr(type('Fake', (HistoryBuffer,), {}), 'min')


@pytest.mark.parametrize('function', [os.system, eval, exec, __import__, os.remove])
def test_code_is_not_run(tmp_path, function):
    bait = tmp_path / 'bait'
    bait.touch()
    with pytest.raises(pickle.UnpicklingError):
        roundtrip(dict(meta=Call(function, str(bait))), tmp_path / 'a.pth')
    assert bait.exists()
