"""The trainings that went on from earlier ones, whose mean is shipped, and the one for a GPU."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from mmseg_cascadepsp.cli.running import run
from mmseg_cascadepsp.cli.train import main
from mmseg_cascadepsp.engine import PlaceSeededDataset
from mmseg_cascadepsp.engine.resumable import SampleIndex
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
    [
        ('compositions', 9, 1),
        ('boundary', 6, 4),
        ('detail', 9, 4),
        ('half_open', 9, 3),
        ('good_masks', 9, 3),
    ],
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


def test_the_gpu_recipe_takes_streets_where_they_are(data, tmp_path, monkeypatch):
    def sources():
        return Config.fromfile('configs/cascadepsp_lite_gpu.py').train_dataloader.dataset.dataset

    assert [one.type for one in sources().datasets] == [
        'ClassAgnosticDataset',
        'LabelMapObjectsDataset',
    ]
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', str(tmp_path / 'elsewhere'))
    assert [one.type for one in sources().datasets] == ['ClassAgnosticDataset']


def test_samples_of_the_gpu_recipe_are_those_of_their_places(data):
    """Every kind of coarse mask, the true one among them; the same again for the same place."""
    cfg = Config.fromfile('configs/cascadepsp_lite_gpu.py').train_dataloader
    for source in cfg.dataset.dataset.datasets:
        source.pipeline[2].size = 96
    dataset = PlaceSeededDataset(cfg.dataset)
    drawn = [dataset[SampleIndex(place % 9, 0, place)] for place in range(60)]
    kinds = set()
    for sample in drawn:
        assert sample['inputs'].shape == (3, 96, 96)
        truth, coarse = (
            getattr(sample['data_samples'], name).data for name in ('gt_sem_seg', 'coarse_mask')
        )
        assert 0 < (truth > 127).float().mean() < 1
        same, values = torch.equal((truth > 127) * 255, coarse), set(coarse.unique().tolist())
        kinds.add('true' if same else 'open' if 127 in values else 'coarse')
    assert kinds == {'true', 'open', 'coarse'}
    again = dataset[SampleIndex(7, 0, 7)]
    assert torch.equal(again['inputs'], drawn[7]['inputs'])


@pytest.mark.slow
def test_the_gpu_recipe_trains_in_small(data, tmp_path, monkeypatch):
    """On a CPU, from random weights of a narrow network: all of the recipe but its size."""
    size = [f'train_dataloader.dataset.dataset.datasets.{i}.pipeline.2.size=64' for i in (0, 1)]
    narrow = [
        'model.backbone.init_cfg=None',
        'model.backbone.out_channels=16',
        'model.decode_head.in_channels=(32,24,16)',
        'model.decode_head.pool_channels=8',
        'model.decode_head.up_channels=(8,8,4)',
        'model.test_cfg.steps=global',
        'model.test_cfg.L=66',
        'train_cfg.val_interval=8000',
        'default_hooks.checkpoint.interval=9000',
        'train_dataloader.batch_size=4',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_dataloader.prefetch_factor=None',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
    ]
    work_dir = tmp_path / 'run'
    call = ['configs/cascadepsp_lite_gpu.py', f'--data-root={data}', f'--work-dir={work_dir}']
    call += ['--seed=0', '--iters=3', '--cfg-options', *narrow, *size]
    assert run(main, 'train.py', call) == 0
    state = torch.load(work_dir / 'iter_3.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    # The norms of the backbone learn their statistics.
    assert (state['backbone.stem.bn.running_mean'] != 0).any()
