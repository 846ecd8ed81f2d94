"""Masks and label maps of any kind, given to the functions that score them."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmseg_cascadepsp import evaluation as ev
from tests.fuzz import Refused, attempt, cases, copied, same

pytestmark = pytest.mark.slow

BINARY = [ev.binary_iou, ev.mean_boundary_accuracy, ev.boundary_iou, ev.count_speckles,
          ev.mask_scores_update]  # fmt: skip
LABELS = [ev.mean_iou, ev.multiclass_boundary_iou, ev.multiclass_mean_boundary_accuracy,
          ev.label_scores_update]  # fmt: skip
OPTIONS = {
    'r0': [1, 3, 5, 0, 6, 2.5, 'x', None, float('nan'), True],
    'dilation_ratio': [0.02, 0.5, 0, -1, 'x', None, float('nan'), float('inf'), 1e9],
    'num_classes': [2, 3, 256, 0, -1, 1.5, 'x', None, True],
    'ignore_index': [255, 0, 1, -1, 300, 'x', None, 1.5, True],
    'per_class': [True, False],
    'void': [None, 'x', 1.5, True],
}
VALID = {
    'r0': {1, 3, 5},
    'dilation_ratio': {0, 0.02, 0.5},
    'num_classes': {2, 3, 256},
    'ignore_index': {255, 0, 1, -1, 300},
    'per_class': {True, False},
    'void': {None},
}
DTYPES = [bool, 'u1', 'i1', 'u2', 'i4', 'i8', 'u8', '>i2', 'f2', 'f4', 'f8', 'c8', object, 'U1']


@st.composite
def pictures(draw, size, top):
    """An array, and whether it holds ids of ``(H, W)``."""
    kind = draw(st.sampled_from(['plain'] * 8 + ['list', 'ragged', 'None', 'masked', 'nan']))
    if kind == 'ragged':
        return [[0, 1], [0]]
    if kind == 'None':
        return None
    shape = draw(st.sampled_from([size] * 8 + [(2, *size), (), (3,), (0, 4), size[::-1]]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    array = random.integers(0, top + 1, (3, 3))
    array = np.kron(array, np.ones([-(-side // 3) for side in size], int))[: size[0], : size[1]]
    array = np.resize(array, shape).astype(draw(st.sampled_from(DTYPES)))
    if draw(st.integers(0, 5)) == 0 and array.size and array.dtype.kind in 'iu':
        array.flat[-1] = draw(st.sampled_from([100, 127]))
    if kind == 'nan' and array.size and array.dtype.kind == 'f':
        array.flat[0] = np.nan
    if kind == 'masked':
        return np.ma.masked_array(array, mask=array != 0)
    return array.tolist() if kind == 'list' else array


def sizes():
    return st.tuples(st.integers(1, 40), st.integers(1, 40))


def draw_call(data, functions, top):
    function = data.draw(st.sampled_from(functions), 'function')
    size = data.draw(sizes(), 'size')
    pred, target = (data.draw(pictures(size, top), name) for name in ('pred', 'target'))
    options = {}
    for name in list(inspect.signature(function).parameters)[2:]:
        fine = sorted(VALID[name])
        values = fine if data.draw(st.integers(0, 5), f'{name} is fine') else OPTIONS[name]
        options[name] = data.draw(st.sampled_from(values), name)
    return function, pred, target, options


def check(function, pred, target, options):
    """Call it; what it returns, after what holds of every function."""
    before = copied(pred), copied(target)
    result = attempt(function, pred, target, **options)
    assert same(before[0], pred) and same(before[1], target)
    if isinstance(result, Refused):
        return result
    for name, value in options.items():
        assert value in VALID[name] and (isinstance(value, bool) == (name == 'per_class')), name
    for array in (pred, target):
        assert not isinstance(array, np.ma.MaskedArray) or not np.ma.getmaskarray(array).any()
    again = attempt(function, pred, target, **options)
    if isinstance(result, dict):
        assert result.keys() == again.keys() and all(same(result[k], again[k]) for k in result)
    else:
        assert same(result, again)
    return result


@given(st.data())
@cases(0.08)
def test_masks(data):
    function, pred, target, options = draw_call(data, BINARY, 1)
    result = check(function, pred, target, options)
    if isinstance(result, Refused):
        fine = all(
            isinstance(array, np.ndarray)
            and type(array) is np.ndarray
            and array.ndim == 2
            and array.size
            and array.dtype.kind in 'biu'
            and array.max() <= 1
            for array in (pred, target)
        )
        allowed = all(value in VALID[name] for name, value in options.items())
        assert not (fine and allowed and pred.shape == target.shape), result
        return
    pred, target = np.asarray(pred), np.asarray(target)
    for array in (pred, target):
        assert array.dtype.kind in 'biu' and set(np.unique(array)) <= {0, 1}
    assert pred.shape[-2:] == target.shape
    if function is ev.binary_iou:
        union = (pred.astype(bool) | target.astype(bool)).sum()
        both = (pred.astype(bool) & target.astype(bool)).sum()
        assert same(float(result), float(both / union) if union else float('nan'))
    elif function is ev.mask_scores_update:
        assert result.dtype == np.int64 and result.shape == (*pred.shape[:-2], 15)
        assert (result >= 0).all() and (result <= target.size).all()
        void = np.random.default_rng(target.size).random(target.shape) < 0.3
        counted = ev.mask_scores_update(pred, target, void=void)
        either, both = (pred + target > 0) & ~void, (pred * target > 0) & ~void
        np.testing.assert_array_equal(counted[..., 0], both.sum((-2, -1)))
        np.testing.assert_array_equal(counted[..., 1], either.sum((-2, -1)))
    elif function is not ev.count_speckles:
        no_boundary = target.all() or not target.any()
        assert np.isnan(result) or 0 <= result <= 1
        if function is ev.mean_boundary_accuracy:
            assert np.isnan(result) == no_boundary
            assert no_boundary or (result == 1) >= (pred == target).all()


@given(st.data())
@cases(0.08)
def test_label_maps(data):
    function, pred, target, options = draw_call(data, LABELS, 2)
    result = check(function, pred, target, options)
    if isinstance(result, Refused):
        return
    pred, target = np.asarray(pred), np.asarray(target)
    assert pred.dtype.kind in 'iu' and target.dtype.kind in 'iu'
    assert pred.shape[-2:] == target.shape
    void = target == options['ignore_index']
    if 'num_classes' in options:
        assert ((target >= 0) & (target < options['num_classes']) | void).all()
    if function is ev.mean_iou:
        ious = []
        for label in range(options['num_classes']):
            a, b = (pred == label) & ~void, (target == label) & ~void
            if (a | b).any():
                ious.append((a & b).sum() / (a | b).sum())
        np.testing.assert_allclose(result, np.mean(ious) if ious else np.nan, rtol=1e-12)
    elif function is ev.label_scores_update:
        assert result['areas'].shape == (*pred.shape[:-2], 4, options['num_classes'])
        assert (result['areas'] >= 0).all() and (result['right'] <= result['near']).all()
    else:
        assert np.isnan(result) or 0 <= result <= 1
        if void.all():
            assert np.isnan(result)
