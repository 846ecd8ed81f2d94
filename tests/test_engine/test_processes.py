"""Two processes on the CPU against one of twice the batch."""

import os
import subprocess

import pytest
import torch
from mmengine.config import Config

from mmseg_cascadepsp.engine import prepare_processes
from tests.training import ROOT, tiny_config, train, write_data

ITERATIONS = 2
GROUP_NORM = dict(type='GN', num_groups=1)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'), val=3)


def run(data, work_dir, processes):
    """Weights, losses of each process by iteration, metrics of each process."""
    config = tiny_config(data, work_dir, **{
        'model.backbone.norm_cfg': GROUP_NORM,
        'model.decode_head.norm_cfg': GROUP_NORM,
        'model.test_cfg.L': 72,
        'train_dataloader.batch_size': 4 // processes,
        # The change of the weights is the gradient itself.
        'optim_wrapper': dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5)),
        'param_scheduler': None,
        'max_iters': ITERATIONS,
        'train_cfg.max_iters': ITERATIONS,
        'train_cfg.val_interval': ITERATIONS,
        'default_hooks.checkpoint.interval': 1,
        'randomness': dict(seed=0),
        'custom_hooks': [dict(type='RecordHook')],
    })  # fmt: skip
    assert train(config, processes) == [0] * processes
    weights = [
        torch.load(work_dir / f'iter_{i}.pth', weights_only=True)['state_dict']
        for i in range(1, ITERATIONS + 1)
    ]
    files = [
        [torch.load(work_dir / f'{name}_{rank}.pt') for rank in range(processes)]
        for name in ('losses', 'metrics')
    ]
    return weights, *files


@pytest.mark.slow
def test_losses_gradients_and_metrics_are_those_of_one(data, tmp_path):
    weights, losses, metrics = run(data, tmp_path / 'one', 1)
    weights_of_two, losses_of_two, metrics_of_two = run(data, tmp_path / 'two', 2)
    expected = torch.tensor(losses[0])
    torch.testing.assert_close(torch.tensor(losses_of_two).mean(0), expected)
    assert losses_of_two[0] != losses_of_two[1]  # each had samples of its own
    for one, two in zip(weights, weights_of_two, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
    moved = [(weights[1][key] - weights[0][key]).abs().max() for key in weights[0]]
    assert max(moved) > 1e-3  # far more than what the comparison allows
    # Three photos over two processes: what fills up does not count twice.
    assert metrics_of_two[0] == metrics_of_two[1] == pytest.approx(metrics[0], abs=1e-3)


def test_one_process_is_left_alone():
    config = dict(launcher='none', sync_bn='torch')
    cfg = Config(config)
    prepare_processes(cfg)
    assert cfg.to_dict() == config


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_slurm_hands_everything_on(tmp_path, tool):
    """What srun is called with, by an srun that prints it."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    positional = ['part', 'job', 'my config.py', *([''] if tool == 'test' else [])]
    done = subprocess.run(
        [ROOT / f'tools/slurm_{tool}.sh', *positional, '--cfg-options', 'a="b c"'],
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'GPUS': '2'},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = done.stdout.splitlines()
    assert {'--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2', '-p', 'part'} <= set(words)
    assert words[-6:] == [
        f'{ROOT}/tools/{tool}.py', 'my config.py', '--launcher', 'slurm', '--cfg-options',
        'a="b c"',
    ]  # fmt: skip
