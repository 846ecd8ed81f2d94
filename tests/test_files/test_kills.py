"""Folders and large photos whose runs are killed at random moments and started again.

KILLS=50 does it as often as a release asks for. Trainings and annotation sets are killed in their
own tests.
"""

import multiprocessing
import os
import random
import runpy
import time

import numpy as np
import pytest
import torch

from mmseg_cascadepsp.apis import Refiner, refine_files
from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.files import read_mask, write_png

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


def refine(folder, out, options):
    """One run over the photos and masks of a folder."""
    refiner = Refiner(Slow(), L=96, crop_filter='all', steps='both')
    report = refine_files(refiner, folder / 'photos', folder / 'masks', out, **options)
    assert not report.failed, report.failed


def start(*arguments):
    """The same in a process of its own, forked from a server that has imported everything."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmseg_cascadepsp.models'])
    arguments = (__file__, dict(ARGUMENTS=arguments), IN_A_PROCESS)
    process = context.Process(target=runpy.run_path, args=arguments)
    process.start()
    return process


def contents(folder):
    """Every file, also hidden ones, and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    'options',
    [{'extras': ('probability', 'overlay')}, {'windowed': True, 'extras': ('probability',)}],
    ids=['folder', 'rows'],
)
def test_killed_at_random_moments(tmp_path, options):
    for i in range(5):
        photo = np.random.default_rng(i).integers(0, 256, (150, 130 + i, 3), np.uint8)
        write_png(tmp_path / 'photos' / f'{i}.png', photo)
        mask = np.zeros(photo.shape[:2], np.uint8)
        mask[30:110, 20 : 90 + i] = 255
        write_png(tmp_path / 'masks' / f'{i}.png', mask)
    for name in ('first', 'whole'):  # for the first one the server has to start
        began = time.perf_counter()
        process = start(tmp_path, tmp_path / name, options)
        process.join(300)
        seconds = time.perf_counter() - began
        assert process.exitcode == 0
    assert contents(tmp_path / 'first') == contents(tmp_path / 'whole')
    whole = contents(tmp_path / 'whole')
    chance, killed, rounds = random.Random(int(os.environ.get('SEED', 1))), 0, 0
    while killed < int(os.environ.get('KILLS', 4)):
        out, rounds = tmp_path / f'out{rounds}', rounds + 1
        while True:
            process = start(tmp_path, out, options)
            process.join(chance.uniform(0.2, 1) * seconds)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            killed += 1
            for path in out.glob('*.png') if out.exists() else ():
                assert read_mask(path).shape[0] == 150  # what is there is whole
        assert process.exitcode == 0
        assert contents(out) == whole


if __name__ == IN_A_PROCESS:
    torch.set_num_threads(1)
    refine(*ARGUMENTS)  # noqa: F821
