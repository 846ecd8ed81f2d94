"""configs/cascadepsp_r50.py as a user runs it: on a miniature of the paper's sets, and without
them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS
from mmseg_cascadepsp.datasets.preparation import prepare
from tests.chaining import write_objects
from tests.test_datasets.archives import write_archives

ROOT = Path(__file__).parents[2]


def train(work_dir, *options, config='cascadepsp_r50', data=None):
    command = [sys.executable, 'tools/train.py', f'configs/{config}.py', '--seed', '0']
    command += ['--work-dir', str(work_dir)]
    command += ['--cfg-options', *options] if options else []
    env = {key: value for key, value in os.environ.items() if key != 'MMSEG_CASCADEPSP_DATA'}
    if data is not None:
        env['MMSEG_CASCADEPSP_DATA'] = str(data)
    return subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, timeout=1500)


@pytest.mark.slow
def test_the_papers_network_on_a_miniature_of_its_data(tmp_path):
    prepare([write_archives(tmp_path / 'in')], tmp_path / 'data')
    write_objects(tmp_path / 'data/voc_relabelled', ['2007_000033_01'], suffix='_im.png')
    crops = [f'train_dataloader.dataset.datasets.{i}.pipeline.2.size=48' for i in range(5)]
    result = train(
        tmp_path / 'work',
        *crops,
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.logger.interval=1',
        'default_hooks.pictures.interval=1',
        'model.backbone.init_cfg=None',
        data=tmp_path / 'data',
    )
    text = result.stdout + result.stderr
    assert result.returncode == 0, text[-3000:]
    losses = [float(v) for v in re.findall(r'Iter\(train\).* loss: ([\d.]+)', text)]
    assert len(losses) == 2 and all(0 < loss < 1e4 for loss in losses)
    assert re.search(r'Iter\(val\) \[1/1\].* IoU_before: ', text)
    assert 'MSRA-10K has 3 pairs' in text
    assert list((tmp_path / 'work').glob('best_mBA_iter_2.pth'))
    assert len(list((tmp_path / 'work').rglob('cascade_*.png'))) == 2


@pytest.mark.slow
def test_without_the_data(tmp_path):
    result = train(tmp_path / 'work', config='cascadepsp_r50_release')
    assert result.returncode != 0 and 'Traceback' not in result.stderr
    for training_set in TRAINING_SETS.values():
        line = f'data/{training_set.folder}: {training_set.title}, {training_set.count:,} pairs'
        assert f'{line}; download {training_set.how_to_get}' in result.stderr
    assert 'prepare_training_data.py FOLDER --data-root data' in result.stderr
