"""Comparisons of two ways of computing the same. Convolutions of other batches, layouts or
instructions round in another way: a probability may be a step of 255 apart, and a pixel on the
threshold may fall to either side.
"""

import numpy as np


def assert_same_probability(found, expected):
    """uint8 of the same shape, at most one step apart, and equal nearly everywhere."""
    assert found.shape == expected.shape and found.dtype == expected.dtype == np.uint8
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1, f'{(difference > 1).sum()} pixels differ by more than a step'
    assert (difference > 0).mean() <= 0.01


def assert_same_labels(found, expected, share=0.002):
    """Masks or label maps of the same shape, equal in all but a few pixels: of small ones in all
    but two.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    differ = np.count_nonzero(found != expected)
    assert differ <= max(2, share * found.size), f'{differ} of {found.size} pixels differ'
