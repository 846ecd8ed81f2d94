"""The MMSeg metrics: before, after, gain; and nothing of image size is kept."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from mmseg_cascadepsp import evaluation as ev

from .pictures import labels, masks

CLASSES = ('sky', 'road', 'tree', 'car', 'pole', 'sign', 'fence')


def sample(**maps):
    result = SegDataSample(metainfo={'img_path': 'photos/a.jpg'})
    result.set_data(
        {
            key: PixelData(data=torch.tensor(np.ascontiguousarray(value))[None])
            for key, value in maps.items()
        }
    )
    return result


def refined(seed, height=80, width=100):
    truth, coarse, pred = masks(seed, height, width)
    return sample(
        gt_sem_seg=truth * np.uint8(255),
        coarse_mask=coarse * np.uint8(200),
        pred_sem_seg=pred.astype(np.uint8),
    )


def relabelled(seed, height=80, width=100):
    truth, coarse, pred = labels(seed, height, width)
    truth[truth == 3] = 255
    return sample(gt_sem_seg=truth, pred_sem_seg_coarse=coarse, pred_sem_seg=pred.astype(np.int64))


def evaluate(config, samples, **meta):
    evaluator = Evaluator(METRICS.build(config))
    evaluator.dataset_meta = {'classes': CLASSES, **meta}
    for one in samples:
        evaluator.process([one])
    return evaluator.evaluate(len(samples))


def array(data_sample, key):
    return data_sample.get(key).data[0].numpy()


def test_refinement_metric_reports_before_after_and_gain():
    samples = [refined(seed, 60 + 9 * seed) for seed in range(3)]
    metrics = evaluate(dict(type='RefinementMetric', r0=3), samples)
    truths = [array(one, 'gt_sem_seg') > 127 for one in samples]
    after = ev.mask_scores([array(one, 'pred_sem_seg') for one in samples], truths, r0=3)
    before = ev.mask_scores([array(one, 'coarse_mask') > 127 for one in samples], truths, r0=3)
    coarse = [array(one, 'coarse_mask') > 127 for one in samples]
    harm = ev.mask_harm(coarse, [array(one, 'pred_sem_seg') for one in samples], truths)
    assert len(metrics) == 15 + 5
    for key, value in harm.items():
        assert metrics[key] == pytest.approx(value if 'speckles' in key else 100 * value)
    for key in ('IoU', 'mBA', 'BoundaryIoU', 'IoU_per_image', 'BoundaryIoU_per_image'):
        assert metrics[key] == pytest.approx(100 * after[key])
        assert metrics[f'{key}_before'] == pytest.approx(100 * before[key])
        assert metrics[f'{key}_gain'] == pytest.approx(100 * (after[key] - before[key]))


def test_refinement_metric_without_coarse_masks():
    samples = [refined(0), refined(1)]
    for one in samples:
        del one.coarse_mask
    metrics = evaluate(dict(type='RefinementMetric', prefix='val'), samples)
    assert sorted(metrics) == sorted(f'val/{key}' for key in ev.mask_scores([], []))
    with pytest.raises(ValueError, match='have a coarse_mask and some have none'):
        evaluate(dict(type='RefinementMetric'), [refined(0), samples[1]])


def test_soft_truth_is_cut_at_the_threshold():
    truth = np.array([[0, 127, 128, 255]], np.uint8)
    maps = dict(gt_sem_seg=truth, pred_sem_seg=(truth > 127).astype(np.uint8))
    assert evaluate(dict(type='RefinementMetric'), [sample(**maps)])['IoU'] == 100
    metrics = evaluate(dict(type='RefinementMetric', threshold=128), [sample(**maps)])
    assert metrics['IoU'] == 50


def test_boundary_seg_metric_reports_before_after_and_gain():
    samples = [relabelled(seed, 60 + 9 * seed) for seed in range(3)]
    metrics = evaluate(dict(type='BoundarySegMetric'), samples)
    truths = [array(one, 'gt_sem_seg') for one in samples]
    after, before = (
        ev.label_scores([array(one, key) for one in samples], truths, len(CLASSES))
        for key in ('pred_sem_seg', 'pred_sem_seg_coarse')
    )
    assert len(metrics) == 9
    for key in ('mIoU', 'mBA', 'BoundaryIoU'):
        assert metrics[key] == pytest.approx(100 * after[key])
        assert metrics[f'{key}_before'] == pytest.approx(100 * before[key])
        assert metrics[f'{key}_gain'] == pytest.approx(100 * (after[key] - before[key]))


def test_boundary_seg_metric_serves_a_plain_segmentor_and_agrees_with_mmseg():
    samples = [relabelled(seed) for seed in range(2)]
    for one in samples:
        del one.pred_sem_seg_coarse
    metrics = evaluate(dict(type='BoundarySegMetric'), samples)
    assert sorted(metrics) == ['BoundaryIoU', 'mBA', 'mIoU']
    theirs = evaluate(dict(type='IoUMetric'), samples)
    assert metrics['mIoU'] == pytest.approx(theirs['mIoU'], abs=0.006)  # they round
    of_classes = evaluate(dict(type='BoundarySegMetric', per_class=True), samples)
    assert of_classes.keys() == metrics.keys() | {
        f'{key}.{name}' for key in ('IoU', 'BoundaryIoU', 'mBA') for name in CLASSES
    }


def test_void_is_that_of_the_dataset_unless_the_metric_has_one():
    samples = [relabelled(seed) for seed in range(2)]
    for one in samples:
        one.gt_sem_seg.data[one.gt_sem_seg.data == 255] = 7
    metric = dict(type='BoundarySegMetric')
    own = evaluate(metric, samples, ignore_index=7)
    assert own == evaluate(metric | dict(ignore_index=7), samples, ignore_index=255)
    with pytest.raises(ValueError, match='target holds the class 7'):
        evaluate(metric, samples)


def test_a_single_name_is_that_of_an_object():
    truth, coarse, pred = (mask.astype(np.int64) for mask in masks(3, 80, 100))
    samples = [sample(gt_sem_seg=truth, pred_sem_seg_coarse=coarse, pred_sem_seg=pred)]
    metric = dict(type='BoundarySegMetric', per_class=True)
    one = evaluate(metric, samples, classes=('cat',))
    assert one == evaluate(metric, samples, classes=('background', 'cat'))
    assert one['IoU.cat'] == pytest.approx(100 * ev.binary_iou(pred, truth))


@pytest.mark.parametrize('meta', [{'classes': ()}, {'classes': None}])
def test_a_dataset_without_names_is_told(meta):
    with pytest.raises(ValueError, match='needs the names of the classes: give the dataset'):
        evaluate(dict(type='BoundarySegMetric'), [relabelled(0)], **meta)


@pytest.mark.parametrize('kind', ['BoundarySegMetric', 'RefinementMetric'])
@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(r0=0), 'r0 must be from 1 to 5, got 0'),
        (dict(r0='x'), "r0 must be an integer, got 'x'"),
        (dict(dilation_ratio=float('nan')), 'dilation_ratio must be from 0 to 1, got nan'),
    ],
)
def test_settings_are_checked_before_the_test(kind, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        METRICS.build(dict(type=kind, **options))


def test_scores_of_every_class_on_request():
    samples = [relabelled(seed) for seed in range(2)]
    metrics = evaluate(dict(type='BoundarySegMetric', per_class=True), samples)
    for key, mean in (('IoU', 'mIoU'), ('BoundaryIoU', 'BoundaryIoU')):
        for state in ('', '_before'):
            values = [metrics[f'{key}{state}.{name}'] for name in CLASSES]
            assert np.nanmean(values) == pytest.approx(metrics[mean + state])
    assert np.isnan(metrics['mBA.car'])  # never in the truth
    assert 0 < metrics['mBA.road'] < 100
    assert metrics['mBA_gain.road'] == pytest.approx(
        metrics['mBA.road'] - metrics['mBA_before.road']
    )


@pytest.mark.parametrize(
    'config, make',
    [
        (dict(type='RefinementMetric'), refined),
        (dict(type='BoundarySegMetric', per_class=True), relabelled),
    ],
)
def test_what_is_kept_does_not_grow_with_the_image(config, make):
    sizes = []
    for scale in (1, 4):
        metric = METRICS.build(config)
        metric.dataset_meta = {'classes': CLASSES}
        metric.process({}, [make(0, 60 * scale, 70 * scale).to_dict()])
        sizes.append(len(pickle.dumps(metric.results)))
    assert sizes[0] == sizes[1] < 4000


def _one_rank(rank, folder):
    torch.distributed.init_process_group('gloo', f'file://{folder}/meet', rank=rank, world_size=2)
    metrics = []
    for config, make in (
        (dict(type='RefinementMetric'), refined),
        (dict(type='BoundarySegMetric', per_class=True), relabelled),
    ):
        evaluator = Evaluator(METRICS.build(config))
        evaluator.dataset_meta = {'classes': CLASSES}
        for seed in (rank, (rank + 2) % 3):  # 0 2 | 1 0: the last one fills up, as samplers do
            evaluator.process([make(seed)])
        metrics.append(evaluator.evaluate(3))
    with open(f'{folder}/{rank}.pkl', 'wb') as file:
        pickle.dump(metrics, file)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_report_what_one_does(tmp_path):
    context = torch.multiprocessing.get_context('fork')
    ranks = [context.Process(target=_one_rank, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    found = [pickle.loads((tmp_path / f'{rank}.pkl').read_bytes()) for rank in (0, 1)]
    alone = [
        evaluate(dict(type='RefinementMetric'), [refined(seed) for seed in range(3)]),
        evaluate(
            dict(type='BoundarySegMetric', per_class=True), [relabelled(seed) for seed in range(3)]
        ),
    ]
    for metrics in found:
        for one, expected in zip(metrics, alone, strict=True):
            assert one == pytest.approx(expected, nan_ok=True)


def test_bad_samples_are_named():
    wrong_size = refined(0)
    wrong_size.set_data({'pred_sem_seg': PixelData(data=torch.zeros(1, 3, 4))})
    with pytest.raises(ValueError, match=r'photos/a.jpg: pred must be .* got \(3, 4\)'):
        evaluate(dict(type='RefinementMetric'), [wrong_size])
    missing = refined(0)
    del missing.gt_sem_seg
    with pytest.raises(ValueError, match="RefinementMetric needs 'gt_sem_seg' .* photos/a.jpg"):
        evaluate(dict(type='RefinementMetric'), [missing])
    strange = relabelled(0)
    strange.gt_sem_seg.data[0, 0, 0] = 77
    with pytest.raises(ValueError, match='photos/a.jpg: target holds the class 77'):
        evaluate(dict(type='BoundarySegMetric'), [strange])


def test_photos_of_one_name_do_not_overwrite_each_other(tmp_path):
    one, other = relabelled(1), relabelled(1)
    other.set_metainfo({'img_path': 'elsewhere/a.jpg'})
    metric = dict(type='BoundarySegMetric', output_dir=str(tmp_path))
    with pytest.raises(ValueError, match='photos/a.jpg and elsewhere/a.jpg would both .* a.png'):
        evaluate(metric, [one, other])


def test_above_255_classes_the_file_has_16_bits_and_255_is_a_class(tmp_path):
    labels = np.array([[0, 254, 255, 256, 299]])
    meta = {'classes': list(range(300)), 'reduce_zero_label': True}
    assert ev.as_annotation(labels, {}, meta).tolist() == [[1, 255, 256, 257, 300]]
    meta['classes'] = list(range(150))
    assert ev.as_annotation(labels[:, :3], {}, meta).tolist() == [[1, 255, 0]]


def test_output_dir_is_out_of_mmsegs_own_script(tmp_path):
    # MMSeg's tools/test.py sets these two for --out.
    out = dict(output_dir=str(tmp_path), keep_results=True)
    one = relabelled(1)
    evaluator = Evaluator(METRICS.build(dict(type='BoundarySegMetric', **out)))
    evaluator.dataset_meta = {'classes': CLASSES, 'reduce_zero_label': True}
    evaluator.process([one])
    written = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, array(one, 'pred_sem_seg') + 1)
    one = refined(1)
    evaluate(dict(type='RefinementMetric', **out), [one])
    written = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, array(one, 'pred_sem_seg') * 255)
