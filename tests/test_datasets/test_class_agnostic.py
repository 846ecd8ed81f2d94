"""Pairs in the layouts that users and the paper's sets have."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

from mmseg_cascadepsp.datasets import ClassAgnosticDataset

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadMasks')]
FOLDERS = dict(img_path='images', seg_map_path='masks')


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def pair(image, mask, value=255, size=(20, 30)):
    write(image, np.full((*size, 3), 90, np.uint8))
    truth = np.zeros(size, np.uint8)
    truth[5:12, 6:20] = value
    write(mask, truth)


def names(dataset):
    return [info['img_path'].rsplit('/', 1)[-1] for info in dataset]


def load(root, **kwargs):
    return ClassAgnosticDataset(data_root=str(root), pipeline=[], **kwargs)


def test_photo_beside_mask(tmp_path):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    pair(tmp_path / 'b.jpg', tmp_path / 'b.png')
    write(tmp_path / 'without.jpg', np.zeros((4, 4, 3), np.uint8))
    assert names(load(tmp_path)) == ['a.jpg', 'b.jpg']


def test_one_folder_per_class(tmp_path):
    for name in ('ant/1', 'ant/2', 'bee/1'):
        pair(tmp_path / f'{name}.jpg', tmp_path / f'{name}.png')
    dataset = load(tmp_path)
    assert len(dataset) == 3
    assert all(d['img_path'][:-4] == d['seg_map_path'][:-4] for d in dataset)


def test_two_folders_and_several_sets(tmp_path):
    pair(tmp_path / 'one/images/a.jpg', tmp_path / 'one/masks/a.png')
    pair(tmp_path / 'two/images/a.png', tmp_path / 'two/masks/a.png')
    pair(tmp_path / 'two/images/b.jpeg', tmp_path / 'two/masks/b.png')
    assert len(load(tmp_path / 'two', data_prefix=FOLDERS)) == 2
    assert names(load(tmp_path, data_prefix=FOLDERS)) == ['a.jpg', 'a.png', 'b.jpeg']
    assert names(load(tmp_path, data_prefix=FOLDERS, repeat=dict(one=3))) == [
        *['a.jpg'] * 3, 'a.png', 'b.jpeg'
    ]


def test_coarse_masks_choose_the_photos(tmp_path):
    pair(tmp_path / 'images/a.jpg', tmp_path / 'masks/a.png')
    pair(tmp_path / 'images/b.jpg', tmp_path / 'masks/b.png', value=200)
    pair(tmp_path / 'x.jpg', tmp_path / 'coarse/b.png', value=130)
    dataset = load(tmp_path, data_prefix=dict(**FOLDERS, coarse_path='coarse'))
    assert names(dataset) == ['b.jpg']
    results = Compose(PIPELINE)(dataset[0])
    assert set(np.unique(results['coarse_mask'])) == {0, 255}
    assert set(np.unique(results['gt_seg_map'])) == {0, 200}


def test_palette_and_colour_masks_are_read_as_grey(tmp_path):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    write(tmp_path / 'a.png', np.full((20, 30, 3), 255, np.uint8))
    results = Compose(PIPELINE)(load(tmp_path)[0])
    assert results['gt_seg_map'].shape == (20, 30)
    assert (results['gt_seg_map'] == 255).all()


def test_pack_keeps_soft_masks_and_size(tmp_path):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png', value=128)
    pipeline = [*PIPELINE, dict(type='PerturbMask', seed=0), dict(type='PackRefinementInputs')]
    packed = ClassAgnosticDataset(data_root=str(tmp_path), pipeline=pipeline)[0]
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 20, 30)
    for value in (sample.gt_sem_seg.data, sample.coarse_mask.data):
        assert value.shape == (1, 20, 30) and value.dtype == torch.uint8
    assert sample.gt_sem_seg.data.max() == 128


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no folder .*none.*--data-root'):
        load(tmp_path / 'none')


def test_folder_without_pairs(tmp_path):
    write(tmp_path / 'images/a.jpg', np.zeros((4, 4, 3), np.uint8))
    write(tmp_path / 'masks/b.png', np.zeros((4, 4), np.uint8))
    with pytest.raises(FileNotFoundError, match='holds no photo with a partner'):
        load(tmp_path, data_prefix=FOLDERS)


def test_mask_of_another_size(tmp_path):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    write(tmp_path / 'a.png', np.zeros((10, 10), np.uint8))
    with pytest.raises(ValueError, match=r'a\.png is \(10, 10\).*a\.jpg is \(30, 20\)'):
        Compose(PIPELINE)(load(tmp_path)[0])


def test_truncated_mask(tmp_path):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    (tmp_path / 'a.png').write_bytes((tmp_path / 'a.png').read_bytes()[:30])
    with pytest.raises(OSError, match=r'a\.png cannot be read'):
        Compose(PIPELINE)(load(tmp_path)[0])
