"""BIG and the relabelled VOC: which files belong together, and of which class they are."""

import logging
import re
from unittest import mock

import numpy as np
import pytest
from mmengine.logging import MMLogger
from mmseg.registry import DATASETS

from mmseg_cascadepsp.datasets import BIGDataset, KeepOriginalImage, RelabelledVOCDataset
from tests.chaining import write_objects, write_picture

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32), keep_ratio=True),
    dict(type='LoadMasks'),
    dict(type='PackRefinedInputs'),
]


@pytest.mark.parametrize(
    ('stem', 'name'),
    [
        ('xv3_person_2', 'person'),
        ('Cat_in_a_bus_stop', 'bus'),  # the longer of two words
        ('k9qtvmonitor', 'tvmonitor'),
        ('tv_car7', 'car'),
        ('qcarx_tv', 'tvmonitor'),  # a word of its own before a part of one
        ('f00motorbike', 'motorbike'),
        ('scarf_12_dog', 'dog'),  # no car in a scarf
        ('two_cars_3', 'car'),
        ('Armchair-1', 'chair'),
        ('buses', 'bus'),
    ],
)
def test_class_in_the_name_of_big(stem, name):
    index = BIGDataset.object_class(BIGDataset, stem)
    assert BIGDataset.METAINFO['classes'][index] == name


@pytest.mark.parametrize('stem', ['scarf_12', 'catalog_1', 'personal', 'business_2'])
def test_names_inside_other_words_are_no_classes_of_big(stem):
    with pytest.raises(ValueError, match=stem):
        BIGDataset.object_class(BIGDataset, stem)


@pytest.mark.parametrize('stem', ['2007_000033', '2007_000033_00', '2007_000033_21', 'x_1'])
def test_names_that_tell_no_class(stem):
    for dataset in (BIGDataset, RelabelledVOCDataset):
        with pytest.raises(ValueError, match=stem):
            dataset.object_class(dataset, stem)


def test_samples(tmp_path):
    write_objects(tmp_path, ['2007_000033_01', 'sub/2007_000033_15'], suffix='_im.png')
    write_objects(tmp_path, ['2008_000001_02'])
    (tmp_path / '2008_000001_02_gt.png').unlink()  # a photo without truth is none of them
    dataset = DATASETS.build(
        dict(type='RelabelledVOCDataset', data_root=str(tmp_path), pipeline=PIPELINE)
    )
    assert len(dataset) == 2
    first = dataset[0]
    sample = first['data_samples']
    assert sample.object_class == 1 and dataset[1]['data_samples'].object_class == 15
    assert first['inputs'].shape == (3, 24, 32)
    truth = sample.gt_sem_seg.data
    assert truth.shape == (1, 48, 64) and set(truth.unique().tolist()) == {0, 255}


def test_upper_case_suffixes_and_photos_without_truth(tmp_path):
    write_objects(tmp_path, ['a_dog', 'b_cow', 'c_cat'])
    (tmp_path / 'a_dog_im.jpg').rename(tmp_path / 'a_dog_im.JPG')
    (tmp_path / 'b_cow_gt.png').rename(tmp_path / 'b_cow.png')
    with mock.patch.object(MMLogger.get_current_instance(), 'log') as told:
        dataset = BIGDataset(data_root=str(tmp_path))
        photos = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert [photo.rsplit('/', 1)[-1] for photo in photos] == ['a_dog_im.JPG', 'c_cat_im.jpg']
    ((level, text),) = (call.args for call in told.call_args_list)
    assert level == logging.WARNING
    assert re.search(r'1 of 3 photos have no mask .*first .*b_cow_im\.jpg', text)


def test_two_photos_of_a_stem_are_refused(tmp_path):
    write_objects(tmp_path, ['a_dog'])
    write_picture(tmp_path / 'a_dog_im.png', np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r'a_dog_im\.jpg and .*a_dog_im\.png have the same stem'):
        BIGDataset(data_root=str(tmp_path))


def test_coarse_masks_of_some_model(tmp_path):
    write_objects(tmp_path / 'test', ['a_dog', 'b_cow'])
    write_picture(tmp_path / 'psp/b_cow_seg.png', np.zeros((48, 64), np.uint8))
    pipeline = [PIPELINE[0], PIPELINE[2], dict(type='PackRefinementInputs')]
    dataset = BIGDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='test', coarse_path='psp'),
        pipeline=pipeline,
    )
    assert len(dataset) == 1
    sample = dataset[0]['data_samples']
    assert sample.img_path.endswith('b_cow_im.jpg') and not sample.coarse_mask.data.any()


def test_names_of_another_segmentor_s_classes(tmp_path):
    write_objects(tmp_path, ['a_dog', 'b_tv', 'c_person'])
    options = dict(data_root=str(tmp_path), aliases=dict(tvmonitor='screen'))
    dataset = BIGDataset(classes=('wall', 'screen', 'person'), **options)
    assert [dataset.get_data_info(i)['object_class'] for i in range(2)] == [1, 2]
    assert len(dataset) == 2 and dataset.metainfo['classes'] == ('wall', 'screen', 'person')
    with pytest.raises(ValueError, match='none of dog, person, tvmonitor is among them'):
        BIGDataset(classes=('wall', 'floor'), **options)


def test_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder .*nowhere.*docs/chaining.md'):
        BIGDataset(data_root=str(tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError, match='holds no object; expected STEM_im.jpg in'):
        BIGDataset(data_root=str(tmp_path))


def test_original_pixels_are_kept_as_rgb():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    kept = KeepOriginalImage().transform(dict(img=image))['ori_img']
    np.testing.assert_array_equal(kept, image[..., ::-1])
    image[:] = 0
    assert kept.any()
    with pytest.raises(ValueError, match='before normalisation'):
        KeepOriginalImage().transform(dict(img=np.float32([[[-1, 0, 300]]])))
    with pytest.raises(ValueError, match='channel_order'):
        KeepOriginalImage('grey')
