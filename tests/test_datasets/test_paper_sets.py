"""The paper's sets as one data set, and objects of label maps beside them."""

import dataclasses

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_cascadepsp.cli.train import check_data
from mmseg_cascadepsp.datasets import (
    LabelMapObjectsDataset,
    PaperTrainingSet,
    PickObject,
    paper_sets,
)
from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS
from mmseg_cascadepsp.datasets.preparation import prepare
from mmseg_cascadepsp.datasets.transforms import fill_void
from tests.test_datasets.archives import PAIRS, write_archives


def config(name, root, monkeypatch):
    monkeypatch.setenv('MMSEG_CASCADEPSP_DATA', str(root))
    return Config.fromfile(f'configs/{name}.py')


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def write_voc(root, count=2):
    """VOC's layout: two objects in a frame of void, one below any size."""
    names = [f'2007_{n:06}' for n in range(count)]
    labels = np.zeros((80, 120), np.uint8)
    for left, value in ((8, 1), (64, 2)):
        labels[16:60, left : left + 44] = 255
        labels[20:56, left + 4 : left + 40] = value
    labels[70:74, 4:8] = 3
    for name in names:
        write(root / f'JPEGImages/{name}.jpg', np.full((80, 120, 3), 99, np.uint8))
        write(root / f'SegmentationObject/{name}.png', labels)
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    (root / 'ImageSets/Segmentation/train.txt').write_text('\n'.join(names) + '\n')
    return labels


def test_all_five_as_one(tmp_path, monkeypatch):
    prepare([write_archives(tmp_path / 'in')], tmp_path / 'data')
    cfg = config('cascadepsp_r50', tmp_path / 'data', monkeypatch).train_dataloader.dataset
    dataset = DATASETS.build(cfg)
    assert type(dataset).__module__.startswith('mmengine')
    assert len(dataset) == 5 * PAIRS
    roots = {dataset.datasets[i].data_root for i in range(5)}
    assert roots == {str(tmp_path / 'data' / folder) for folder in TRAINING_SETS}
    for index in (0, 5 * PAIRS - 1):
        sample = dataset[index]
        assert sample['inputs'].shape == (3, 224, 224)
        assert sample['data_samples'].coarse_mask.data.shape == (1, 224, 224)


def test_counts_that_differ_are_logged(tmp_path, monkeypatch):
    prepare([write_archives(tmp_path / 'in')], tmp_path)
    said = []
    monkeypatch.setattr(paper_sets, 'print_log', lambda text, **_: said.append(text))
    PaperTrainingSet(data_root=str(tmp_path), folder='fss', pipeline=[])
    assert len(said) == 1 and said[0].startswith('FSS-1000 has 3 pairs')
    monkeypatch.setitem(
        TRAINING_SETS, 'fss', dataclasses.replace(TRAINING_SETS['fss'], count=PAIRS)
    )
    PaperTrainingSet(data_root=str(tmp_path), folder='fss', pipeline=[])
    assert len(said) == 1


def test_sets_that_are_missing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="folder must be one of MSRA_10K, .*got 'MSRA'"):
        PaperTrainingSet(data_root=str(tmp_path), folder='MSRA')
    with pytest.raises(FileNotFoundError, match='download MSRA10K_Imgs_GT.zip from https://mm'):
        PaperTrainingSet(data_root=str(tmp_path), folder='MSRA_10K')
    prepare([write_archives(tmp_path / 'in')], tmp_path / 'data')
    for folder in ('ecssd', 'DUTS-TE'):
        (tmp_path / 'data' / folder).rename(tmp_path / folder)
    cfg = config('cascadepsp_r50', tmp_path / 'data', monkeypatch)
    with pytest.raises(FileNotFoundError) as caught:
        check_data(cfg)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5 and 'missing' in lines[0]
    assert 'data/ecssd: ECSSD, 1,000 pairs; download images.zip and ground_truth_m' in lines[1]
    assert 'data/DUTS-TE: DUTS-TE, 5,019 pairs; download DUTS-TE.zip from http' in lines[2]
    assert 'data/voc_relabelled: for validation' in lines[3] and 'val_cfg=None' in lines[3]
    assert lines[4].endswith(f'prepare_training_data.py FOLDER --data-root {tmp_path / "data"}')
    (tmp_path / 'data/train').mkdir()
    with pytest.raises(FileNotFoundError, match='cascadepsp_r50_photos.py'):
        check_data(cfg)
    for folder in ('ecssd', 'DUTS-TE'):
        (tmp_path / folder).rename(tmp_path / 'data' / folder)
    with pytest.raises(FileNotFoundError, match='voc_relabelled'):
        check_data(cfg)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    check_data(cfg)


def test_schedules():
    paper = Config.fromfile('configs/cascadepsp_r50.py')
    photos = Config.fromfile('configs/cascadepsp_r50_photos.py')
    release = Config.fromfile('configs/cascadepsp_r50_release.py')
    assert paper.model == photos.model == release.model
    assert paper.optim_wrapper == photos.optim_wrapper
    for cfg, lr, iterations, milestones, batch in (
        (paper, 3e-4, 60000, [30000], 9),
        (release, 2.25e-4, 45000, [22500, 37500], 12),
    ):
        assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=lr, weight_decay=1e-4)
        assert cfg.train_cfg.max_iters == iterations
        assert cfg.param_scheduler[0].milestones == milestones
        assert cfg.param_scheduler[0].gamma == 0.1
        assert cfg.train_dataloader.batch_size == batch


def test_void_goes_to_the_nearest_label():
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 15:45] = 255
    labels[15:25, 20:40] = 7  # a band of five void pixels around an object
    filled = fill_void(labels)
    assert 255 not in filled
    assert (filled[12, 25:35] == 0).sum() == 10 and (filled[13, 25:35] == 7).all()
    # Only void is changed, and what is far from all labels stays void.
    np.testing.assert_array_equal(filled[labels != 255], labels[labels != 255])
    # Scattered labels, compared with the distance to each of them.
    scattered = np.full((20, 30), 255, np.uint8)
    places = np.random.default_rng(0).choice(600, 12, replace=False)
    scattered.flat[places] = range(12)
    y, x = np.divmod(places, 30)
    away = np.hypot(np.arange(20)[:, None, None] - y, np.arange(30)[:, None] - x)
    taken = away[(*np.indices((20, 30)), fill_void(scattered, distance=99))]
    assert (taken <= away.min(axis=-1) * 1.05 + 0.1).all()  # OpenCV's distances are nearly right
    far = np.full((60, 60), 255, np.uint8)
    far[0] = 4
    filled = fill_void(far, distance=8)
    assert (filled[:8] == 4).all() and (filled[10:] == 255).all()
    assert (fill_void(far[1:]) == 255).all()


def test_one_object_of_a_label_map():
    labels = np.zeros((60, 90), np.uint8)
    labels[5:25, 5:25], labels[30:50, 60:80], labels[5:25, 60:80] = 3, 3, 8
    labels[57:60, 60:63] = 8
    labels[40:55, 5:20] = 255
    picked = {'class': set(), 'component': set()}
    for one, seen in picked.items():
        pick = PickObject(exclude=(0,), one=one, min_area=100)
        for _ in range(60):
            mask = pick.transform(dict(gt_seg_map=labels.copy()))['gt_seg_map']
            assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
            seen.add((np.count_nonzero(mask), int(np.flatnonzero(mask)[0])))
    whole3, whole8 = (800, 5 * 90 + 5), (409, 5 * 90 + 60)
    assert picked['class'] == {whole3, whole8}
    assert picked['component'] == {(400, 455), (400, 30 * 90 + 60), (400, 5 * 90 + 60)}
    only = PickObject(labels=(8,), min_area=100)
    assert {
        np.count_nonzero(only.transform(dict(gt_seg_map=labels))['gt_seg_map']) for _ in range(9)
    } == {409}
    assert PickObject(exclude=(0,), min_area=900).transform(dict(gt_seg_map=labels)) is None
    assert PickObject(labels=(0,), max_share=0.5).transform(dict(gt_seg_map=labels)) is None
    with pytest.raises(ValueError, match="one must be 'class' or 'component', got 'object'"):
        PickObject(one='object')


def test_objects_of_voc_beside_own_photos(tmp_path, monkeypatch):
    labels = write_voc(tmp_path / 'VOCdevkit/VOC2012')
    write(tmp_path / 'train/images/a.png', np.full((100, 100, 3), 50, np.uint8))
    write(tmp_path / 'train/masks/a.png', np.eye(100, dtype=np.uint8) * 255)
    cfg = config('cascadepsp_lite_voc', tmp_path, monkeypatch)
    check_data(cfg.copy())
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 3
    sample = dataset[2]
    assert sample['inputs'].shape == (3, 288, 288)
    assert {0, 255} >= set(sample['data_samples'].coarse_mask.data.unique().tolist())
    # Without crop and zoom: exactly one of the two objects, with half of the band around it.
    source = cfg.train_dataloader.dataset.datasets[1]
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadMasks')]
    plain = LabelMapObjectsDataset(source.dataset, pipeline, pick=source.pick)
    masks = {plain[0]['gt_seg_map'].tobytes() for _ in range(20)}
    filled = fill_void(labels)
    assert masks == {((filled == k) * np.uint8(255)).tobytes() for k in (1, 2)}
    with pytest.raises(ValueError, match='pipeline must have a LoadMasks'):
        LabelMapObjectsDataset(source.dataset, pipeline[:1])
    (tmp_path / 'VOCdevkit').rename(tmp_path / 'elsewhere')
    with pytest.raises(FileNotFoundError, match='VOC2012: unpack VOCtrainval_11-May-2012.tar'):
        check_data(config('cascadepsp_lite_voc', tmp_path, monkeypatch))


def test_photos_without_objects_are_replaced_and_zero_is_reduced(tmp_path):
    for name, value in (('a', 0), ('b', 12)):
        labels = np.full((50, 60), 1, np.uint8)
        labels[5:45, 5:45] = value
        write(tmp_path / f'images/{name}.jpg', np.zeros((50, 60, 3), np.uint8))
        write(tmp_path / f'annotations/{name}.png', labels)
    dataset = LabelMapObjectsDataset(
        dict(
            type='ADE20KDataset',
            data_root=str(tmp_path),
            data_prefix=dict(img_path='images', seg_map_path='annotations'),
        ),
        [dict(type='LoadImageFromFile'), dict(type='LoadMasks')],
        pick=dict(labels=(11,), one='component'),
    )
    for index in range(2):  # 12 in the file is label 11
        sample = dataset[index]
        assert sample['img_path'].endswith('b.jpg')
        assert np.count_nonzero(sample['gt_seg_map']) == 1600
