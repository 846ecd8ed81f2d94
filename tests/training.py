"""A training of seconds in processes of its own, which can be killed or be one of several."""

import multiprocessing
import os
import runpy
import signal
import socket
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

import mmseg_cascadepsp  # noqa: F401  registers everything
from mmseg_cascadepsp.engine.processes import prepare_processes

ROOT = Path(__file__).parents[1]
SIZE = 64
#: Name of this module in those processes.
IN_A_PROCESS = '__training__'


def write_data(root: Path, train: int = 6, val: int = 3) -> Path:
    """Discs on noise, in the layout of the docs."""
    random = np.random.RandomState(0)
    y, x = np.mgrid[: SIZE + 8, :SIZE]
    for split, count in (('train', train), ('val', val)):
        for i in range(count):
            mask = np.hypot(y - random.randint(25, 40), x - random.randint(25, 40)) < 18 + i
            image = random.randint(0, 80, (*mask.shape, 3)) + 150 * mask[..., None]
            for folder, array in (('images', image), ('masks', 255 * mask)):
                (root / split / folder).mkdir(parents=True, exist_ok=True)
                path = root / split / folder / f'{i}.png'
                assert cv2.imwrite(str(path), array.astype(np.uint8))
    return root


def tiny_config(data: Path, work_dir: Path, **changes) -> dict:
    """configs/cascadepsp_lite.py with a network of few channels, in fp32."""
    with mock.patch.dict(os.environ, MMSEG_CASCADEPSP_DATA=str(data)):
        cfg = Config.fromfile(ROOT / 'configs/cascadepsp_lite.py')
    cfg.model.backbone = dict(
        type='RefinementResNet', depth=18, in_channels=6, stem_channels=16,
        stage_channels=(16, 16, 16, 16), strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4),
        contract_dilation=True, norm_cfg=dict(type='BN'),
    )  # fmt: skip
    cfg.merge_from_dict({
        'work_dir': str(work_dir),
        'model.decode_head.in_channels': (16, 16, 16),
        'model.decode_head.pool_channels': 8,
        'model.decode_head.up_channels': (8, 8, 4),
        'optim_wrapper.type': 'OptimWrapper',
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_dataloader.dataset.pipeline.2.size': 48,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'val_evaluator.type': 'RefinementMetric',
        'default_hooks.logger.interval': 1,
        'vis_backends': [dict(type='LocalVisBackend')],
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
        'env_cfg.mp_cfg.opencv_num_threads': 1,
        'log_level': 'WARNING',
        **changes,
    })  # fmt: skip
    cfg.default_hooks.pop('pictures', None)
    return cfg.to_dict()


@HOOKS.register_module()
class NoiseHook(Hook):
    """Noise on a weight: randomness of the process that trains, as dropout is."""

    def before_train_iter(self, runner, **kwargs) -> None:
        weight = next(runner.model.parameters())
        weight.data += 1e-3 * torch.randn(weight.shape)


@HOOKS.register_module()
class RecordHook(Hook):
    """Losses of the iterations and metrics of the last validation, as files of the work dir."""

    def __init__(self) -> None:
        self.losses = []

    def after_train_iter(self, runner, outputs=None, **kwargs) -> None:
        self.losses.append(float(outputs['loss']))

    def after_train(self, runner) -> None:
        self._save(runner, 'losses', self.losses)

    def after_val_epoch(self, runner, metrics=None) -> None:
        self._save(runner, 'metrics', metrics)

    def _save(self, runner, name, what) -> None:
        torch.save(what, Path(runner.work_dir) / f'{name}_{runner.rank}.pt')


@HOOKS.register_module()
class KillHook(Hook):
    """SIGKILL to its own process.

    Args:
        iteration: before this one; None: at none.
        saving: when half of the file of this name is written.
    """

    def __init__(self, iteration: int | None = None, saving: str | None = None) -> None:
        self.iteration, self.saving = iteration, saving

    def before_train(self, runner) -> None:
        if self.saving is None:
            return
        sync = os.fsync

        def cut(file: int) -> None:
            if self.saving in os.readlink(f'/proc/self/fd/{file}'):
                os.ftruncate(file, os.fstat(file).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            sync(file)

        os.fsync = cut

    def before_train_iter(self, runner, **kwargs) -> None:
        if runner.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


def train(config: dict, processes: int = 1) -> list[int]:
    """Train in so many processes; their exit codes."""
    # Forked from a server that has imported everything and has no threads.
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmseg_cascadepsp.models'])
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE=str(processes))
    config = dict(config, launcher='pytorch' if processes > 1 else 'none')
    started = []
    for rank in range(processes):
        ranked = dict(environment, RANK=str(rank), LOCAL_RANK=str(rank))
        task = (__file__, dict(CONFIG=config, ENVIRONMENT=ranked), IN_A_PROCESS)
        started.append(context.Process(target=runpy.run_path, args=task))
        started[-1].start()
    for process in started:
        process.join(600)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in started]


if __name__ == IN_A_PROCESS:
    os.environ.update(ENVIRONMENT)  # noqa: F821
    os.makedirs(CONFIG['work_dir'], exist_ok=True)  # noqa: F821
    os.chdir(CONFIG['work_dir'])  # noqa: F821  metrics of several processes meet in a folder here
    torch.set_num_threads(1)
    cfg = Config(CONFIG)  # noqa: F821
    prepare_processes(cfg)
    Runner.from_cfg(cfg).train()
