"""Photos, masks and label maps of any kind, given to ``Refiner``."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.errors import UserError
from tests.fuzz import Agrees, Refused, attempt, cases, copied, same

pytestmark = pytest.mark.slow

L = 66
SIDES = st.one_of(st.integers(1, 66), st.sampled_from([1, 2, 7, 8, 64, 65, 66]))
LAYOUTS = {
    'rows': np.ascontiguousarray,
    'columns': np.asfortranarray,
    'turned': lambda a: a[::-1].copy()[::-1],
    'part': lambda a: np.pad(a, [(1, 1)] * a.ndim)[(slice(1, -1),) * a.ndim],
    'swapped': lambda a: a.astype(a.dtype.newbyteorder()),
}
#: Masks whose meaning nobody doubts -> which pixels are object.
CLEAR = {
    'bool': (lambda m: m, bool),
    '0/1': (lambda m: m, np.uint8),
    '0/1 wide': (lambda m: m, np.int64),
    '0/255': (lambda m: m * 255, np.uint8),
    '0/255 wide': (lambda m: m * 255, np.int32),
    'fractions': (lambda m: m * 1.0, np.float64),
    'half': (lambda m: m * 1.0, np.float16),
}
STRANGE = [
    float('nan'), float('inf'), -1, -1e-7, 1 + 1e-7, 1.01, 2, 3, 15, 127, 128, 254, 256, 300,
    65535, 2**31, 2**63, -(2**40), 1e300,
]  # fmt: skip
DTYPES = [
    bool, 'u1', 'i1', 'u2', 'i2', 'u4', 'i8', 'u8', 'f2', 'f4', 'f8', 'c8', object, 'S1', 'U2',
    'M8[s]', [('a', 'u1')], '>u2', '>f4',
]  # fmt: skip


@st.composite
def layouts(draw, array):
    """The same values in another layout of memory."""
    array = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](array)
    array.flags.writeable = draw(st.booleans())
    return array


@st.composite
def blobs(draw, size):
    """A mask of one object."""
    height, width = size
    y, x = np.ogrid[:height, :width]
    center = draw(st.integers(0, height)), draw(st.integers(0, width))
    return np.hypot(y - center[0], x - center[1]) <= draw(st.integers(0, 40))


@st.composite
def odd_arrays(draw, size):
    """Arrays of any dtype, shape and values, and things that are none."""
    shape = draw(
        st.sampled_from(
            [size, (*size, 1), (*size, 3), (*size, 4), size[::-1], (1, *size), (0, 5), (), (9,)]
        )
    )
    base = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape)
    base = np.asarray(base) * draw(st.sampled_from([0, 1, 2, 15, 255, 256, 1000]))
    dtype = draw(st.sampled_from(DTYPES))
    with np.errstate(all='ignore'):
        try:
            array = np.asarray(base.astype(dtype))
        except (TypeError, ValueError):
            array = np.zeros(shape, dtype)
        for value in draw(st.lists(st.sampled_from(STRANGE), max_size=2)):
            if array.size and array.dtype.kind in 'iuf':
                if array.dtype.kind in 'iu':
                    info = np.iinfo(array.dtype)
                    value = 0 if value != value else min(max(value, info.min), info.max)
                    value = int(value) if abs(value) < 2**62 else info.max
                array.flat[draw(st.integers(0, array.size - 1))] = value
    kind = draw(st.sampled_from(['array'] * 6 + ['list', 'None', 'masked', 'torch', 'PIL', 'str']))
    if kind == 'masked':
        return np.ma.masked_array(array, mask=np.ones(array.shape, bool))
    if kind == 'torch' and array.dtype == np.uint8:
        return torch.from_numpy(array.copy())
    if kind == 'PIL' and array.dtype == np.uint8 and array.ndim == 2 and array.size:
        return Image.fromarray(array)
    return {'list': array.tolist(), 'None': None, 'str': 'a.png'}.get(kind, array)


@st.composite
def photos(draw, size):
    photo = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (*size, 3), np.uint8)
    return draw(layouts(photo))


REFINER = Refiner(Agrees(), L=L, enlarge=False, region='photo')


@given(st.data())
@cases(0.1)
def test_masks_of_clear_meaning_are_taken(data):
    size = data.draw(st.tuples(SIDES, SIDES), 'size')
    photo, blob = data.draw(photos(size), 'photo'), data.draw(blobs(size), 'mask')
    make, dtype = CLEAR[data.draw(st.sampled_from(sorted(CLEAR)), 'kind')]
    mask = data.draw(layouts(make(blob).astype(dtype)), 'as')
    options = {'fast': data.draw(st.sampled_from([None, True, False]), 'fast')}
    before = copied(photo), copied(mask)
    result = REFINER.refine(photo, mask, **options)
    assert result.dtype == np.uint8 and result.shape == size
    np.testing.assert_array_equal(result > 127, blob)
    assert same(result, REFINER.refine(photo, mask, **options))
    assert same(before[0], photo) and same(before[1], mask)


@given(st.data())
@cases(0.2)
def test_other_masks_are_refused_or_read_as_told(data):
    """Above a half of 1, of 8 or of 16 bits is object. Floats may overshoot by a quarter."""
    size = data.draw(st.tuples(SIDES, SIDES), 'size')
    odd = odd_arrays(size)
    photo = data.draw(st.one_of(photos(size), photos(size), odd), 'photo')
    mask = data.draw(st.one_of(odd, odd, blobs(size)), 'mask')
    L_ = data.draw(
        st.sampled_from([None, L, L, L, 65, 66.5, float('nan'), '66', True, -1, np.int64(L)]), 'L'
    )
    fast = data.draw(st.sampled_from([None, True, False, 'no', 0, 1, [], np.True_]), 'fast')
    before = copied(photo), copied(mask)
    result = attempt(REFINER.refine, photo, mask, fast=fast, L=L_)
    assert same(before[0], photo) and same(before[1], mask)
    if isinstance(result, Refused):
        return
    assert isinstance(photo, np.ndarray | torch.Tensor | Image.Image)
    if not isinstance(mask, np.ndarray):  # read as its array is, see test_apis/test_inputs.py
        return
    if mask.shape != size and mask.size != size[0] * size[1]:  # a picture of greys
        return
    if mask.shape == size[::-1]:  # the photo too, or it was refused
        size = mask.shape
    assert fast is None or isinstance(fast, (bool, np.bool_))
    assert L_ is None or (L_ == L and not isinstance(L_, bool))
    assert result.dtype == np.uint8 and result.shape == size
    given_ = mask.reshape(size)
    if isinstance(mask, np.ma.MaskedArray):
        given_ = given_.filled(0)
    values = given_.astype(float)
    room = 0.25 if mask.dtype.kind == 'f' else 0
    full = next(full for full in (1, 255, 65535) if values.max() <= full * (1 + room))
    assert values.min() >= -full * room
    is_object = values > full / 2
    whole = (values == np.rint(values)).all()
    if full > 1 and whole and (values[~is_object] > 0).any():  # or it is a label map
        assert (is_object & (values < full)).any()
    np.testing.assert_array_equal(result > 127, is_object)
    assert same(result, attempt(REFINER.refine, photo, mask, fast=fast, L=L_))


@given(st.data())
@cases(0.15)
def test_label_maps(data):
    size = data.draw(st.tuples(SIDES, SIDES), 'size')
    photo = data.draw(photos(size), 'photo')
    ids = data.draw(st.sampled_from([(0, 1), (0, 1, 2, 255), (3, 7), (0, 255), (-1, 4), (254,)]))
    dtype = data.draw(st.sampled_from(['u1', 'i1', 'u2', 'i4', 'i8', 'u8', '>i4', 'f4', bool]))
    base = np.zeros(size, int)
    for label in data.draw(st.lists(st.sampled_from(ids), max_size=4), 'ids'):
        base[data.draw(blobs(size), 'part')] = label
    labels = data.draw(layouts(base.astype(dtype)), 'labels')
    if data.draw(st.integers(0, 9)) == 0:
        labels = data.draw(odd_arrays(size), 'odd labels')
    classes = data.draw(
        st.sampled_from([None, None, ('a', 'b', 'c'), ['thing'], 'abc', (), [1, 2], 5]), 'classes'
    )
    options = {
        'ignore_index': data.draw(
            st.sampled_from([255, 255, 255, None, 0, -1, 'x', 1.5, 300, True, [255]]), 'void'
        ),
        'strategy': data.draw(
            st.sampled_from(['scene', 'semantic', 'binary', 'auto', 'x', None, 3, {}]), 'strategy'
        ),
        'stuff': data.draw(
            st.sampled_from(['auto'] * 4 + [(), [0], ['a'], [99], 'ade20k', 'x', None, 1]), 'stuff'
        ),
        'background': data.draw(st.sampled_from([None] * 4 + [0, 1, -1, 'a', 'x', 2.5, 99, True])),
        'classes': classes,
    }
    shape = data.draw(
        st.sampled_from([None, None, (3, *size), (2, *size), (1, 1, 1), size]), 'logits'
    )
    if shape:
        logits = np.zeros(shape, data.draw(st.sampled_from(['f4', 'f8', 'f2', 'i8'])))
        if logits.dtype.kind == 'f' and data.draw(st.booleans(), 'infinite logits'):
            logits.flat[0] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        options['logits'] = logits
    before = copied(photo), copied(labels)
    result = attempt(REFINER.refine_semantic, photo, labels, **options)
    assert same(before[0], photo) and same(before[1], labels)
    if isinstance(result, Refused):
        return
    assert result.shape == size and result.dtype.kind in 'iu'
    if isinstance(labels, np.ndarray):  # of others the ids alone stay
        assert result.dtype == labels.dtype.newbyteorder('=')
    labels = np.asarray(labels).reshape(size)
    void, ignore = options['ignore_index'], np.zeros(size, bool)
    assert void is None or isinstance(void, int)
    assert classes is None or (isinstance(classes, (list, tuple)) and classes)
    if void is not None:
        ignore = labels == void
        np.testing.assert_array_equal(result == void, ignore)
    if 'logits' in options and options['strategy'] == 'scene':
        assert np.isfinite(options['logits']).all() or same(result, labels)
    assert set(np.unique(result)) <= {*np.unique(labels).tolist(), options['background'], 0}
    assert same(result, REFINER.refine_semantic(photo, labels, **options))


def test_most_of_the_errors_are_ours():
    with pytest.raises(UserError):
        REFINER.refine(None, None)
