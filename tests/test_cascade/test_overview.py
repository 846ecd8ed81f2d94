"""The overview: what a cascade sees of the whole, shrunk image before it looks closer."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import CascadeSettings, mask_channels, padded_cascade, run_cascade
from mmseg_cascadepsp.cascade import steps as steps_module
from mmseg_cascadepsp.cascade.overview import look_over
from mmseg_cascadepsp.cascade.tidy import tidy

from . import toy_refiner
from .toy_refiner import Toy, refine


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    """An overview may be small."""
    monkeypatch.setattr(steps_module, 'MIN_OVERVIEW', 1)


def cascade(run, image, mask, strides=(8, 4, 1), **settings):
    """Finest probability of a cascade over a normalised image."""
    network = Toy(run, None, strides)
    return padded_cascade(network, image, mask, CascadeSettings(**settings))[strides[-1]]


def inputs(height, width, batch=1):
    generator = torch.Generator().manual_seed(height * width)
    image = torch.rand(batch, 3, height, width, generator=generator) * 255
    mask = -torch.ones(batch, 1, height, width)
    mask[..., height // 4 : height * 2 // 3, width // 4 : width * 3 // 4] = 1
    return toy_refiner.normalize(image), mask


def test_it_gives_half_of_the_mask_and_takes_the_place_of_the_first_pass():
    """Written out: the cascade at half the size, then the second and third pass."""
    image, mask = inputs(64, 96, batch=2)
    image[..., 48:] *= 4  # where the network is far from the mask
    half = [F.avg_pool2d(part, 2) for part in (image, mask)]
    passes = partial(toy_refiner.refine_pass, half[0])
    small = run_cascade(passes, half[1], (8, 4, 1))[-1][1].sigmoid() * 2 - 1
    differ = ((small - half[1]).abs() > 1).numpy().astype(np.uint8)
    opened = [cv2.dilate(cv2.erode(one[0], np.ones((3, 3))), np.ones((5, 5))) for one in differ]
    share = torch.from_numpy(np.stack(opened)[:, None]).float()
    assert 0.03 < share.mean() < 0.9
    seen, share = (F.interpolate(part, size=(64, 96), mode='bilinear') for part in (small, share))
    mixed = (mask + share * seen + (1 - share) * mask) / 2
    second = toy_refiner.refine_pass(image, mixed.expand(-1, 3, -1, -1), (8, 4))
    given_ = {stride: torch.tanh(logits) for stride, logits in second.items()}
    third = toy_refiner.refine_pass(image, mask_channels(mixed, given_), (8, 4, 1))
    third = tidy(third, mask)

    calls = []

    def network(image, masks, strides):
        calls.append((tuple(image.shape[-2:]), strides))
        return toy_refiner.refine_pass(image, masks, strides)

    settings_ = CascadeSettings(overview=0.5, tidy=True)
    result = padded_cascade(Toy(network, None), image, mask, settings_)
    assert calls[3:] == [((64, 96), (8, 4)), ((64, 96), (8, 4, 1))]
    for stride, logits in third.items():
        torch.testing.assert_close(result[stride], logits.sigmoid(), atol=1e-5, rtol=1e-5)
    plain = cascade(toy_refiner.refine_pass, image, mask)
    assert (result[1] - plain).abs().max() > 0.02


@pytest.mark.parametrize('gap, filled', [(8, False), (12, True), (24, True)])
def test_strips_are_left_to_the_passes_that_see_every_pixel(gap, filled):
    """A gap in the mask that the overview fills counts where it is wider than two per cent."""

    def fill(image, masks, strides):
        return dict.fromkeys(strides, torch.full_like(image[:, :1], 20.0))

    mask = torch.ones(1, 1, 240, 400)
    mask[..., 100 : 100 + gap] = -1
    seen = look_over(Toy(fill), torch.zeros(1, 3, 240, 400), mask, 0.5)
    torch.testing.assert_close(seen, torch.ones_like(mask) if filled else mask)


def test_it_gives_way_where_it_would_change_little_of_an_object():
    """Each object of a batch by itself: 2 and 4 % of it are missing."""

    def fill(image, masks, strides):
        return dict.fromkeys(strides, torch.full_like(image[:, :1], 20.0))

    masks = torch.ones(2, 1, 400, 400)
    masks[0, :, 100:156, 100:156] = masks[1, :, 100:180, 100:180] = -1
    seen = look_over(Toy(fill), torch.zeros(2, 3, 400, 400), masks, 0.5)
    torch.testing.assert_close(seen[0], masks[0])
    torch.testing.assert_close(seen[1], torch.ones(1, 400, 400))


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 150), width=st.integers(1, 150), share=st.floats(0.01, 0.99))
def test_any_size_and_share(height, width, share):
    """A pass takes only multiples of 8, as the toy asserts."""
    image, mask = inputs(height, width)
    seen = look_over(Toy(), image, mask, share)
    assert seen.shape == mask.shape and seen.abs().max() <= 1
    found = cascade(toy_refiner.refine_pass, image, mask, overview=share, tidy=True)
    assert found.shape == mask.shape and found.isfinite().all()


@pytest.mark.parametrize('strides', [(8,), (1,), (8, 1)])
def test_a_cascade_of_one_pass_has_none(strides):
    image, mask = inputs(64, 64)
    run = toy_refiner.refine_pass
    found = cascade(run, image, mask, strides, overview=0.5, tidy=True)
    plain = cascade(run, image, mask, strides)
    assert torch.equal(found, plain) == (len(strides) == 1)


def test_only_the_first_step_has_one():
    """The Local step starts from what was seen already; sizes of all passes tell."""
    sizes = []

    def network(image, masks, strides):
        sizes.append(tuple(image.shape[-2:]))
        return toy_refiner.refine_pass(image, masks, strides)

    image, mask = torch.randint(0, 256, (3, 160, 240), dtype=torch.uint8), inputs(160, 240)[1][0]
    common = dict(L=120, normalize=toy_refiner.normalize, crop_filter='all')
    refine(network, image, mask, overview=0.5, **common)
    assert sizes[:5] == [(40, 64)] * 3 + [(80, 120)] * 2
    assert set(sizes[5:]) == {(120, 120)}
    sizes.clear()
    refine(network, image, mask, overview=0.5, steps='local', **common)
    assert set(sizes) == {(120, 120)}


@pytest.mark.parametrize('share', [-0.1, 1, 7, float('nan')])
def test_bad_shares_are_told(share):
    with pytest.raises(ValueError, match='overview must be'):
        CascadeSettings(overview=share)


def test_none_and_zero_are_no_overview():
    assert CascadeSettings(overview=0) == CascadeSettings(overview=None)
    assert CascadeSettings(overview=0.5).overview == 0.5


@pytest.mark.parametrize(
    'width, share, seen', [(440, 0.5, False), (448, 0.5, True), (896, 0.25, True)]
)
def test_what_would_be_tiny_is_left_out(monkeypatch, width, share, seen):
    monkeypatch.setattr(steps_module, 'MIN_OVERVIEW', 224)
    image, mask = inputs(64, width)
    calls = []

    def network(image, masks, strides):
        calls.append(strides)
        return toy_refiner.refine_pass(image, masks, strides)

    cascade(network, image, mask, overview=share)
    assert len(calls) == (5 if seen else 3)


def grow(image, masks, strides):
    """A network that sees 8 pixels far: it fills what has the colour of the object."""
    like = image[:, :1] > 0
    seen = F.max_pool2d(masks.mean(1, keepdim=True), 17, stride=1, padding=8) > -0.5
    return dict.fromkeys(strides, torch.where(like & seen, 20.0, -20.0))


def test_what_is_out_of_sight_comes_into_sight():
    image, mask = -torch.ones(1, 3, 64, 256), -torch.ones(1, 1, 64, 256)
    image[..., 16:48, 16:240] = 1
    mask[..., 16:48, 16:160] = 1  # 80 pixels are missing
    near, far = (
        (cascade(grow, image, mask, overview=share) > 0.5).sum().item() for share in (None, 0.25)
    )
    truth = int((image[:, 0] > 0).sum())
    assert near < 0.9 * truth and far == truth, np.array([near, far]) / truth
