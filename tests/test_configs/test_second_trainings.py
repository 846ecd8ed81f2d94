"""The trainings that went on from earlier ones, whose mean is shipped."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from mmseg_cascadepsp.models.refiner.checkpoint import load_weights, read_state_dict
from mmseg_cascadepsp.models.refiner.zoo import find_weights
from tests.training import write_data


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of pairs and street frames beside it, with two cars."""
    write_data(tmp_path)
    for kind in ('images', 'annotations'):
        (tmp_path / 'camvid' / kind / 'train').mkdir(parents=True)
    labels = np.full((120, 160), 3, np.uint8)
    labels[30:90, 20:60] = labels[30:90, 90:130] = 8
    for i in range(3):
        photo = np.random.RandomState(i).randint(0, 90, (120, 160, 3)) + 20 * labels[..., None]
        cv2.imwrite(str(tmp_path / f'camvid/images/train/{i}.jpg'), photo.clip(0, 255))
        cv2.imwrite(str(tmp_path / f'camvid/annotations/train/{i}.png'), labels)
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', str(tmp_path))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    'name, count, weight',
    [('compositions', 9, 1), ('boundary', 6, 4), ('detail', 9, 4), ('half_open', 9, 3)],
)
def test_it_goes_on_from_the_shipped_weights(data, name, count, weight):
    cfg = Config.fromfile(f'configs/cascadepsp_lite_{name}.py')
    cfg.model.backbone.init_cfg = None
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == count
    samples = [dataset[index] for index in range(0, count, 3)]
    assert {tuple(sample['inputs'].shape[1:]) for sample in samples} == {(288, 288)}
    model = MODELS.build(cfg.model)
    load_weights(model, read_state_dict(find_weights('lite')), 'lite', name)
    model.eval()
    batch = {key: [sample[key] for sample in samples[:2]] for key in ('inputs', 'data_samples')}
    with torch.no_grad():
        losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    values = {key: value.item() for key, value in losses.items() if 'loss' in key}
    assert len(values) == 3 + 2 * 2 + 2 and all(0 < value < 3 for value in values.values()), values
    assert model.decode_head.losses.s1[0].boundary_weight == weight
    assert cfg.param_scheduler[-1]['end'] >= cfg.train_cfg.max_iters == cfg.max_iters
