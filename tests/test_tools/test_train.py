"""tools/train.py as a user runs it, on a handful of small photos."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmseg_cascadepsp.cli.running import run
from mmseg_cascadepsp.cli.train import main

ROOT = Path(__file__).parents[2]
SMALL = [
    'model.decode_head.pool_channels=8',
    'model.decode_head.up_channels=(8,8,4)',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'val_dataloader.num_workers=0',
    'model.test_cfg.L=96',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=2',
]
#: The network of a config, narrow. No width of a ResNet under 16: in PyTorch 2.13 on the CPU the
#: backward pass of a strided 1x1 convolution of 8 channels, channels-last, writes past its memory.
NARROW = {
    'cascadepsp_lite': [
        'model.backbone.init_cfg=None',
        'model.backbone.norm_eval=False',
        'model.backbone.out_channels=16',
        'model.decode_head.in_channels=(32,24,16)',
        'train_dataloader.dataset.pipeline.2.size=96',
    ],
    'cascadepsp_r50_photos': [
        'model.backbone.depth=18',
        'model.backbone.multi_grid=None',
        'model.backbone.stem_channels=16',
        'model.backbone.stage_channels=(16,16,16,16)',
        'model.decode_head.in_channels=(16,16,16)',
    ],
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Discs on noise, in the layout of the docs."""
    root = tmp_path_factory.mktemp('data')
    random = np.random.RandomState(0)
    y, x = np.mgrid[:120, :110]
    for split, count in (('train', 6), ('val', 2)):
        for i in range(count):
            mask = np.hypot(y - random.randint(40, 80), x - random.randint(40, 70)) < 30
            image = random.randint(0, 80, (120, 110, 3)) + 150 * mask[..., None]
            for folder, name, array in (
                ('images', f'{i}.jpg', image),
                ('masks', f'{i}.png', 255 * mask),
            ):
                (root / split / folder).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(root / split / folder / name), array.astype(np.uint8))
    return root


def train(data, work_dir, *args, iterations, config='cascadepsp_lite', options=()):
    command = [sys.executable, 'tools/train.py', f'configs/{config}.py', '--seed', '0', *args]
    command += ['--data-root', str(data), '--work-dir', str(work_dir), '--cfg-options']
    command += [f'train_cfg.max_iters={iterations}', f'train_cfg.val_interval={iterations}']
    command += [*SMALL, *NARROW[config], *options]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=500)


def log(result):
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.mark.slow
def test_trains_validates_and_resumes(data, tmp_path):
    text = log(train(data, tmp_path, iterations=4))
    losses = [float(v) for v in re.findall(r'Iter\(train\).* loss: ([\d.]+)', text)]
    assert len(losses) == 4 and all(np.isfinite(losses))
    metrics = re.findall(r'Iter\(val\) \[2/2\].*', text)[-1]
    for name in ('IoU', 'IoU_before', 'mBA', 'mBA_before'):
        assert f' {name}: ' in metrics
    checkpoint = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    assert {'state_dict', 'ema_state_dict', 'optimizer'} <= set(checkpoint)
    assert list(tmp_path.glob('best_mBA_iter_4.pth'))
    assert list(tmp_path.glob('**/events.out.tfevents*'))
    # A kill may have left the note of the last checkpoint empty.
    (tmp_path / 'last_checkpoint').write_text('')
    text = log(train(data, tmp_path, '--resume', iterations=6))
    assert 'resumed epoch: 0, iter: 4' in text
    assert len(re.findall(r'Iter\(train\)', text)) == 2
    assert (tmp_path / 'iter_6.pth').exists()
    # Nothing to go on from: the run begins from the weights of load_from, at 0.
    start = f'load_from={tmp_path / "iter_6.pth"}'
    text = log(train(data, tmp_path / 'new', '--resume', iterations=1, options=[start]))
    assert f'Load checkpoint from {tmp_path / "iter_6.pth"}' in text
    assert re.search(r'Iter\(train\) \[1/1\]', text) and 'resumed epoch' not in text


@pytest.mark.slow
def test_r50_without_its_imagenet_file(data, tmp_path):
    missing = f'model.backbone.init_cfg.checkpoint={tmp_path / "none.pth"}'
    result = train(data, tmp_path, iterations=1, config='cascadepsp_r50_photos', options=[missing])
    assert result.returncode != 0
    assert 'or start without it with model.backbone.init_cfg=None' in result.stderr
    text = log(
        train(
            data,
            tmp_path,
            iterations=1,
            config='cascadepsp_r50_photos',
            options=['model.backbone.init_cfg=None'],
        )
    )
    assert re.search(r'Iter\(train\) \[1/1\]', text)


@pytest.mark.slow
def test_data_that_is_not_there(tmp_path):
    result = train(tmp_path / 'none', tmp_path, iterations=1)
    assert result.returncode != 0
    assert re.search(r'there is no folder .*none/train.*--data-root', result.stderr)


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['configs/none.py'], 'train.py: config: there is no file configs/none.py'),
        (
            ['configs/cascadepsp_lite.py', '--resume', 'none.pth'],
            'train.py: --resume: there is no file none.pth',
        ),
        (
            ['configs/cascadepsp_lite.py', '--cfg-options', 'load_from=none.pth'],
            'train.py: load_from: there is no file none.pth, from which this training starts; '
            'where another config makes it, train that first (docs/training.md), or name one by '
            '--cfg-options load_from=FILE',
        ),
        (
            ['configs/cascadepsp_lite.py', '--amp'],
            'train.py: --amp: configs/cascadepsp_lite.py trains in bfloat16 already; leave it out',
        ),
        (
            ['configs/cascadepsp_r50.py', '--amp'],
            'train.py: --amp needs a GPU, and there is none; on a CPU give --cfg-options '
            'optim_wrapper.type=BFloat16OptimWrapper',
        ),
    ],
)
def test_what_is_not_there(args, words, capsys, monkeypatch):
    if 'needs a GPU' in words and torch.cuda.is_available():
        pytest.skip('there is one')
    monkeypatch.chdir(ROOT)
    assert run(main, 'train.py', args) == 1
    assert capsys.readouterr().err.splitlines()[-1] == words


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_launchers_without_arguments_say_how_they_are_used(name):
    command = ['bash', f'tools/{name}.sh', '--help']
    result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=100)
    assert result.returncode == 2
    assert result.stderr.startswith(f'usage: tools/{name}.sh ') and 'CONFIG' in result.stderr


@pytest.mark.slow
def test_a_short_training_without_validation(data, tmp_path):
    """No val/ is needed, and no setting but the number of iterations."""
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'train').symlink_to(data / 'train')
    command = [sys.executable, 'tools/train.py', 'configs/cascadepsp_lite.py', '--seed', '0']
    command += ['--data-root', str(tmp_path / 'photos'), '--work-dir', str(tmp_path / 'run')]
    command += ['--iters', '3', '--no-val', '--cfg-options', *SMALL, *NARROW['cascadepsp_lite']]
    text = log(subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=500))
    assert len(re.findall(r'Iter\(train\) \[[123]/3\]', text)) == 3 and 'Iter(val)' not in text
    assert (tmp_path / 'run' / 'iter_3.pth').exists()
