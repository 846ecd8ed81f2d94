"""Pairs in the layouts that users and the paper's sets have."""

import copy
import logging
import re
import shutil
import warnings
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from PIL import Image

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


def test_suffixes_are_those_of_the_tools(tmp_path):
    pair(tmp_path / 'images/a.ppm', tmp_path / 'masks/a.pgm')
    assert names(load(tmp_path, data_prefix=FOLDERS)) == ['a.ppm']


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
        *['a.jpg'] * 3,
        'a.png',
        'b.jpeg',
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


@pytest.mark.parametrize('kind', ['0/1', 'palette', 'cut-out', 'red', 'RGB', '1 bit', '16 bit'])
def test_masks_as_users_have_them(tmp_path, kind):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    truth = Compose(PIPELINE)(load(tmp_path)[0])['gt_seg_map']
    inside = truth > 0
    assert truth.shape == (20, 30) and inside.sum() == 98
    if kind == 'palette':
        picture = Image.fromarray(inside.astype(np.uint8) * 15, 'P')
        picture.putpalette([0] * 45 + [192, 128, 128])
    elif kind == 'cut-out':
        colours = np.random.RandomState(0).randint(0, 255, (20, 30, 3))
        picture = Image.fromarray(np.dstack((colours, truth)).astype(np.uint8), 'RGBA')
    else:
        picture = Image.fromarray({
            '0/1': inside.astype(np.uint8),
            'red': inside[..., None] * np.uint8([220, 0, 0]),
            'RGB': np.dstack([truth] * 3),
            '1 bit': inside,
            '16 bit': inside.astype(np.uint16) * 65535,
        }[kind])  # fmt: skip
    picture.save(tmp_path / 'a.png')
    results = Compose(PIPELINE)(load(tmp_path)[0])
    np.testing.assert_array_equal(results['gt_seg_map'], truth)


def test_masks_of_0_1_and_255_are_read_by_an_argument(tmp_path):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    inside = Compose(PIPELINE)(load(tmp_path)[0])['gt_seg_map'] > 0
    values = inside.astype(np.uint8)
    values[:3] = 255
    Image.fromarray(values).save(tmp_path / 'a.png')
    sample = load(tmp_path)[0]
    with pytest.raises(OSError, match='can be read as a mask .* and as a label map'):
        Compose(PIPELINE)(dict(sample))
    load_masks = dict(type='LoadMasks', mask_values=1, ignore=255, coarse_values='soft')
    Image.fromarray(inside * np.uint8(255)).save(tmp_path / 'coarse.png')
    sample['coarse_path'] = str(tmp_path / 'coarse.png')
    results = Compose([PIPELINE[0], load_masks])(sample)
    np.testing.assert_array_equal(results['gt_seg_map'], (values == 1) * 255)
    np.testing.assert_array_equal(results['coarse_mask'], inside * 255)
    with pytest.raises(ValueError, match='mask_values'):
        Compose([PIPELINE[0], dict(load_masks, mask_values='x')])


@pytest.mark.parametrize('orientation', [1, 3])
def test_photos_that_exif_turns_unseen_are_told(tmp_path, orientation):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(tmp_path / 'a.jpg').save(tmp_path / 'a.jpg', exif=exif)
    photo = dict(type='LoadPhoto')
    for changes, told in (({}, orientation > 1), ({'color_type': 'color_ignore_orientation'}, 0)):
        pipeline = Compose([dict(photo, **changes), PIPELINE[1]])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            for _ in range(2):  # once
                pipeline(load(tmp_path)[0])
        assert [f'{tmp_path}/a.jpg is turned' in str(each.message) for each in said] == [
            True
        ] * told


def test_photos_without_a_mask_are_counted(tmp_path):
    for name in ('a', 'b', 'c'):
        pair(tmp_path / f'images/{name}.jpg', tmp_path / f'masks/{name}.png')
    (tmp_path / 'masks/b.png').rename(tmp_path / 'masks/b_mask.png')
    logger = MMLogger.get_current_instance()
    with mock.patch.object(logger, 'log') as told:
        assert names(load(tmp_path, data_prefix=FOLDERS)) == ['a.jpg', 'c.jpg']
    ((level, text),) = (call.args for call in told.call_args_list)
    assert level == logging.WARNING
    assert re.search(r'1 of 3 photos have no mask .*first .*images/b\.jpg', text)
    assert re.search(r'1 of 3 masks have no photo .*first .*masks/b_mask\.png', text)


@pytest.mark.parametrize('second', ['images/a.png', 'masks/a.jpg', 'images/a.JPG'])
def test_two_files_of_a_stem_are_refused(tmp_path, second):
    pair(tmp_path / 'images/a.jpg', tmp_path / 'masks/a.png')
    shutil.copy(tmp_path / 'images/a.jpg', tmp_path / second)
    if len(list((tmp_path / second).parent.iterdir())) < 2:
        pytest.skip('a file system without upper case')
    with pytest.raises(ValueError, match=r'/a\.\w+ and .*/a\.\w+ have the same stem'):
        load(tmp_path, data_prefix=FOLDERS)


def test_crops_and_flips_move_given_coarse_masks_along(tmp_path):
    pair(tmp_path / 'images/a.jpg', tmp_path / 'masks/a.png', size=(90, 80))
    pair(tmp_path / 'x.jpg', tmp_path / 'coarse/a.png', size=(90, 80))
    pipeline = [
        *PIPELINE, dict(type='RandomZoomCrop', size=32, zoom=(0.5, 2), min_share=0.05),
        dict(type='RandomFlip', prob=0.5), dict(type='PerturbMask'),
    ]  # fmt: skip
    prefix = dict(**FOLDERS, coarse_path='coarse')
    info = load(tmp_path, data_prefix=prefix)[0]
    for _ in range(20):
        results = Compose(pipeline)(copy.deepcopy(info))
        np.testing.assert_array_equal(results['coarse_mask'], results['gt_seg_map'])


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
    with pytest.raises(OSError, match=r'a\.png is not an image .*30 bytes'):
        Compose(PIPELINE)(load(tmp_path)[0])


@pytest.mark.parametrize('content', [b'', b'<html>', None], ids=['empty', 'page', 'cut'])
def test_photos_that_cannot_be_read_are_named(tmp_path, content):
    pair(tmp_path / 'a.jpg', tmp_path / 'a.png')
    whole = (tmp_path / 'a.jpg').read_bytes()
    cfg = Config.fromfile('configs/cascadepsp_lite.py')
    for pipeline in (cfg.train_pipeline, cfg.val_pipeline):
        assert pipeline[0].type == 'LoadPhoto'
    load_photo = Compose(cfg.train_pipeline[:2])
    assert load_photo(load(tmp_path)[0])['img'].shape == (20, 30, 3)
    (tmp_path / 'a.jpg').write_bytes(whole[:200] if content is None else content)
    with pytest.raises(OSError, match=r'photo: .*a\.jpg cannot be read, it is empty, cut or no'):
        load_photo(load(tmp_path)[0])
    info = load(tmp_path)[0]
    (tmp_path / 'a.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'a\.jpg'):
        load_photo(info)
