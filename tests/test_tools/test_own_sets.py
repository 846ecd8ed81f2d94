"""tools/test.py on sets that people make: what MMSegmentation runs alone runs with a refiner."""

import sys

import cv2
import numpy as np
import pytest

from mmseg_cascadepsp.cli import test
from mmseg_cascadepsp.cli.running import run
from tests.chaining import (
    encoder_decoder,
    fcn_head,
    red_disc,
    write_checkpoint,
    write_picture,
    write_refiner,
)

CONFIG = """
{header}
model = {model}
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]
plain = dict(type='BaseSegDataset', data_root='{root}', pipeline=pipeline,
             data_prefix=dict(img_path='photos', seg_map_path='truths'))
plain.update({dataset})
test_dataloader = dict(batch_size=1, num_workers=0, dataset={wrapper},
                       sampler=dict(type='DefaultSampler', shuffle=False))
test_evaluator = {evaluator}
test_cfg = dict(type='TestLoop')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
visualizer = dict(type='SegLocalVisualizer', name='{name}')
{more}
"""
THREE = "metainfo=dict(classes=('background', 'cat', 'dog'))"
DEFAULTS = dict(
    header="default_scope = 'mmseg'",
    model=encoder_decoder(3),
    dataset=f'dict({THREE})',
    wrapper='plain',
    evaluator="dict(type='IoUMetric')",
    truth=lambda disc: disc * 2,
    more='',
)
ONE = "dict(metainfo=dict(classes=('cat',)))"
SETS = {
    'no palette': {},
    'a palette': dict(dataset=f'dict({THREE[:-1]}, palette=[[0, 0, 0], [9, 9, 9], [1, 2, 3]]))'),
    'its own ignore_index': dict(
        dataset=f'dict({THREE}, ignore_index=3)', truth=lambda disc: np.where(disc, 3, 1)
    ),
    'one class, sigmoid': dict(
        dataset=ONE,
        model=encoder_decoder(decode_head=fcn_head(1, out_channels=1, threshold=0.5)),
        truth=lambda disc: disc * 1,
    ),
    'one class and the background as one output': dict(
        dataset=ONE,
        model=encoder_decoder(decode_head=fcn_head(2, out_channels=1, threshold=0.5)),
        truth=lambda disc: disc * 1,
    ),
    'one class of softmax': dict(
        dataset=ONE, model=encoder_decoder(1), truth=lambda disc: np.where(disc, 0, 255)
    ),
    'reduce_zero_label': dict(
        dataset=f'dict({THREE}, reduce_zero_label=True)', truth=lambda disc: disc * 2 + 1
    ),
    'names of another number': dict(model=encoder_decoder(5)),
    'more names than a class of the model': dict(model=encoder_decoder(2)),
    'repeated': dict(wrapper="dict(type='RepeatDataset', dataset=plain, times=1)"),
    'joined': dict(wrapper="dict(type='ConcatDataset', datasets=[plain])"),
    'an evaluator': dict(evaluator="dict(type='Evaluator', metrics=[dict(type='IoUMetric')])"),
    'several metrics': dict(
        evaluator="[dict(type='IoUMetric'), dict(type='IoUMetric', prefix='again')]"
    ),
    'truths are left out': dict(
        evaluator="dict(type='IoUMetric', format_only=True, output_dir='{root}/formatted')",
    ),
    'another scope': dict(
        header="default_scope = 'mmengine'", model=encoder_decoder(3, _scope_='mmseg')
    ),
    'hooks that are None': dict(more='default_hooks = None\ncustom_hooks = None'),
    'SyncBN': dict(
        model=encoder_decoder(decode_head=fcn_head(3) | dict(norm_cfg=dict(type='SyncBN')))
    ),
}
FILES = ('--out', 'out', '--show-dir', 'show')
#: Sets that test-time augmentation treats in a way of their own.
AUGMENTED = ('no palette', 'one class, sigmoid', 'repeated', 'joined', 'another scope')


def scoped(text):
    """A config whose types all name MMSegmentation's registry."""
    for name in ('Load', 'Pack', 'BaseSeg', 'IoUMetric', 'TestTimeAug', 'RandomFlip', 'SegLocal'):
        text = text.replace(f"type='{name}", f"type='mmseg.{name}")
    return text


@pytest.fixture
def run_on(tmp_path, monkeypatch, capfd):
    """Run tools/test.py with a refiner on a set of SETS: the status and what it said."""

    def run_it(name, options):
        entries = DEFAULTS | SETS[name]
        truth = entries.pop('truth')
        photo, disc, _ = red_disc((48, 64), (24, 30), 12)
        write_picture(tmp_path / 'photos/a.jpg', photo)
        write_picture(tmp_path / 'truths/a.png', truth(disc).astype(np.uint8))
        model = entries['model']
        weights = write_checkpoint(model, tmp_path / 'segmentor.pth')
        entries['model'] = model.to_dict()
        entries['evaluator'] = entries['evaluator'].replace('{root}', str(tmp_path))
        # Visualizers of one name are one in a process.
        text = CONFIG.format(root=tmp_path, name=tmp_path.name, **entries)
        if 'mmengine' in entries['header']:
            text = scoped(text)
        (tmp_path / 'my.py').write_text(text)
        command = [str(tmp_path / 'my.py'), str(weights), '--work-dir', str(tmp_path / 'work')]
        config, refiner = write_refiner(tmp_path)
        command += ['--refiner', str(config), '--refiner-checkpoint', str(refiner), *options]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', ['test.py', *command])
        status = run(test.main, 'test.py', command)
        said = capfd.readouterr()
        return status, said.out + said.err

    return run_it


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'augmented'),
    [(name, False) for name in SETS] + [(name, True) for name in AUGMENTED],
)
def test_it_runs_with_a_refiner(run_on, tmp_path, name, augmented):
    status, said = run_on(name, (*FILES, '--tta') if augmented else FILES)
    assert status == 0, said
    if name != 'truths are left out':
        assert 'BoundaryIoU' in said and 'difference' in said
    assert cv2.imread(str(tmp_path / 'out/a.png'), cv2.IMREAD_UNCHANGED).shape == (48, 64)
    assert (tmp_path / 'show/a.jpg').exists()
