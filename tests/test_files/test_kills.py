"""Runs over folders and large photos, trainings and tests that are killed at random moments and
started again.

KILLS=50 does it as often as a release asks for, of each kind, and SEED=2 at other moments.
Annotation sets are killed in their own tests.
"""

import contextlib
import io
import multiprocessing
import os
import random
import re
import runpy
import time

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_cascadepsp.apis import Refiner, refine_files
from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.cli import test as test_command
from mmseg_cascadepsp.engine.processes import prepare_processes
from mmseg_cascadepsp.files import read_labels, read_mask, write_png

#: Name of this module in the processes that are killed.
IN_A_PROCESS = '__killed__'


class Slow(Network):
    """A network that finds nearly what the mask says and takes its time."""

    def normalize(self, image):
        return image.float() / 255

    def for_image(self, image):
        def run(masks, strides):
            time.sleep(0.005)
            return dict.fromkeys(strides, 3 * masks[:, :1] + image[:, :1] - 0.5)

        return run


def contents(folder):
    """Every file, also hidden ones, and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def leaves(values, name=''):
    """All tensors, as bytes, and other values of dicts and lists, by name."""
    if isinstance(values, dict):
        values = values.items()
    elif isinstance(values, list | tuple):
        values = enumerate(values)
    else:
        tensor = isinstance(values, torch.Tensor)
        yield name, (str(values.dtype), values.numpy().tobytes()) if tensor else values
        return
    for key, value in values:
        yield from leaves(value, f'{name}.{key}')


class Folder:
    """Photos and masks of a folder, whole.

    Everything but :meth:`run` is of the process of the test, where alone `tests` can be imported.
    """

    options = {'extras': ('probability', 'overlay')}  # noqa: RUF012
    results = staticmethod(contents)

    def __init__(self, root):
        self.root = root

    def prepare(self):
        for i in range(5):
            photo = np.random.default_rng(i).integers(0, 256, (150, 130 + i, 3), np.uint8)
            write_png(self.root / 'photos' / f'{i}.png', photo)
            mask = np.zeros(photo.shape[:2], np.uint8)
            mask[30:110, 20 : 90 + i] = 255
            write_png(self.root / 'masks' / f'{i}.png', mask)

    def arguments(self, out):
        return self.root / 'photos', self.root / 'masks', out, self.options

    @staticmethod
    def run(photos, masks, out, options):
        refiner = Refiner(Slow(), L=96, crop_filter='all', steps='both')
        report = refine_files(refiner, photos, masks, out, **options)
        assert not report.failed, report.failed

    def check_what_is_there(self, out):
        for path in out.glob('*.png') if out.exists() else ():
            assert read_mask(path).shape[0] == 150


class Rows(Folder):
    """The same, by rows."""

    options = {'windowed': True, 'extras': ('probability',)}  # noqa: RUF012


class Training:
    """A training of seconds, with validations and a best checkpoint."""

    def __init__(self, root):
        self.root = root

    def prepare(self):
        from tests.training import write_data

        write_data(self.root / 'data', val=1)

    def arguments(self, out):
        from tests.training import tiny_config

        out.mkdir(exist_ok=True)
        cfg = tiny_config(self.root / 'data', out, **{
            'max_iters': 6,
            'train_cfg.max_iters': 6,
            'train_cfg.val_interval': 2,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': 1,
            'custom_hooks': [dict(type='EMAHook', ema_type='MomentumAnnealingEMA')],
            'randomness.seed': 7,
            'resume': True,
        })  # fmt: skip
        return (cfg,)

    @staticmethod
    def run(cfg):
        cfg = Config(cfg)
        prepare_processes(cfg)
        Runner.from_cfg(cfg).train()

    def results(self, out):
        """All numbers of the checkpoints, and names of other files, but for those of a time."""
        names = [path.name for path in out.iterdir() if path.is_file()]
        found = {name: None for name in names if not re.match(r'\d{8}_\d{6}', name)}
        for path in out.glob('*.pth'):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
            for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
                for name, value in leaves(checkpoint.get(part)):
                    found[f'{path.name} {part}{name}'] = value
        return found

    def check_what_is_there(self, out):
        for path in out.glob('*.pth') if out.exists() else ():
            torch.load(path, map_location='cpu', weights_only=True)


class Test:
    """A segmentor and a refiner on a set, with label maps and pictures."""

    __test__ = False

    def __init__(self, root):
        self.root = root

    def prepare(self):
        from tests.chaining import (
            ADE20K_CONFIG,
            encoder_decoder,
            write_ade20k,
            write_checkpoint,
            write_refiner,
        )

        write_ade20k(self.root / 'ade', count=6)
        write_refiner(self.root)
        model = encoder_decoder(150)
        write_checkpoint(model, self.root / 'segmentor.pth')
        config = ADE20K_CONFIG.format(model=model.to_dict(), root=self.root)
        (self.root / 'config.py').write_text(config)

    def arguments(self, out):
        names = ('config.py', 'segmentor.pth', 'tiny_refiner.py', 'tiny_refiner.pth')
        config, weights, refiner, of_refiner = (str(self.root / name) for name in names)
        return [
            config, weights, '--refiner', refiner, '--refiner-checkpoint', of_refiner,
            '--strategy', 'scene', '--strategy-options', 'min_size=64', 'min_area=16',
            '--out', str(out / 'maps'), '--show-dir', str(out / 'pictures'),
            '--work-dir', f'{out}.work',
        ]  # fmt: skip

    @staticmethod
    def run(*arguments):
        with contextlib.redirect_stdout(io.StringIO()):
            assert test_command.main(list(arguments)) == 0

    results = staticmethod(contents)

    def check_what_is_there(self, out):
        for path in (out / 'maps').glob('*.png') if out.exists() else ():
            assert read_labels(path).shape == (48, 64)


KINDS = {'folder': Folder, 'rows': Rows, 'training': Training, 'test': Test}


def start(kind, arguments):
    """A run in a process of its own, forked from a server that has imported everything."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmseg_cascadepsp.models'])
    arguments = (__file__, dict(ARGUMENTS=(kind, arguments)), IN_A_PROCESS)
    process = context.Process(target=runpy.run_path, args=arguments)
    process.start()
    return process


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_killed_at_random_moments(tmp_path, kind):
    runs = KINDS[kind](tmp_path)
    runs.prepare()
    for name in ('first', 'whole'):  # for the first one the server has to start
        began = time.perf_counter()
        process = start(kind, runs.arguments(tmp_path / name))
        process.join(300)
        seconds = time.perf_counter() - began
        assert process.exitcode == 0
    whole = runs.results(tmp_path / 'whole')
    assert whole and runs.results(tmp_path / 'first') == whole
    chance, killed, rounds = random.Random(int(os.environ.get('SEED', 1))), 0, 0
    while killed < int(os.environ.get('KILLS', 4)):
        out, rounds = tmp_path / f'out{rounds}', rounds + 1
        while True:
            process = start(kind, runs.arguments(out))
            process.join(chance.uniform(0.2, 1.1) * seconds)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            killed += 1
            runs.check_what_is_there(out)  # is whole
        assert process.exitcode == 0
        assert runs.results(out) == whole
    print(f'{kind}: {killed} kills, {rounds} runs that ended as if never killed')


if __name__ == IN_A_PROCESS:
    torch.set_num_threads(1)
    kind, arguments = ARGUMENTS  # noqa: F821
    KINDS[kind].run(*arguments)
