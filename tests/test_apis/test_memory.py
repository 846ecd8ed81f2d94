"""``max_memory``: batches follow the budget, and it is kept."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.apis.memory import PeakMemory, batch_that_fits, parse_bytes
from tests.chaining import write_refiner


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    config, weights = write_refiner(tmp_path_factory.mktemp('refiner'))
    return dict(model=str(config), checkpoint=weights, device='cpu', crop_filter='all')


@pytest.fixture(scope='module')
def photo():
    rng = np.random.default_rng(0)
    mask = np.zeros((200, 260), bool)
    mask[60:140, 70:200] = True
    return rng.integers(0, 256, (200, 260, 3), dtype=np.uint8), mask


def batches_of(refiner, monkeypatch):
    """Batch sizes of the cascades that are run."""
    seen = []
    for_image = refiner._refine_pass.for_image

    def watched(image):
        seen.append(len(image))
        return for_image(image)

    monkeypatch.setattr(refiner._refine_pass, 'for_image', watched)
    return seen


def test_peak_is_that_of_tensors_alive_together():
    with PeakMemory() as memory:
        a = torch.zeros(1000)  # 4000 bytes
        b = a.view(10, 100).add(1)  # a view takes nothing
        del a
        b.mul_(2)
        c = torch.cat((b, b))  # 4000 + 8000
        del b
        assert memory.live == 8000
        torch.zeros(500)
    assert memory.peak == 12000
    del c
    assert memory.live == 0


@pytest.mark.parametrize(
    'value, size',
    [
        (None, None),
        (1000, 1000),
        ('1000', 1000),
        ('2GB', 2 * 2**30),
        ('1.5 gb', 3 * 2**29),
        ('500M', 500 * 2**20),
        ('64kb', 2**16),
    ],
)
def test_sizes_are_read(value, size):
    assert parse_bytes(value) == size


@pytest.mark.parametrize('value', ['much', 0, -5, True, '', 'GB', float('nan'), []])
def test_what_is_no_size_is_told(value):
    with pytest.raises(ValueError, match="max_memory must be .*'2GB', got"):
        parse_bytes(value)


def test_batches_fill_the_budget_and_keep_it(small, photo, monkeypatch):
    plain = Refiner(**small).refine(*photo, L=128)
    largest = []
    for budget in (30, 120):
        refiner = Refiner(**small, max_memory=f'{budget}MB')
        seen = batches_of(refiner, monkeypatch)
        _ = refiner._pixel_bytes  # measured before, not counted below
        seen.clear()
        with PeakMemory() as memory:
            refined = refiner.refine(*photo, L=128)
        assert memory.peak < budget * 2**20
        # Rounding decides at the threshold whether a piece is detached, here of random weights.
        assert (np.abs(refined.astype(int) - plain) > 1).mean() < 1e-3
        largest.append(max(seen))
    assert largest[0] < largest[1]
    assert max(largest) <= 16


def test_too_small_a_budget_names_the_crop_size_that_fits(small, photo):
    refiner = Refiner(**small, max_memory='40MB')
    with pytest.raises(ValueError, match=r'max_memory is 40 MB, but one pass at L=900') as told:
        refiner.refine(*photo)
    side = int(str(told.value).split('give L=')[1].split()[0])
    assert refiner.refine(*photo, L=side).shape == (200, 260)
    with pytest.raises(ValueError, match='max_memory'):
        refiner.refine(*photo, L=2 * side)
    with pytest.raises(ValueError, match='this photo cannot be refined within it'):
        batch_that_fits(2**20, 100, 900, image_bytes=2**20)


def test_label_maps_keep_it_too(small, photo):
    image, mask = photo
    labels = mask.astype(np.uint8)
    strategy = dict(type='semantic', L=128, background=0)
    same = Refiner(**small).refine_semantic(image, labels, strategy)
    refined = Refiner(**small, max_memory='100MB').refine_semantic(image, labels, strategy)
    assert (refined != same).mean() < 0.01
    with pytest.raises(ValueError, match='max_memory'):
        Refiner(**small, max_memory='20MB').refine_semantic(image, labels)


FAULTS = """
import resource
import numpy as np
from mmseg_cascadepsp.apis import keep_freed_memory

def faults(rounds=5, size=64 * 2**20):
    np.ones(size, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.ones(size, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
print(keep_freed_memory(), before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')
def test_freed_memory_is_kept_for_the_next_arrays():
    """In a process of its own: the setting cannot be taken back."""
    output = subprocess.check_output([sys.executable, '-c', FAULTS], text=True)
    kept, before, after = output.split()
    assert kept == 'True'
    # Huge pages, where numpy gets them, are one fault each.
    assert int(before) >= 5 * 32 and int(after) < 16
