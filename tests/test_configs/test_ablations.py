"""The ablations: what each config leaves out, and the script that trains, measures and resumes."""

import subprocess
import sys

import cv2
import pytest
import torch
from mmengine.config import Config

from mmseg_cascadepsp.models.refiner.zoo import build_model
from tests.training import ROOT, write_data

CONFIGS = ROOT / 'configs/ablations'
LOSSES = {
    'ce': {'CrossEntropyLoss'},
    'l1l2': {'L1L2Loss'},
    'gradient': {'L1L2Loss', 'GradientLoss'},
    'both': {'CrossEntropyLoss', 'L1L2Loss'},
}


@pytest.mark.parametrize(
    ('name', 'strides', 'losses', 'passes'),
    [
        ('final', (8, 4, 1), ('ce', 'both', 'gradient'), 3),
        ('plain_fcn', (8,), ('ce',), 1),
        ('os1_only', (1,), ('gradient',), 1),
        ('os8_os1', (8, 1), ('ce', 'gradient'), 2),
        ('ce_only', (8, 4, 1), ('ce', 'ce', 'ce'), 3),
        ('l1l2_only', (8, 4, 1), ('l1l2', 'l1l2', 'l1l2'), 3),
        ('without_gradient', (8, 4, 1), ('ce', 'both', 'l1l2'), 3),
    ],
)
def test_what_is_left(name, strides, losses, passes):
    model, _ = build_model(str(CONFIGS / f'{name}.py'))
    head = model.decode_head
    assert tuple(model.cascade_strides) == strides
    assert len(head.ups) == (0 if strides == (8,) else 3)
    for stride, kinds in zip(strides, losses, strict=True):
        assert {type(loss).__name__ for loss in head.losses[f's{stride}']} == LOSSES[kinds]
    outputs = model.eval()(torch.zeros(1, 4, 32, 32))
    assert len(outputs) == passes and set(outputs[-1]) == set(strides)
    truth = torch.zeros(1, 1, 32, 32)
    assert all(loss.isfinite() for loss in head.loss(outputs, truth).values())


def test_table_2_changes_inference_alone():
    final, *others = (
        Config.fromfile(CONFIGS / f'{name}.py') for name in ('final', 'global_only', 'local_only')
    )
    for cfg, change in zip(others, (dict(steps='global'), dict(steps='local')), strict=True):
        assert cfg.model.test_cfg == {**final.model.test_cfg, **change}
        cfg.model.test_cfg = final.model.test_cfg
        assert cfg.to_dict() == final.to_dict()


@pytest.mark.slow
def test_trains_measures_and_keeps_what_is_finished(tmp_path):
    data = write_data(tmp_path / 'data', val=2)
    own = data / 'val/discs'
    own.mkdir()
    for folder in ('images', 'masks'):
        (data / 'val' / folder).rename(own / folder)
    for path in (own / 'masks').iterdir():
        (own / 'coarse_simulated').mkdir(exist_ok=True)
        mask = cv2.dilate(cv2.imread(str(path)), None, iterations=4)
        cv2.imwrite(str(own / 'coarse_simulated' / path.name), mask)
    command = [
        sys.executable, ROOT / 'benchmarks/ablations.py', '--data-root', data, '--work-dir',
        tmp_path / 'work', '--only', 'os1_only,final,local_only', '--L', '66',
        '--markdown', tmp_path / 'table.md', '--cfg-options', 'train_cfg.max_iters=2',
        'optim_wrapper.type=OptimWrapper', 'model.backbone.init_cfg=None',
        'model.backbone.norm_eval=False', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'train_dataloader.batch_size=2',
        'train_dataloader.dataset.pipeline.2.size=64',
    ]  # fmt: skip
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    assert [run.stderr.count(f'training {name}\n') for name in ('os1_only', 'final')] == [1, 1]
    lines = (tmp_path / 'table.md').read_text().splitlines()
    assert '\n'.join(lines) == run.stdout[run.stdout.index('Table 1') :].strip()
    assert 'simulated, 2 masks of IoU' in lines[2]
    assert [line.split('|')[1:3] for line in lines if '`' in line] == [
        [' With OS1 only (`os1_only`) ', ' +1.63 / +9.81 '],
        [' Ours - final (`final`) ', ' +1.88 / +10.40 '],
        [' Local step only (`local_only`) ', ' +1.70 / +12.10 '],
        [' Both steps (`final`) ', ' +2.36 / +14.70 '],
    ]
    again = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert again.stdout.endswith(run.stdout[run.stdout.index('Table 1') :])
    assert 'training' not in again.stderr and 'measuring' not in again.stderr
