"""Global step and Local step with toy networks whose answer can be told without them."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import CascadeSettings, crop_grid, padded_cascade

from .toy_refiner import Toy, normalize, refine, refine_pass, scene

BOTH = [pytest.param(True, id='fast'), pytest.param(False, id='full')]


def mask_as_logits(image, masks, strides):
    return dict.fromkeys(strides, masks[:, :1] * 9)


class Recorder:
    """Keeps what a network is asked."""

    def __init__(self, network=refine_pass):
        self.network, self.calls = network, []

    def __call__(self, image, masks, strides):
        self.calls.append((image, masks, strides))
        return self.network(image, masks, strides)

    @property
    def strides(self):
        return [set(strides) for _, _, strides in self.calls]


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from(['boundary', 'release', 'all']),
)
@settings(max_examples=40, deadline=None)
def test_hard_mask_of_any_size_stays(height, width, seed, fast, crop_filter):
    mask = torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)) > 0.5
    result = refine(
        mask_as_logits,
        torch.zeros(3, height, width),
        mask,
        steps='global' if fast else 'both',
        L=90,
        enlarge=False,
        crop_filter=crop_filter,
    )
    assert torch.equal(result > 0.5, mask[0])


@pytest.mark.parametrize('fast', BOTH)
@pytest.mark.parametrize('size, L', [((288, 384), 96), ((48, 24), 96), ((96, 64), 96)])
def test_straight_edges_survive_resizing(size, L, fast):
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[:, :, size[1] // 2 :] = True
    result = refine(
        mask_as_logits, torch.zeros(3, *size), mask, steps='global' if fast else 'both', L=L
    )
    assert torch.equal(result > 0.5, mask[0])


@pytest.mark.parametrize(
    'size', [(1, 1), (1, 7), (2, 500), (500, 1), (8, 8), (97, 65), (96, 96), (130, 100)]
)
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'steps': 'global'},
        {'steps': 'auto'},
        {'enlarge': False},
        {'levels': 3},
        {'crop_filter': 'all'},
        {'steps': 'local'},
    ],
)
def test_any_size(size, options):
    image = torch.full((3, *size), 77, dtype=torch.uint8)
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[..., : (size[1] + 1) // 2] = True
    result = refine(refine_pass, image, mask, L=96, normalize=normalize, **options)
    assert result.shape == size and result.dtype == torch.float32 and result.device.type == 'cpu'
    assert ((result >= 0) & (result <= 1)).all()


@pytest.mark.parametrize('value', [False, True])
@pytest.mark.parametrize('crop_filter', ['boundary', 'release', 'all'])
def test_empty_and_full_masks_stay(value, crop_filter):
    mask = torch.full((1, 150, 110), value)
    result = refine(mask_as_logits, torch.zeros(3, 150, 110), mask, L=96, crop_filter=crop_filter)
    assert ((result > 0.5) == value).all()


def test_strides_that_are_computed():
    image, mask = scene(80, 90)
    fast, full = Recorder(), Recorder()
    refine(fast, image, mask, steps='global', L=90, normalize=normalize)
    assert fast.strides == [{8}, {8, 4}, {1}]
    refine(full, image, mask, L=90, normalize=normalize)
    assert full.strides == [{8}, {8, 4}, {1, 4}, {8, 4}, {1}]


@pytest.mark.parametrize(
    'strides, expected', [((8, 1), [{8}, {8, 1}, {1}]), ((1,), [{1}, {1}]), ((8,), [{8}, {8}])]
)
def test_ablated_cascades(strides, expected):
    image, mask = scene(80, 90)
    network = Recorder()
    result = refine(network, image, mask, L=90, strides=strides, normalize=normalize)
    assert network.strides == expected and result.shape == (80, 90)


def test_local_step_reads_the_outputs_of_the_global_step():
    image, mask = scene(120, 150)
    network = Recorder()
    refine(network, image, mask, L=100, crop_filter='all', normalize=normalize)
    last = network.calls[2]
    outputs = refine_pass(*last[:2], (1, 4))
    s1, s4 = (
        F.interpolate(outputs[stride][..., :80, :100].sigmoid(), size=(120, 150), mode='bilinear')
        for stride in (1, 4)
    )
    masks = network.calls[3][1]
    assert torch.equal(masks[:, :1, :100, :100], torch.where(s1 > 0.5, 1.0, -1.0)[..., :100, :100])
    for slot in (1, 2):
        assert torch.allclose(
            masks[:, slot],
            F.pad(s4[..., :100, :100] * 2 - 1, (0, 4, 0, 4), value=-1.0)[:, 0],
            atol=1e-6,
        )


def test_global_step_sees_a_soft_mask_and_the_whole_image():
    image, mask = scene(300, 451)
    network = Recorder()
    refine(network, image, mask, steps='global', L=96, normalize=normalize)
    seen, masks, _ = network.calls[0]
    assert masks.shape == seen.shape == (1, 3, 64, 104)  # 63 x 96: both sides grow
    assert ((masks > -1) & (masks < 1)).any()
    for rows, columns in ((slice(63, None), slice(None)), (slice(None), slice(96, None))):
        assert (seen[..., rows, columns] == 0).all() and (masks[..., rows, columns] == -1).all()
    torch.testing.assert_close(
        seen[..., :63, :96].mean((2, 3)),
        normalize(image[None])[..., :450].mean((2, 3)),
        rtol=0,
        atol=0.02,
    )


def test_overlaps_are_averaged_without_the_chips():
    height, width, L = 170, 203, 96
    step = 0

    def counter(image, masks, strides):
        """Each pass answers with a constant of its own."""
        nonlocal step
        step += 1
        return {stride: torch.full_like(masks[:, :1], step / 100) for stride in strides}

    result = refine(
        counter,
        torch.zeros(3, height, width),
        torch.ones(1, height, width),
        L=L,
        crop_filter='all',
    )
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for index, (_, (top, left, bottom, right)) in enumerate(sorted(crop_grid(height, width, L))):
        logit = (3 + 2 * (index + 1)) / 100  # three passes of the Global step, two per crop
        total[top:bottom, left:right] += 1 / (1 + np.exp(-logit))
        count[top:bottom, left:right] += 1
    assert count.min() >= 1 and count.max() >= 4
    np.testing.assert_allclose(result.numpy(), total / count, rtol=1e-5)


def disc(size=260, radius=18):
    y, x = np.ogrid[:size, :size]
    return torch.from_numpy((y - 70) ** 2 + (x - 80) ** 2 < radius**2)[None]


def test_filters_choose_crops_and_others_keep_the_binarised_mask():
    image = torch.zeros(3, 260, 260)
    refined = {}
    for crop_filter in ('boundary', 'release', 'all'):
        seen = []
        result = refine(
            mask_as_logits,
            image,
            disc(),
            L=96,
            crop_filter=crop_filter,
            progress=lambda *counts, seen=seen: seen.append(counts),
        )
        refined[crop_filter] = len(seen)
        hard = (result == 0) | (result == 1)
        assert hard.all() == (not seen) and hard.any() == (crop_filter != 'all')
    every = sum(1 for _ in crop_grid(260, 260, 96))
    assert 0 < refined['release'] < refined['boundary'] < refined['all'] == every


def test_thin_object_is_refined_by_default_and_skipped_by_release():
    mask = torch.zeros(1, 96, 96, dtype=torch.bool)
    mask[:, :, 40:44] = True
    network = Recorder(mask_as_logits)
    refine(network, torch.zeros(3, 96, 96), mask, L=96)
    assert len(network.calls) == 5
    network = Recorder(mask_as_logits)
    refine(network, torch.zeros(3, 96, 96), mask, L=96, crop_filter='release')
    assert len(network.calls) == 3


@pytest.mark.parametrize('batch_size', [2, 7, 1000])
def test_batches_of_crops_give_the_same(batch_size):
    image, mask = scene(150, 180)
    alone, together, seen = Recorder(), Recorder(), []
    expected = refine(alone, image, mask, L=96, normalize=normalize)
    result = refine(
        together,
        image,
        mask,
        L=96,
        normalize=normalize,
        batch_size=batch_size,
        progress=lambda *counts: seen.append(counts),
    )
    assert torch.allclose(result, expected, atol=1e-6)
    crops = (len(alone.calls) - 3) // 2
    assert len(together.calls) == 3 + 2 * -(-crops // batch_size)
    assert seen == [(done, crops) for done in range(1, crops + 1)]


def test_normalize_sees_no_more_than_a_crop_and_equals_a_normalised_image():
    image, mask = scene(150, 180)
    shapes = []

    def spy(part):
        shapes.append(part.shape)
        return normalize(part)

    result = refine(refine_pass, image, mask, L=96, normalize=spy)
    assert max(max(shape[-2:]) for shape in shapes) <= 96
    expected = refine(refine_pass, normalize(image[None])[0], mask.float() * 2 - 1, L=96)
    assert torch.allclose(result, expected, atol=1e-5)


def test_local_auto_follows_the_paper():
    for height, calls in ((89, 3), (90, 5)):
        image, mask = scene(height, 70)
        network = Recorder()
        result = refine(network, image, mask, L=90, steps='auto', normalize=normalize)
        assert len(network.calls) == calls and result.shape == (height, 70)


def test_local_only_starts_from_the_coarse_mask():
    image, mask = scene(120, 150)
    network = Recorder()
    refine(network, image, mask, L=100, steps='local', crop_filter='all', normalize=normalize)
    crops = sorted(crop_grid(120, 150, 100))
    assert network.strides == [{8, 4}, {1}] * len(crops)
    signed = mask.float() * 2 - 1
    for crop, (_, masks, _) in zip(crops, network.calls[::2], strict=True):
        expected = signed[(..., *crop.outer.slices)].expand(3, -1, -1)
        assert torch.equal(masks[0, :, :100, :100], expected)


def test_enlarging_is_optional():
    image, mask = scene(40, 56)
    for enlarge, size in ((True, (72, 104)), (False, (40, 56))):
        network = Recorder()
        refine(network, image, mask, L=96, enlarge=enlarge, normalize=normalize)
        assert network.calls[0][0].shape[-2:] == size


def test_levels_go_from_coarse_to_fine():
    image, mask = scene(192, 384)
    network = Recorder()
    seen = []
    refine(
        network,
        image,
        mask,
        L=96,
        levels=2,
        normalize=normalize,
        crop_filter='all',
        progress=lambda *counts: seen.append(counts),
    )
    coarse, fine = (sum(1 for _ in crop_grid(*size, 96)) for size in ((96, 192), (192, 384)))
    assert seen == [(index + 1, count) for count in (coarse, fine) for index in range(count)]
    # Only a level that another one follows needs its stride-4 output.
    assert network.strides[3:5] == [{8, 4}, {1, 4}] and network.strides[-1] == {1}
    image, mask = scene(96, 96)
    network = Recorder()
    refine(network, image, mask, L=96, levels=2, normalize=normalize)
    assert len(network.calls) == 5


def test_gradients_are_not_kept():
    image, mask = scene(40, 40)
    parameter = torch.ones(1, requires_grad=True)

    def network(image, masks, strides):
        return dict.fromkeys(strides, masks[:, :1] * parameter)

    assert not refine(network, image, mask, L=66, normalize=normalize).requires_grad


def test_half_precision_outputs_become_float32():
    def network(image, masks, strides):
        return dict.fromkeys(strides, (masks[:, :1] * 3).bfloat16())

    image, mask = torch.zeros(2, 3, 9, 9), torch.ones(2, 1, 9, 9)
    outputs = padded_cascade(Toy(network, None), image, mask, CascadeSettings())
    assert outputs[1].dtype == torch.float32 and outputs[1].shape == (2, 1, 9, 9)


@pytest.mark.parametrize(
    'options, error, message',
    [
        ({'L': 65}, ValueError, 'L must be at least 66'),
        ({'L': 96.0}, TypeError, 'L must be an integer'),
        ({'crop_filter': 'some'}, ValueError, "crop_filter must be one of .*got 'some'"),
        ({'steps': 'never'}, ValueError, "steps must be one of .*got 'never'"),
        ({'levels': 0}, ValueError, 'levels must be at least 1, got 0'),
        ({'batch_size': 0}, ValueError, 'batch_size must be at least 1, got 0'),
        ({'batch_size': 1.5}, TypeError, 'batch_size must be an integer, got 1.5'),
        (
            {'image': torch.zeros(1, 9, 9)},
            ValueError,
            r'image must have the shape.*got \(1, 9, 9\)',
        ),
        ({'image': torch.zeros(3, 0, 9)}, ValueError, r'at least one pixel, got \(3, 0, 9\)'),
        (
            {'mask': torch.zeros(9, 9)},
            ValueError,
            r'mask must have the shape \(1, 9, 9\).*got \(9, 9\)',
        ),
        (
            {'mask': torch.zeros(1, 9, 9, dtype=torch.uint8)},
            TypeError,
            'mask must be bool or float',
        ),
    ],
)
def test_bad_input_is_told(options, error, message):
    arguments = {
        'image': torch.zeros(3, 9, 9, dtype=torch.uint8),
        'mask': torch.zeros(1, 9, 9),
        'normalize': normalize,
        **options,
    }
    with pytest.raises(error, match=message):
        refine(refine_pass, arguments.pop('image'), arguments.pop('mask'), **arguments)


MEMORY = """
import resource, sys
import torch
from mmseg_cascadepsp.cascade import Network, refine

class Copy(Network):
    def normalize(self, image):
        return image.float() / 255

    def for_image(self, image):
        return lambda masks, strides: dict.fromkeys(strides, masks[:, :1] * 4)

height, width = 3600, 5000
image = torch.zeros(3, height, width, dtype=torch.uint8)
mask = torch.zeros(1, height, width, dtype=torch.bool)
mask[:, 500:3000, 700:4000] = True
unit = 2**30 if sys.platform == 'darwin' else 2**20
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
refine(Copy(), image, mask)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='no getrusage')
def test_large_photo_takes_little_memory():
    """5000 x 3600 at L=900 in less than 0.5 GB beside the image, the mask and the network."""
    done = subprocess.run(
        [sys.executable, '-c', MEMORY], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[-1]) < 0.5
