"""What comes with a label map is checked before the network runs."""

import numpy as np
import pytest
import torch

from .toy_refiner import refine_classes, refine_scene


def never(image, masks, strides):
    raise AssertionError('the network ran')


def mask_as_logits(image, masks, strides):
    return dict.fromkeys(strides, 9 * masks[:, :1])


def label_map():
    labels = np.zeros((80, 80), np.uint8)
    labels[20:40, 20:50] = 1
    return labels


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(background=5, logits=np.zeros((2, 80, 80))), 'at least 6 classes'),
        (dict(background=-1), 'background must be at least 0, got -1'),
        (dict(background=300), 'labels of uint8 can hold, got 300'),
    ],
)
def test_a_background_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        refine_classes(never, torch.zeros(3, 80, 80), label_map(), L=80, **options)


def test_logits_of_any_memory_layout():
    labels = label_map()
    logits = np.stack([labels == 0, labels == 1]).astype(np.float32) * 9
    image = torch.zeros(3, 80, 80)
    expected = refine_classes(mask_as_logits, image, labels, L=80, logits=logits)
    flipped = logits[:, ::-1, ::-1].copy()[:, ::-1, ::-1]
    assert min(flipped.strides) < 0
    result = refine_classes(mask_as_logits, image, labels, L=80, logits=flipped)
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.confidence, expected.confidence)


@pytest.mark.parametrize(
    ('run', 'unused'),
    [
        (refine_scene, dict(prior_weight=0)),
        (refine_scene, dict(compat='release')),
        (refine_classes, dict(prior_weight=0)),
    ],
)
def test_logits_that_are_not_used_may_be_any(run, unused):
    """Such as those of a model of fewer classes than the label map has."""
    labels, image = label_map(), torch.zeros(3, 80, 80)
    logits = np.zeros((1, 40, 40))
    result = run(mask_as_logits, image, labels, L=80, min_area=0, logits=logits, **unused)
    expected = run(mask_as_logits, image, labels, L=80, min_area=0, **unused)
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.confidence, expected.confidence)
    with pytest.raises(ValueError, match='logits must be'):
        run(mask_as_logits, image, labels, L=80, min_area=0, logits=logits, prior_weight=0.5)
