"""The functions against brute force, published definitions and numbers of the authors' release."""

import doctest
import importlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp import evaluation as ev

from .pictures import labels, masks

NAN = float('nan')


@pytest.mark.parametrize('module', ['boundary_iou', 'checks', 'iou', 'mba', 'scores', 'speckles'])
def test_examples_in_docstrings(module):
    module = importlib.import_module(f'mmseg_cascadepsp.evaluation.functional.{module}')
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


# Of `compute_boundary_acc` and `compute_boundary_acc_multi_class` of the release: seed, height and
# width of the pictures, then mBA of both coarse ones.
RELEASE_BINARY = [
    ((0, 61, 47), 0.5961227786752827, 0.7253634894991923),
    ((1, 200, 300), 0.5101058710298364, 0.5409047160731473),
    ((2, 480, 640), 0.5250917656109024, 0.5638362447252249),
    ((3, 700, 1100), 0.515362631360793, 0.5504171939616418),
]
RELEASE_MULTICLASS = [
    ((4, 61, 47), 0.44890929965556825, 0.5958668197474167),
    ((5, 200, 300), 0.3820490744726647, 0.4946190271201033),
    ((6, 480, 640), 0.3887834967909586, 0.48725525715125106),
]


@pytest.mark.parametrize('picture, before, after', RELEASE_BINARY)
def test_mba_equals_release(picture, before, after):
    truth, *coarse = masks(*picture)
    actual = [ev.mean_boundary_accuracy(mask, truth) for mask in coarse]
    np.testing.assert_allclose(actual, [before, after], rtol=0, atol=1e-9)


@pytest.mark.parametrize('picture, before, after', RELEASE_MULTICLASS)
def test_multiclass_mba_equals_release(picture, before, after):
    truth, *coarse = labels(*picture)
    for void in (0, 255):  # the release's void is 0, MMSeg's 255
        renamed = np.where(truth == 0, void, truth)
        actual = [
            ev.multiclass_mean_boundary_accuracy(pred, renamed, ignore_index=void)
            for pred in coarse
        ]
        np.testing.assert_allclose(actual, [before, after], rtol=0, atol=1e-9)


def brute_force_regions(mask, radii):
    """Pixels that see both values of a mask through the kernel, by shifting it pixel by pixel."""
    height, width = mask.shape
    for radius in radii:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
        padded = np.pad(mask.astype(int), radius, constant_values=-1)
        shifts = [padded[y : y + height, x : x + width] for y, x in np.argwhere(kernel)]
        yield np.any([part == 0 for part in shifts], 0) & np.any([part == 1 for part in shifts], 0)


@pytest.mark.parametrize('r0', [1, 3])
@pytest.mark.parametrize('size', [(30, 1470), (60, 47), (5, 3), (1, 1)])
def test_mba_by_brute_force(size, r0):
    truth, pred, _ = masks(7, *size)
    radii = [r0 + int((sum(size) / 300 - r0) / 5 * i) for i in range(5)]
    assert ev.boundary_radii(*size, r0) == radii
    expected = [
        np.mean((pred == truth)[near]) if near.any() else NAN
        for near in brute_force_regions(truth, radii)
    ]
    actual = ev.mean_boundary_accuracy(pred, truth, r0)
    np.testing.assert_allclose(actual, np.mean(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize('r0', [1, 3])
def test_multiclass_mba_by_brute_force(r0):
    truth, pred, _ = (ids.astype(np.int64) for ids in labels(8, 40, 900))
    truth[truth == 2] = 255
    radii = ev.boundary_radii(*truth.shape, r0)
    counts = ev.multiclass_mba_update(pred, truth, r0, num_classes=7)
    valid, union = truth != 255, 0
    for label in (0, 1, 3, 4, 5, 6):
        near = np.stack(list(brute_force_regions(truth == label, radii))) & valid
        union = union | near
        np.testing.assert_array_equal(counts[2][label], (near & (pred == truth)).sum((1, 2)))
        np.testing.assert_array_equal(counts[3][label], near.sum((1, 2)))
    np.testing.assert_array_equal(counts[0], (union & (pred == truth)).sum((1, 2)))
    np.testing.assert_array_equal(counts[1], union.sum((1, 2)))


@pytest.mark.parametrize('size', [(61, 47), (200, 300), (5, 400), (1, 1)])
def test_boundary_iou_by_erosion(size):
    """The definition of Cheng et al.: pad by one, erode by 3x3 as often as the diagonal asks."""

    def boundary(mask):
        steps = max(1, int(round(0.02 * np.hypot(*size))))
        padded = np.pad(mask.astype(np.uint8), 1)
        eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=steps)
        return mask & ~eroded[1:-1, 1:-1].astype(bool)

    truth, pred, _ = masks(9, *size)
    near_truth, near_pred = boundary(truth), boundary(pred)
    np.testing.assert_array_equal(ev.inner_boundary(truth), near_truth)
    assert ev.boundary_iou_update(pred, truth) == (
        (near_truth & near_pred).sum(),
        (near_truth | near_pred).sum(),
    )


def test_boundary_iou_is_not_asked_about_void():
    truth = np.zeros((100, 100), np.uint8)
    truth[20:80, 20:50] = 1
    pred = truth.copy()
    pred[20:80, 50:80] = 1  # the object goes on into void
    truth[20:80, 50:80] = 255
    assert ev.multiclass_boundary_iou(pred, truth, num_classes=2) == 1


def test_iou_sums_over_images_or_averages_them():
    truth, *preds = masks(10, 90, 70)
    counts = np.array([ev.iou_update(pred, truth) for pred in preds] + [(0, 0)])
    expected = [(pred & truth).sum() / (pred | truth).sum() for pred in preds]
    np.testing.assert_allclose([ev.binary_iou(pred, truth) for pred in preds], expected)
    scores = ev.mask_scores([*preds, 0 * truth], [truth, truth, 0 * truth])
    assert scores['IoU'] == pytest.approx(counts[:, 0].sum() / counts[:, 1].sum(), abs=1e-12)
    assert scores['IoU_per_image'] == pytest.approx(np.mean(expected), abs=1e-12)


def test_mean_iou_equals_mmseg():
    import torch
    from mmseg.evaluation import IoUMetric

    truth, pred, _ = labels(11, 80, 90)
    truth[:9] = 255
    areas = IoUMetric.intersect_and_union(torch.tensor(pred), torch.tensor(truth), 9, 255)
    intersection, union = ev.multiclass_iou_update(pred, truth, 9)
    np.testing.assert_array_equal(intersection, areas[0])
    np.testing.assert_array_equal(union, areas[1])
    assert ev.mean_iou(pred, truth, 9) == pytest.approx(np.nanmean(areas[0] / areas[1]))


def test_prediction_outside_the_classes_is_wrong_but_counted_nowhere():
    truth = np.zeros((4, 4), np.uint8)
    for strange in (7, 254, 255):
        pred = truth.copy()
        pred[0] = strange
        assert ev.mean_iou(pred, truth, num_classes=2) == 0.75


def test_nothing_to_measure_is_nan_without_warning(recwarn):
    empty = np.zeros((20, 30), bool)
    void = np.full((20, 30), 255)
    assert np.isnan(ev.mean_boundary_accuracy(empty, ~empty))
    assert np.isnan(ev.multiclass_mean_boundary_accuracy(0 * void, void))
    assert np.isnan([ev.binary_iou(empty, empty), ev.boundary_iou(empty, empty)]).all()
    assert np.isnan([ev.mean_iou(void, void, 3), ev.multiclass_boundary_iou(void, void, 3)]).all()
    truth, pred, _ = masks(12, 40, 50)
    scores = ev.mask_scores([pred, empty], [truth, empty])
    assert scores['mBA'] == ev.mean_boundary_accuracy(pred, truth)
    assert not recwarn.list


def areas_of_components(mask, steps):
    """Areas of the connected components of a mask, flooded pixel by pixel."""
    left = {(y, x) for y, x in np.argwhere(mask).tolist()}
    while left:
        todo, area = [left.pop()], 0
        while todo:
            y, x = todo.pop()
            area += 1
            near = {(y + dy, x + dx) for dy, dx in steps} & left
            left -= near
            todo += near
        yield area


@pytest.mark.parametrize('share', [0.02, 0.3, 0.6, 0.98])
@pytest.mark.parametrize('border', [0, 3])
def test_speckles_by_brute_force(share, border):
    random = np.random.RandomState(int(100 * share) + border)
    truth = np.ones((70, 90), bool)  # speckles are of at most 3 pixels
    pred = random.rand(70, 90) < share
    if border:
        pred[:border] = pred[-border:] = pred[:, :border] = pred[:, -border:] = False
    four = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    eight = [*four, (1, 1), (1, -1), (-1, 1), (-1, -1)]
    expected = sum(area < 0.0005 * 6300 for area in areas_of_components(pred, eight))
    # All background that reaches the border is one component with what lies around the image.
    holes = list(areas_of_components(~np.pad(pred, 1), four))
    holes.remove(max(holes))
    expected += sum(area < 0.0005 * 6300 for area in holes)
    assert expected and ev.count_speckles(pred, truth) == expected


def test_small_objects_have_no_speckles_and_empty_masks_neither():
    truth = np.zeros((100, 100), bool)
    truth[:40, :50] = True  # 2,000 pixels: a speckle would have to be below one
    pred = truth.copy()
    pred[20, 20], pred[80, 80] = False, True
    assert ev.count_speckles(pred, truth) == 0
    truth[50] = True
    assert ev.count_speckles(pred, truth) == 2
    assert ev.count_speckles(~truth & truth, truth) == 0


def test_harm_by_brute_force():
    pictures = [masks(seed, 60 + seed, 80) for seed in range(23)]
    truths, coarse, refined = (list(part) for part in zip(*pictures, strict=True))
    refined[:9] = coarse[:9]  # unchanged masks are not harmed
    for seed in (2, 13, 17):  # these are
        refined[seed] = coarse[seed] & (np.arange(80) > 5 * seed)
    change = [
        ev.binary_iou(after, truth) - ev.binary_iou(before, truth)
        for truth, before, after in zip(truths, coarse, refined, strict=True)
    ]
    harm = ev.mask_harm(coarse, refined, truths)
    assert harm['harmed_0.5'] == sum(value < -0.005 for value in change) / 23 >= 2 / 23
    assert harm['harmed_2'] == sum(value < -0.02 for value in change) / 23 >= 2 / 23
    assert harm['worst_tenth'] == pytest.approx(sum(sorted(change)[:3]) / 3, abs=1e-12)
    speckles = [ev.count_speckles(*pair) for pair in zip(refined, truths, strict=True)]
    assert harm['speckles'] == pytest.approx(sum(speckles) / 23)
    assert ev.mask_harm(coarse, coarse, truths) == {
        'harmed_0.5': 0,
        'harmed_2': 0,
        'worst_tenth': 0,
        'speckles_before': harm['speckles_before'],
        'speckles': harm['speckles_before'],
    }


def test_half_a_point_is_not_more_than_half_a_point():
    truth = np.zeros((20, 100), bool)
    truth[:10] = True
    coarse, refined = truth.copy(), truth.copy()
    coarse[0, :100] = False  # IoU 0.9
    for lost, harmed in ((5, 0), (6, 1), (20, 1)):
        refined = coarse.copy()
        refined[1, :lost] = False
        harm = ev.mask_harm([coarse], [refined], [truth])
        assert (harm['harmed_0.5'], harm['harmed_2']) == (harmed, 0)
    refined[1, 20] = False
    assert ev.mask_harm([coarse], [refined], [truth])['harmed_2'] == 1


def test_harm_of_nothing_is_nan(recwarn):
    empty = np.zeros((20, 30), bool)
    for harm in (ev.mask_harm([], [], []), ev.mask_harm([empty], [empty], [empty])):
        assert np.isnan([harm[key] for key in ('harmed_0.5', 'harmed_2', 'worst_tenth')]).all()
    assert not recwarn.list


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60), st.integers(1, 5))
def test_properties_of_scores(seed, height, width, r0):
    truth, *preds = masks(seed, height, width)
    both = ev.mask_scores_update(np.stack(preds), truth, r0)
    for pred, counts in zip(preds, both, strict=True):  # several at once are each alone
        np.testing.assert_array_equal(ev.mask_scores_update(pred, truth, r0), counts)
        flipped = ev.mask_scores_update(pred[::-1, ::-1], truth[::-1, ::-1], r0)
        np.testing.assert_array_equal(flipped, counts)
    for value in ev.mask_scores(preds, [truth, truth], r0).values():
        assert np.isnan(value) or 0 <= value <= 1
    for value in ev.mask_scores([truth], [truth], r0).values():
        assert np.isnan(value) or value == 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 50))
def test_void_does_not_count(seed, height, width):
    truth, pred, void = masks(seed, height, width)
    counts = ev.mask_scores_update(pred, truth, void=void)
    other = np.where(void, ~pred, pred), np.where(void, ~truth, truth)  # says nothing in void
    np.testing.assert_array_equal(ev.mask_scores_update(*other, void=void), counts)
    assert tuple(counts[:2]) == ev.iou_update(pred & ~void, truth & ~void)
    assert (counts[-5:] <= ev.mask_scores_update(truth & ~void, truth & ~void)[-5:]).all()
    with pytest.raises(ValueError, match='void must be of the size of target'):
        ev.mask_scores_update(pred, truth, void=np.zeros((height + 1, width), bool))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 50))
def test_two_classes_are_a_mask_and_its_complement(seed, height, width):
    truth, pred, _ = masks(seed, height, width)
    scores = ev.label_scores([pred.astype(int)], [truth.astype(int)], num_classes=2)
    np.testing.assert_equal(scores['mBA'], ev.mean_boundary_accuracy(pred, truth))
    ious = [ev.binary_iou(pred, truth), ev.binary_iou(~pred, ~truth)]
    np.testing.assert_allclose(scores['mIoU'], ev.nan_mean(ious), rtol=1e-12)


MASK, LABELS = np.zeros((4, 5), bool), np.zeros((4, 5), int)


@pytest.mark.parametrize(
    'call, error, words',
    [
        (lambda: ev.binary_iou(MASK[:3], MASK), ValueError, r'\(4, 5\), got \(3, 5\)'),
        (lambda: ev.binary_iou(MASK, MASK[None]), ValueError, r'target must be of shape \(H, W\)'),
        (lambda: ev.binary_iou(MASK[:0], MASK[:0]), ValueError, 'at least one pixel'),
        (
            lambda: ev.boundary_iou(MASK + 255, MASK),
            ValueError,
            'pred must be .* 255; threshold it',
        ),
        (
            lambda: ev.mean_boundary_accuracy(MASK, MASK * NAN),
            ValueError,
            'target must be .* float64',
        ),
        (
            lambda: ev.mean_boundary_accuracy(MASK, MASK, r0=0),
            ValueError,
            'r0 must be from 1 to 5',
        ),
        (
            lambda: ev.mean_iou(LABELS, LABELS + 3, 3),
            ValueError,
            'holds the class 3; expected 0 to 2',
        ),
        (lambda: ev.mean_iou(LABELS, LABELS - 1, 3), ValueError, 'holds the class -1'),
        (
            lambda: ev.multiclass_mba_update(LABELS, LABELS - 1, num_classes=3),
            ValueError,
            'class -1',
        ),
        (lambda: ev.mean_iou(LABELS * 1.0, LABELS, 3), TypeError, 'pred must hold class indices'),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ('change', 'error', 'words'),
    [
        ({'pred': [[0, 1], [0]]}, ValueError, 'pred must be an array of numbers: '),
        ({'pred': np.array([['a', 'b']])}, TypeError, 'an array of numbers, got ndarray of <U1'),
        (
            {'pred': np.zeros((2, 1, 2), bool)},
            ValueError,
            r'one picture .*, got \(2',
        ),
        (
            {'pred': np.ma.masked_equal([[0, 1]], 0)},
            ValueError,
            r'hides .*pred.filled\(value',
        ),
        ({'dilation_ratio': -1}, ValueError, 'dilation_ratio must be from 0 to 1, got -1'),
        ({'dilation_ratio': 'x'}, TypeError, "dilation_ratio must be a number, got 'x'"),
    ],
)
def test_one_sentence_for_what_cannot_be_scored(change, error, words):
    arguments = {'pred': np.array([[0, 1]]), 'target': np.array([[0, 1]])}
    with pytest.raises(error, match=words):
        ev.boundary_iou(**{**arguments, **change})


@pytest.mark.parametrize(
    ('change', 'error', 'words'),
    [
        ({'num_classes': 0}, ValueError, 'num_classes must be from 1 to 65536, got 0'),
        ({'num_classes': 1.5}, TypeError, 'num_classes must be an integer, got 1.5'),
        ({'ignore_index': 'x'}, TypeError, "ignore_index must be an integer, got 'x'"),
        ({'pred': np.zeros((2, 1, 2), int)}, ValueError, r'one picture of shape \(1, 2\)'),
    ],
)
def test_one_sentence_for_label_maps_too(change, error, words):
    labels = np.array([[0, 1]])
    with pytest.raises(error, match=words):
        ev.mean_iou(**{'pred': labels, 'target': labels, 'num_classes': 2, **change})
    with pytest.raises(TypeError, match='r0 must be an integer, got 2.5'):
        ev.mean_boundary_accuracy(labels, labels, r0=2.5)
