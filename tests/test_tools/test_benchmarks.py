"""What the benchmarks measure with; the package that they compare with is not needed here."""

import importlib
import itertools
import mmap
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'


@pytest.fixture
def measuring(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module('measuring')


def test_functions_run_turn_about_and_ratios_go_round_by_round(measuring):
    order = []
    ticks = itertools.chain.from_iterable((0, seconds) for seconds in (9, 9, 4, 2, 9, 3))
    seen = measuring.turn_about(
        {name: lambda name=name: order.append(name) or name for name in 'ab'},
        runs=2,
        clock=lambda: next(ticks),
    )
    assert order == list('ababab')
    assert (seen['a'].seconds, seen['b'].seconds) == ([4, 9], [2, 3])
    assert seen['b'].result == 'b'
    assert measuring.ratios(seen['a'], seen['b']).split() == '2.50 (2.00 to 3.00)'.split()


def test_peak_memory_counts_what_is_gone_again(measuring):
    with measuring.PeakMemory() as memory:
        # Not numpy's own: in a large process malloc has a free piece of this size at hand.
        block = mmap.mmap(-1, 64 * 2**20)
        np.frombuffer(block, np.uint8)[:] = 1
        del block
    if memory.host is None:
        pytest.skip('the system does not tell the resident memory')
    assert 60 * 2**20 < memory.host < 100 * 2**20
    assert 'MB' in str(memory)


def test_agreement_counts_pixels_and_masks(measuring):
    a = np.array([[0, 100, 200, 255]], np.uint8)
    b = np.array([[1, 130, 200, 255]], np.uint8)
    assert measuring.agreement(a, a).startswith('100.000% within 1/255, at most 0; IoU 1.0')
    text = measuring.agreement(a, b)
    assert text.startswith('75.000% within 1/255, at most 30') and 'IoU 0.6667' in text


@pytest.mark.parametrize('number', [1, 5, 30])
def test_a_scene_has_as_many_objects_as_asked_for(measuring, number):
    labels = measuring.discs(300, 400, number)
    assert np.unique(labels).tolist() == list(range(number + 1))


@pytest.mark.parametrize('crops', ['uniform', 'adaptive'])
def test_crops_are_counted_without_the_network(measuring, crops):
    against = importlib.import_module('against_package')
    photo, mask = measuring.waves(300, 400)
    number = against.count_crops(photo, mask, 128, f'r50:fp32:{crops}')
    from mmseg_cascadepsp.cascade import crop_grid

    assert 0 < number <= sum(1 for _ in crop_grid(300, 400, 128))
