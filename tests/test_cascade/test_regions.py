"""Objects that are small in their photo are looked at in regions of their own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import CascadeSettings
from mmseg_cascadepsp.cascade import refine as refine_with
from mmseg_cascadepsp.cascade.regions import are_small, object_regions

from .toy_refiner import Toy, normalize, refine, refine_pass, scene


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_regions_hold_the_mask_with_a_margin_and_do_not_overlap(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    boxes = object_regions(mask)
    count = np.zeros(mask.shape, int)
    for box in boxes:
        count[box.slices] += 1
    assert count.max(initial=0) <= 1 and not mask[count == 0].any()
    rows, columns = np.nonzero(mask)
    for row, column in zip(rows, columns, strict=True):
        around = count[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5]
        assert around.min() == 1


def test_parts_far_apart_have_regions_of_their_own():
    mask = np.zeros((400, 600), bool)
    mask[50:90, 40:80] = mask[95:120, 40:60] = True  # their regions overlap
    mask[300:320, 500:560] = True
    first, second = sorted(object_regions(mask))
    assert first.bottom - first.top < 110 and second.top > 270
    assert are_small([first, second], mask.shape, 500)
    assert not are_small([first, second], mask.shape, 600)  # seen at full resolution
    assert are_small([first] * 16, mask.shape, 500)
    assert not are_small([first] * 17, mask.shape, 500) and not are_small([], mask.shape, 500)


@pytest.mark.parametrize('region, small', [('auto', True), ('object', True), ('photo', False)])
def test_what_the_network_sees(region, small):
    image, _ = scene(300, 500)
    mask = torch.zeros(1, 300, 500, dtype=torch.bool)
    mask[:, 100:140, 200:260] = True
    seen = []

    def network(image, masks, strides):
        seen.append((image.shape[-1], masks[:, 0].gt(0).float().mean().item()))
        return refine_pass(image, masks, strides)

    result = refine(network, image, mask, normalize, L=490, steps='global', region=region)
    width, share = seen[0]
    assert (width < 480) == small and (share > 0.2) == small
    assert result.shape == (300, 500)
    outside = torch.ones(300, 500, dtype=torch.bool)
    outside[80:160, 180:280] = False
    assert bool((result[outside] == 0).all()) == small


def test_a_region_is_refined_as_if_it_were_the_photo():
    image, _ = scene(700, 900)
    mask = torch.zeros(1, 700, 900, dtype=torch.bool)
    mask[:, 120:220, 200:330] = True
    (box,) = object_regions(mask[0].numpy())
    for steps, L in (('global', 800), ('both', 96)):
        own = CascadeSettings(steps=steps, L=L, enlarge=False)
        whole = refine_with(Toy(), image, mask, own)
        part = image[(..., *box.slices)], mask[(..., *box.slices)]
        alone = refine_with(Toy(), *part, own.replace(region='photo'))
        if steps == 'both':
            torch.testing.assert_close(whole[box.slices], alone)
        else:  # seen at 448 pixels, which it does not have
            assert (whole[box.slices] - alone).abs().mean() < 0.1


@pytest.mark.parametrize('steps', ['auto', 'global', 'both', 'local'])
def test_empty_masks_and_large_objects_are_looked_at_in_the_photo(steps):
    image, mask = scene(96, 130)
    options = dict(normalize=normalize, L=96, steps=steps)
    for coarse in (mask, mask & False, mask | True):
        expected = refine(refine_pass, image, coarse, region='photo', **options)
        assert torch.equal(refine(refine_pass, image, coarse, region='auto', **options), expected)


def test_parity_with_the_package_has_no_regions():
    assert CascadeSettings(compat='release').region == 'photo'
    assert CascadeSettings(compat='release', region='object').region == 'photo'
    with pytest.raises(ValueError, match="region must be one of 'auto', 'photo', 'object'"):
        CascadeSettings(region='mask')
