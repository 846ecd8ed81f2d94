"""A refiner behind MMSeg's own configs, which nobody edited."""

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmseg.registry import MODELS

from mmseg_cascadepsp.cli import chaining
from mmseg_cascadepsp.cli.configs import read_config
from mmseg_cascadepsp.models.refiner import zoo as model_zoo
from tests.chaining import red_disc, write_picture

CONFIGS = [
    'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512.py',
    'pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py',
    'fcn/fcn_r50-d8_4xb4-40k_voc12aug-512x512.py',
    'encnet/encnet_r50-d8_4xb4-80k_ade20k-512x512.py',
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'upernet/upernet_r50_4xb4-40k_voc12aug-512x512.py',
]


@pytest.fixture(scope='module')
def lite(tmp_path_factory):
    """The network of ``lite``; what it has learnt does not matter here."""
    path = tmp_path_factory.mktemp('lite') / 'lite.pth'
    torch.manual_seed(0)
    torch.save(model_zoo.build_model('lite')[0].state_dict(), path)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=lambda config: config.partition('/')[0])
def test_chains_with_the_lite_refiner(config, lite, tmp_path):
    cfg = read_config(f'mmseg::{config}')
    chaining.chain(cfg, 'lite', lite, dict(type='auto', L=96))
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).eval()
    model.dataset_meta = dict(classes=tuple(map(str, range(model.num_classes))))
    photo = red_disc((64, 96))[0]
    write_picture(tmp_path / 'photo.png', photo)
    steps = [step for step in cfg.test_pipeline if step['type'] != 'LoadAnnotations']
    for step in steps:
        if step['type'] == 'Resize':
            step['scale'] = (96, 64)
    data = Compose(steps)(dict(img_path=str(tmp_path / 'photo.png')))
    with torch.no_grad():
        (sample,) = model.test_step({key: [value] for key, value in data.items()})
    for key in ('pred_sem_seg', 'pred_sem_seg_coarse'):
        labels = sample.get(key).data
        assert labels.shape == (1, 64, 96) and not labels.is_floating_point()
        assert 0 <= labels.min() and labels.max() < model.num_classes
    assert np.isin(sample.pred_sem_seg.data, sample.pred_sem_seg_coarse.data).all()
