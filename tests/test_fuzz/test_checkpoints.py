"""Weights as files: damaged, hostile, and of things that are no weights."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_cascadepsp.apis import Refiner, publish_checkpoint, read_state_dict
from tests.fuzz import Refused, attempt, cases
from tests.test_fuzz.test_files import damaged

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzz')


class Weights(dict):
    """Weights by key, in few words where a case is told."""

    def __repr__(self):
        return '...'


@pytest.fixture(scope='module')
def weights(tiny_checkpoint):
    return Weights(torch.load(tiny_checkpoint, weights_only=True)['state_dict'])


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def fails_its_checksums(path):
    """Whether a zip archive says of itself that it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is not None
    except Exception:
        return True


def same_weights(a, b):
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a
    )


@given(st.data())
@cases(0.04)
def test_damaged_weights_are_refused(folder, weights, data):
    old = data.draw(st.integers(0, 4), 'in the old format') == 0
    content = saved(
        {'state_dict': dict(list(weights.items())[:20])}, _use_new_zipfile_serialization=not old
    )
    path = folder / 'damaged.pth'
    path.write_bytes(data.draw(damaged(content), 'content'))
    result = attempt(read_state_dict, path)
    if isinstance(result, Refused):
        assert str(path) in result
        return
    assert old or not fails_its_checksums(path), 'read, though its checksums are wrong'
    assert all(isinstance(value, torch.Tensor) for value in result.values())
    assert all(value.isfinite().all() for value in result.values() if value.is_floating_point())
    assert same_weights(result, read_state_dict(path))


class Run:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@given(st.data())
@cases(0.02)
def test_nothing_in_a_checkpoint_is_run(folder, weights, data):
    marker, path = folder / 'marker', folder / 'hostile.pth'
    call = data.draw(
        st.sampled_from(
            [
                (os.system, f'touch {marker}'),
                (eval, f'open({str(marker)!r}, "w")'),
                (exec, f'open({str(marker)!r}, "w")'),
                (open, str(marker), 'w'),
                (os.mkdir, str(marker)),
                (np.save, str(marker), np.zeros(1)),
                (getattr, 'text', 'upper'),
                (__import__, 'antigravity'),
                (torch.load, str(path)),
                (torch.zeros, (2**40,)),
                (bytearray, 2**45),
            ]
        ),
        'call',
    )
    where = data.draw(st.sampled_from(['alone', 'key', 'value', 'meta', 'list']), 'where')
    hostile = Run(*call)
    content = {
        'alone': hostile,
        'key': {'state_dict': {'a': hostile, **weights}},
        'value': {'state_dict': [hostile]},
        'meta': {'meta': {'x': hostile}, 'state_dict': dict(weights)},
        'list': [dict(weights), hostile],
    }[where]
    how = data.draw(st.sampled_from(['zip', 'old', 'pickle']), 'how')
    if how == 'pickle':
        path.write_bytes(pickle.dumps(content, protocol=data.draw(st.integers(0, 5))))
    else:
        path.write_bytes(saved(content, _use_new_zipfile_serialization=how == 'zip'))
    result = attempt(read_state_dict, path)
    assert not marker.exists() and isinstance(result, Refused)


#: In the place of one tensor.
VALUES = {
    'none': lambda t: None,
    'number': lambda t: 1,
    'text': lambda t: 'text',
    'dict': lambda t: {},
    'list': lambda t: t.tolist(),
    'parameter': lambda t: torch.nn.Parameter(t, requires_grad=False),
    'double': lambda t: t.double(),
    'half': lambda t: t.half(),
    'bfloat16': lambda t: t.to(torch.bfloat16),
    'int': lambda t: t.int(),
    'bool': lambda t: t.bool(),
    'complex': lambda t: t.to(torch.complex64),
    'quantized': lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    'nan': lambda t: t * float('nan'),
    'infinite': lambda t: t.sign() / 0,
    'one more dimension': lambda t: t[None],
    'nothing': lambda t: t[..., :0],
    'sparse': lambda t: t.to_sparse(),
    'meta': lambda t: t.to('meta'),
    'flat': lambda t: t.flatten(),
    'repeated': lambda t: t.expand(2, *t.shape),
}
#: In the place of a state dict ``w``, of a key ``k`` and another value ``v`` for it.
STATES = {
    'changed': lambda w, k, v: {**w, k: v},
    'new': lambda w, k, v: {**w, 'new': v},
    'number as key': lambda w, k, v: {**w, 3: w[k]},
    'one less': lambda w, k, v: {name: value for name, value in w.items() if name != k},
    'parallel': lambda w, k, v: {f'module.{name}': value for name, value in w.items()},
    'ordered': lambda w, k, v: OrderedDict(w),
    'empty': lambda w, k, v: {},
    'value': lambda w, k, v: v,
}
WRAPPED = {
    'state_dict': lambda s: {'state_dict': s},
    'model': lambda s: {'model': s},
    'both': lambda s: {'state_dict': {'model': s}},
    'none first': lambda s: {'state_dict': None, 'model': s},
    'with meta': lambda s: {'meta': 3, 'state_dict': s},
    'list': lambda s: [s],
    'tuple': lambda s: (s, s),
    'alone': lambda s: s,
}


@st.composite
def contents(draw, weights):
    """What might be in a checkpoint."""
    key = draw(st.sampled_from(sorted(k for k in weights if weights[k].is_floating_point())))
    value, state, wrapped = (
        table[draw(st.sampled_from(sorted(table)))] for table in (VALUES, STATES, WRAPPED)
    )
    content = wrapped(state(dict(weights), key, value(weights[key])))
    return lambda: content  # which takes few words


@given(st.data())
@cases(0.03)
def test_other_contents(folder, tiny_config, weights, refiner, photo, mask, data):
    content = data.draw(contents(weights), 'content')()
    path, target = folder / 'other.pth', folder / 'published.pth'
    target.unlink(missing_ok=True)
    path.write_bytes(saved(content))
    published = attempt(publish_checkpoint, path, target)
    assert isinstance(published, Refused) != target.exists()
    if target.exists():
        assert all(value.isfinite().all() for value in read_state_dict(target).values())
    state = attempt(read_state_dict, path)
    if not isinstance(state, Refused):
        result = attempt(Refiner, tiny_config, path, device='cpu', precision='fp32')
    if isinstance(state, Refused) or isinstance(result, Refused):
        assert str(path) in (state if isinstance(state, Refused) else result)
        return
    refined = result.refine(photo, mask, fast=True, L=66)
    assert refined.shape == mask.shape
    assert state.keys() == weights.keys() or set(weights) - set(state) <= {
        key for key in weights if key.endswith('num_batches_tracked')
    }
    if all(torch.equal(state[key].float(), weights[key].float()) for key in state):
        np.testing.assert_array_equal(refined, refiner.refine(photo, mask, fast=True, L=66))
    assert not [file for file in folder.iterdir() if file.name.startswith('.')]
