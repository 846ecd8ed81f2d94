"""Configs of chained models: each runs on a tiny set in the right layout, before and after."""

import math
import re

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmseg_cascadepsp.cli import chaining
from mmseg_cascadepsp.cli.configs import read_config
from tests.chaining import (
    ROOT,
    SMALL_RUN,
    narrow_options,
    write_ade20k,
    write_checkpoint,
    write_cityscapes,
    write_objects,
    write_refiner,
)

SHIPPED = ROOT / 'configs' / 'deeplabv3plus_refined_persons-cats-horses.py'
CONFIGS = sorted(set((ROOT / 'configs').glob('*_refined_*.py')) - {SHIPPED})
MODELS = ('deeplabv3plus', 'encnet', 'fcn', 'pspnet')
SETS = {
    'ade20k': (write_ade20k, ('mIoU', 'mBA', 'BoundaryIoU')),
    'big': (lambda root: write_objects(root, ['a_tv', 'b_person']), ('IoU', 'mBA')),
    'cityscapes': (write_cityscapes, ('mIoU', 'mBA', 'BoundaryIoU')),
    'voc_relabelled': (
        lambda root: write_objects(root, ['2007_000033_01'], suffix='_im.png'),
        ('IoU', 'mBA'),
    ),
}


@pytest.fixture(scope='module')
def refiner(tmp_path_factory):
    return write_refiner(tmp_path_factory.mktemp('refiner'))


def test_all_are_there():
    assert {path.stem for path in CONFIGS} == {f'{m}_refined_{s}' for m in MODELS for s in SETS}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_runs(path, refiner, tmp_path):
    model, _, name = path.stem.partition('_refined_')
    write, scores = SETS[name]
    config, weights = refiner
    options = {
        **SMALL_RUN,
        **narrow_options(model, 'model.segmentor'),
        'model.refiner': str(config),
        'model.refiner_checkpoint': str(weights),
        'model.strategy.L': 96,
    }
    if name in ('ade20k', 'cityscapes'):
        options['model.strategy.min_size'] = 64
    cfg = read_config(str(path), options)
    cfg.work_dir = str(tmp_path / 'work')
    chaining.chain(cfg)
    chaining.check_data(cfg, str(write(tmp_path / 'data')))
    cfg.load_from = str(write_checkpoint(cfg.model.segmentor, tmp_path / 'segmentor.pth'))
    metrics = chaining.run_test(cfg)
    for score in scores:
        before, after, gain = (metrics[f'{score}{end}'] for end in ('_before', '', '_gain'))
        if not math.isnan(gain):
            assert 0 <= before <= 100 and 0 <= after <= 100
            assert gain == pytest.approx(after - before)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_names_public_weights_of_its_own_model(path):
    cfg = Config.fromfile(path)
    model, _, name = path.stem.partition('_refined_')
    assert cfg.data_help.endswith('(docs/chaining.md)')
    if model == 'encnet' and name in ('big', 'voc_relabelled'):
        assert cfg.load_from is None  # MMSeg has none
        with pytest.raises(ValueError, match='names none in load_from, so give one'):
            chaining.find_checkpoint(cfg)
        return
    pattern = r'https://download.openmmlab.com/.*/(\w+?)_r(\d+)-d8_.*-[0-9a-f]{8}\.pth'
    found = re.fullmatch(pattern, cfg.load_from)
    assert found[1] == model and int(found[2]) == cfg.model.segmentor.backbone.depth
    trained_on = 'voc12aug' if name in ('big', 'voc_relabelled') else name
    assert trained_on in cfg.load_from


def test_shipped_chain_runs_without_download(tmp_path):
    """Its own weights, on sets side by side."""
    photo, masks = write_scene_of_the_cat()
    for name in Config.fromfile(SHIPPED).class_of_set:
        for kind, picture in (('images', photo), ('masks', masks[name == 'feral_cats'])):
            folder = tmp_path / 'val' / name / kind
            folder.mkdir(parents=True)
            assert cv2.imwrite(str(folder / 'a.png'), picture)
    cfg = read_config(
        str(SHIPPED),
        {'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False},
    )
    cfg.work_dir = str(tmp_path / 'work')
    chaining.chain(cfg)
    chaining.check_data(cfg, str(tmp_path / 'val'))
    cfg.load_from = chaining.find_checkpoint(cfg)
    metrics = chaining.run_test(cfg)
    assert metrics['mIoU'] > 10
    assert metrics['mIoU_gain'] == pytest.approx(metrics['mIoU'] - metrics['mIoU_before'])


def write_scene_of_the_cat():
    """A real photo of a cat, small, BGR, with an empty mask and its true one."""
    data = pytest.importorskip('skimage.data')
    mask = cv2.imread(str(ROOT / 'demo' / 'masks' / 'true' / 'chelsea.png'), 0)
    photo = cv2.resize(data.chelsea()[..., ::-1], None, fx=0.5, fy=0.5)
    mask = cv2.resize(mask, photo.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return photo, (np.zeros_like(mask), mask)
