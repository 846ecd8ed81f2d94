"""CamVid, and sets that show one class each, through MMSeg's own loading."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset  # noqa: F401  registers MMSeg's transforms
from mmseg.registry import DATASETS

from mmseg_cascadepsp.datasets import CamVidDataset, ClassPerSetDataset

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
CLASSES = ('background', 'person', 'cat')


def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


@pytest.fixture
def sets(tmp_path):
    rng = np.random.default_rng(0)
    for name, stems in (('street', 'ab'), ('portraits', 'c'), ('pets', 'de'), ('boats', 'f')):
        for stem in stems:
            write(tmp_path / name / 'images' / f'{stem}.jpg', rng.integers(0, 255, (20, 30, 3)))
            mask = np.zeros((20, 30), np.uint8)
            mask[4:9, 5:11] = 255
            write(tmp_path / name / 'masks' / f'{stem}.png', mask)
    return tmp_path


def per_set(root, class_of_set, **kwargs):
    return ClassPerSetDataset(
        class_of_set,
        dict(classes=CLASSES),
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        pipeline=PIPELINE,
        **kwargs,
    )


def test_masks_get_the_class_of_their_set(sets):
    wanted = dict(street='person', portraits='person', pets='cat')
    dataset = per_set(sets, wanted, repeat=dict(pets=2))
    ids = []
    for sample in dataset:
        labels = sample['gt_seg_map']
        label = CLASSES.index(wanted[sample['img_path'].split('/')[-3]])
        assert (labels[4:9, 5:11] == label).all()
        assert np.count_nonzero(labels) == 30
        ids.append(label)
    assert sorted(ids) == [1, 1, 1, 2, 2, 2, 2]
    assert dataset.metainfo['classes'] == CLASSES


def test_soft_masks_have_no_other_classes(sets):
    soft = cv2.GaussianBlur(cv2.imread(str(sets / 'pets/masks/d.png'), 0), (0, 0), 2)
    write(sets / 'pets/masks/d.png', soft)
    labels = per_set(sets, dict(pets='cat'))[0]['gt_seg_map']
    np.testing.assert_array_equal(labels, 2 * (soft > 127))


def test_what_is_missing_is_named(sets):
    with pytest.raises(FileNotFoundError, match='no set zoo'):
        per_set(sets, dict(street='person', zoo='cat'))
    with pytest.raises(ValueError, match='dog not among'):
        per_set(sets, dict(street='dog'))
    with pytest.raises(ValueError, match='background not among'):
        per_set(sets, dict(street='background'))


def test_void_of_camvid_is_ignored(tmp_path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write(tmp_path / 'images' / 'x.jpg', np.zeros((3, 4, 3), np.uint8))
    write(tmp_path / 'annotations' / 'x.png', labels)
    dataset = CamVidDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='annotations'),
        pipeline=PIPELINE,
    )
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 11
    assert (dataset[0]['gt_seg_map'].ravel() == [*range(11), 255]).all()
    # With fewer classes the others are void, too.
    dataset = CamVidDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='annotations'),
        metainfo=dict(classes=('road', 'car')),
        pipeline=PIPELINE,
    )
    wanted = np.full(12, 255)
    wanted[[3, 8]] = 0, 1
    assert (dataset[0]['gt_seg_map'].ravel() == wanted).all()


def test_void_of_camvid_is_divided_in_training(tmp_path, monkeypatch):
    labels = np.full((60, 80), 3, np.uint8)
    labels[10:50, 20:60] = 11
    labels[14:46, 24:56] = 8  # a car in a band of void
    write(tmp_path / 'camvid/images/train/x.jpg', np.zeros((60, 80, 3), np.uint8))
    write(tmp_path / 'camvid/annotations/train/x.png', labels)
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', str(tmp_path))
    cfg = Config.fromfile('configs/cascadepsp_lite_compositions.py')
    streets = cfg.train_dataloader.dataset.dataset.datasets[1]
    streets.pipeline = streets.pipeline[:2]
    mask = DATASETS.build(streets)[0]['gt_seg_map']
    assert mask[30].nonzero()[0].tolist() == [*range(22, 58)]
