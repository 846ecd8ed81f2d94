"""Fusion of refined parts into a label map."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cascadepsp.cascade import Fusion, FusionSettings
from mmseg_cascadepsp.cascade.geometry import Box


def fuse(labels, *parts, **options):
    """Parts are (label, mask, probability), whole images, in ranks of their order."""
    labels = np.array([labels])
    outcomes = []
    for order in (range(len(parts)), reversed(range(len(parts)))):
        fusion = Fusion(labels, FusionSettings(**{'protect': False, **options}))
        for rank in order:
            label, mask, probability = parts[rank]
            fusion.add(
                rank,
                label,
                Box(0, 0, *labels.shape),
                np.array([mask], bool),
                np.array([probability], np.float32),
            )
        outcomes.append(fusion.result([], len(parts)))
    first, second = outcomes
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.confidence, second.confidence)
    return first.labels[0].tolist(), [round(float(value), 4) for value in first.confidence[0]]


def test_highest_probability_wins_and_half_is_not_enough():
    labels, confidence = fuse(
        [1, 1, 2, 9],
        (1, [1, 1, 0, 0], [0.9, 0.6, 0.5, 0.2]),
        (2, [0, 0, 1, 0], [0.8, 0.7, 0.4, 0.5]),
    )
    assert labels == [1, 2, 2, 9]
    assert confidence == [0.9, 0.7, 0.5, 0.5]


def test_earlier_part_wins_ties():
    assert fuse([5, 5], (1, [0, 0], [0.8, 0.8]), (2, [0, 0], [0.8, 0.9]))[0] == [1, 2]


def test_stuff_gives_way_to_objects():
    parts = [(1, [1, 1, 0, 0], [0.99, 0.99, 0.99, 0.9]), (2, [0, 0, 1, 1], [0.4, 0.51, 0.51, 0.3])]
    options = {'stuff': frozenset([1]), 'attenuation': 0.51}
    # The last pixel is given up by its object, but stuff claims it at less than 0.5 attenuated.
    assert fuse([1, 1, 2, 2], *parts, **options) == ([1, 2, 2, 2], [0.5049, 0.51, 0.51, 0.5])


def test_void_stays_and_background_takes_what_is_given_up():
    parts = [(1, [1, 1, 0, 0], [0.9, 0.2, 0.9, 0.9]), (2, [0, 0, 0, 1], [0.1, 0.1, 0.1, 0.2])]
    assert fuse([1, 1, 255, 2], *parts)[0] == [1, 1, 255, 1]
    labels, confidence = fuse([1, 1, 255, 0], *parts, background=0)
    assert labels == [1, 0, 255, 1]
    assert confidence == [0.9, 0.5, 0, 0.9]
    assert fuse([1, 1, 255, 0], *parts, ignore_index=None)[0][2] == 1


def test_pixels_of_no_part_are_protected_on_request():
    part = (1, [1, 1, 0, 0], [0.9, 0.9, 0.9, 0.3])
    assert fuse([1, 1, 2, 2], part)[0] == [1, 1, 1, 2]
    assert fuse([1, 1, 2, 2], part, protect=True) == ([1, 1, 2, 2], [0.9, 0.9, 0.5, 0.5])
    # The background is no part, but it is there to be claimed.
    assert fuse([1, 1, 2, 0], (1, [1, 1, 0, 0], [0.9, 0.9, 0.9, 0.8]), protect=True, background=0)[
        0
    ] == [1, 1, 2, 1]


@given(
    st.integers(0, 999),
    st.sampled_from([0.3, 0.5, 2.0]),
    st.sampled_from([None, 0]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_fusion_with_the_segmentors_probabilities(seed, weight, background, as_tensor):
    """Against the mean of both probabilities of every class at every pixel."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (4, 6, 7)).astype(np.float32)
    labels = logits.argmax(0)
    labels[0, :3] = 255
    prior = np.exp(logits) / np.exp(logits).sum(0)
    refined_by_class = np.zeros_like(prior)
    fusion = Fusion(
        labels,
        FusionSettings(
            stuff=frozenset([2]),
            attenuation=0.7,
            background=background,
            prior_weight=weight,
            protect=False,
        ),
        torch.from_numpy(logits) if as_tensor else logits,
    )
    claimed = np.zeros(labels.shape)
    for label in range(background is not None, 4):
        probability = rng.uniform(0, 1, labels.shape).astype(np.float32)
        claimed = np.maximum(claimed, probability)
        refined_by_class[label] = probability * (0.7 if label == 2 else 1)
        fusion.add(label, label, Box(0, 0, *labels.shape), labels == label, probability)
    if background is not None:
        refined_by_class[0] = 1 - claimed
    score = (refined_by_class + weight * prior) / (1 + weight)
    result = fusion.result([], 4)
    void = labels == 255
    assert np.array_equal(result.labels, np.where(void, 255, score.argmax(0)))
    if background is None:
        assert np.allclose(result.confidence, np.where(void, 0, score.max(0)), atol=1e-5)
