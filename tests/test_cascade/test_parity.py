"""Same network, same answer as the authors' package, in fast and in full mode.

``data/authors_steps.npz`` holds what version 0.6 of ``segmentation-refinement`` gives for the toy
network; where the package is installed it is run as well.
"""

from pathlib import Path

import numpy as np
import pytest

from mmseg_cascadepsp.cascade import crop_grid

from .authors import as_authors_model, refine_like_authors
from .toy_refiner import normalize, refine, refine_pass, scene

FIXTURE = Path(__file__).parent / 'data' / 'authors_steps.npz'
#: (H, W, L): smaller and larger than L and equal to it, multiples of 8 and not; in the last two
#: the longer side becomes L - 1.
CASES = [
    (64, 64, 96),
    (64, 61, 96),
    (72, 96, 96),
    (100, 130, 96),
    (112, 330, 96),
    (141, 261, 100),
    (80, 301, 128),
    (64, 110, 112),
    (161, 277, 224),
]
MODES = [pytest.param(True, id='fast'), pytest.param(False, id='full')]


def as_uint8(probability):
    return (probability.numpy() * 255).astype('uint8')


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


@pytest.mark.parametrize('fast', MODES)
@pytest.mark.parametrize('height, width, L', CASES)
def test_same_pixels_as_fixed_numbers(height, width, L, fast):
    with np.load(FIXTURE) as numbers:
        expected = numbers[f'{height}x{width}_{L}_{"fast" if fast else "full"}']
        refined_by_authors = int(numbers[f'{height}x{width}_{L}_crops'])
    image, mask = scene(height, width)
    done = []
    result = refine(
        refine_pass,
        image,
        mask,
        steps='global' if fast else 'both',
        L=L,
        compat='release',
        normalize=normalize,
        progress=lambda *counts: done.append(counts),
    )
    assert_same(as_uint8(result), expected)
    assert 0.3 < (expected > 127).mean() < 0.8
    assert len(done) == (0 if fast else refined_by_authors)


def test_cases_refine_crops_and_skip_crops():
    with np.load(FIXTURE) as numbers:
        refined = [int(numbers[f'{height}x{width}_{L}_crops']) for height, width, L in CASES]
    pairs = zip(CASES, refined, strict=True)
    skipped = [sum(1 for _ in crop_grid(*case, 'release')) - count for case, count in pairs]
    assert min(refined) >= 1 and min(skipped) >= 0
    assert sum(1 for both in zip(refined, skipped, strict=True) if min(both) > 0) >= 2


@pytest.mark.parametrize('fast', MODES)
@pytest.mark.parametrize('height, width, L', CASES)
def test_same_pixels_as_installed_package(height, width, L, fast):
    image, mask = scene(height, width)
    theirs = refine_like_authors(
        as_authors_model(refine_pass), normalize(image[None]), mask[None].float() * 2 - 1, fast, L
    )
    ours = refine(
        refine_pass,
        image,
        mask,
        steps='global' if fast else 'both',
        L=L,
        compat='release',
        normalize=normalize,
    )
    assert_same(as_uint8(ours), theirs)
