"""The guided filter against a brute-force one, and what it is for: edges of the photo."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import (
    CascadeSettings,
    FusionSettings,
    GuidedFilter,
    divide,
    refine_regions,
    run_global,
)

from .toy_refiner import Toy, refine


def brute_force(image, value, window, eps):
    """He, Sun and Tang 2010, equations 14 to 16, window by window; windows are cut at the image's
    border. ``image`` (3, H, W), ``value`` (H, W), float64."""
    height, width = value.shape
    slopes, offsets = np.zeros((height, width, 3)), np.zeros((height, width))

    def part(y, x):
        return np.s_[..., max(y - window, 0) : y + window + 1, max(x - window, 0) : x + window + 1]

    for y in range(height):
        for x in range(width):
            colours, values = image[part(y, x)].reshape(3, -1), value[part(y, x)].ravel()
            variance = np.cov(colours, bias=True) + eps * np.eye(3)
            covariance = (colours * values).mean(1) - colours.mean(1) * values.mean()
            slopes[y, x] = np.linalg.solve(variance, covariance)
            offsets[y, x] = values.mean() - slopes[y, x] @ colours.mean(1)
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            slope = slopes.transpose(2, 0, 1)[part(y, x)].mean((1, 2))
            result[y, x] = slope @ image[:, y, x] + offsets[part(y, x)[1:]].mean()
    return result.clip(0, 1)


def example(height, width, seed=0):
    """A smooth photo with an edge in the middle, a step of probability beside it."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.1, (3, height, width))
    image[:, :, width // 2 :] += np.array([1.0, -0.5, 0.7])[:, None, None]
    value = np.zeros((height, width))
    value[:, width // 2 + 2 :] = 1
    return image, value


def run(guided, image, value):
    image, value = (torch.from_numpy(a).float() for a in (image[None], value[None, None]))
    return guided(image, value)[0, 0].numpy()


@pytest.mark.parametrize('size', [(24, 31), (31, 24), (7, 40)])
def test_on_the_full_grid_it_is_the_guided_filter(size):
    image, value = example(*size)
    radius = 3 / max(size)
    found = run(GuidedFilter(radius=radius, eps=0.02, cells=100), image, value)
    np.testing.assert_allclose(found, brute_force(image, value, 3, 0.02), atol=1e-4)


@pytest.mark.parametrize('radius', [0.008, 0.05])
def test_running_sums_give_what_pooling_gives(radius):
    """Of fp32 on a CPU there are running sums, of all else pooling."""
    image, value = (torch.from_numpy(part)[None] for part in example(120, 160))
    guided = GuidedFilter(radius=radius)
    pooled = guided(image, value[None])
    summed = guided(image.float(), value[None].float())
    torch.testing.assert_close(summed.double(), pooled, atol=1e-5, rtol=0)


def test_the_smaller_grid_gives_nearly_the_same():
    image, value = example(120, 160)
    full = run(GuidedFilter(radius=0.05, cells=100), image, value)
    for cells in (2, 3, 4):
        found = run(GuidedFilter(radius=0.05, cells=cells), image, value)
        assert np.abs(found - full).mean() < 0.02
        assert ((found > 0.5) == (full > 0.5)).mean() > 0.99


def test_a_boundary_beside_an_edge_moves_to_the_edge():
    image, value = example(90, 120)
    truth = np.zeros((90, 120), bool)
    truth[:, 60:] = True
    assert ((value > 0.5) != truth).sum() == 180
    found = run(GuidedFilter(radius=0.05), image, value) > 0.5
    assert (found != truth).sum() < 20


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(1, 60), width=st.integers(1, 60), level=st.sampled_from([0.0, 0.3, 1.0]),
    radius=st.floats(0.005, 0.5), cells=st.integers(1, 5),
)  # fmt: skip
def test_what_is_even_stays_even_in_any_photo(height, width, level, radius, cells):
    image = np.random.default_rng(1).normal(0, 1, (3, height, width))
    found = run(GuidedFilter(radius=radius, cells=cells), image, np.full((height, width), level))
    assert found.shape == (height, width)
    np.testing.assert_allclose(found, level, atol=2e-3)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), height=st.integers(1, 50), width=st.integers(1, 50))
def test_probabilities_stay_probabilities(seed, height, width):
    rng = np.random.default_rng(seed)
    found = run(
        GuidedFilter(radius=0.1), rng.normal(0, 3, (3, height, width)), rng.random((height, width))
    )
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_each_photo_of_a_batch_is_filtered_alone():
    images, values = zip(*(example(40, 50, seed) for seed in range(3)), strict=True)
    batch = [torch.from_numpy(np.stack(a)).float() for a in (images, values)]
    together = GuidedFilter(radius=0.05)(batch[0], batch[1][:, None])
    for index, (image, value) in enumerate(zip(images, values, strict=True)):
        alone = run(GuidedFilter(radius=0.05), image, value)
        np.testing.assert_allclose(together[index, 0].numpy(), alone, atol=1e-5)


@pytest.mark.parametrize('name', ['radius', 'eps', 'cells'])
def test_settings_must_be_above_0(name):
    with pytest.raises(ValueError, match=f'{name} must be above 0, got 0'):
        GuidedFilter(**{name: 0})


def network(image, masks, strides):
    """Follows the coarse mask."""
    return dict.fromkeys(strides, 4 * masks[:, :1])


def filter_of(run):
    """A filter that calls ``run``."""
    call = {'__call__': lambda self, image, probability: run(image, probability)}
    return type('Filter', (GuidedFilter,), call)()


def test_a_global_step_is_filtered_only_where_refinement_ends():
    image = torch.randn(3, 64, 80)
    mask = torch.where(torch.rand(1, 64, 80) > 0.5, 1.0, -1.0)
    calls = []

    def invert(image, probability):
        calls.append((image.shape, probability.shape))
        return 1 - probability

    own = Toy(network, None)
    filtered = CascadeSettings(guided_filter=filter_of(invert))
    plain = run_global(own, image, mask, CascadeSettings(), final=(1, 4))
    between = run_global(own, image, mask, filtered, final=(1, 4))
    assert not calls and all(torch.equal(plain[stride], between[stride]) for stride in (1, 4))
    last = run_global(own, image, mask, filtered, final=(1,), last=True)
    assert torch.equal(last[1], 1 - plain[1])
    assert calls == [((1, 3, 64, 80), (1, 1, 64, 80))]


@pytest.mark.parametrize(
    'options, size',
    [
        (dict(steps='global', L=100), (71, 100)),  # shrunk: at the size that the network sees
        (dict(steps='global', L=140), (100, 140)),
        (dict(steps='global', L=200), (100, 140)),  # enlarged: at its own size
        (dict(steps='global', L=200, enlarge=False), (100, 140)),
        (dict(L=100), (100, 100)),  # crops
        (dict(L=100, levels=2), (100, 100)),
        (dict(L=200), (100, 140)),
        (dict(steps='local', L=100), (100, 100)),
    ],
    ids=str,
)
def test_results_of_all_steps_are_finished_once(options, size):
    image = torch.randint(0, 256, (3, 100, 140), dtype=torch.uint8)
    mask = torch.zeros(1, 100, 140, dtype=torch.bool)
    mask[:, 30:70, 40:90] = True
    sizes = []

    def finish(image, probability):
        assert image.shape[1:] == (3, *probability.shape[-2:]) and image.max() <= 1
        sizes.append(tuple(probability.shape[-2:]))
        return 1 - probability  # twice would be never

    options = dict(crop_filter='all', normalize=lambda image: image / 255, **options)
    plain = refine(network, image, mask, **options)
    result = refine(network, image, mask, guided_filter=filter_of(finish), **options)
    torch.testing.assert_close(result, 1 - plain, atol=1e-5, rtol=0)
    assert set(sizes) == {size}


@pytest.mark.parametrize('min_size', [20, 150])
def test_regions_of_scenes_are_finished_at_their_own_size(min_size):
    image = torch.randint(0, 256, (3, 100, 140), dtype=torch.uint8)
    labels = np.zeros((100, 140), np.int64)
    labels[30:70, 40:90] = 1
    seen = []

    def finish(image, probability):
        seen.append(tuple(image.shape[-2:]))
        return probability.flip(-1)

    own, fusion = Toy(network, lambda image: image / 255), FusionSettings(min_size=min_size)
    components = divide(labels)
    plain = dict(refine_regions(own, image, components, CascadeSettings(L=200), fusion))
    settings_ = CascadeSettings(L=200, guided_filter=filter_of(finish))
    flipped = dict(refine_regions(own, image, components, settings_, fusion))
    assert sorted(seen) == sorted(part.mask.shape for part in components)
    for index, probability in plain.items():
        np.testing.assert_array_equal(flipped[index], probability[:, ::-1])
