"""What tests on random input share. All are seeded, and slow.

FUZZ sets the number of cases of all doors together. New ones are drawn by
``HYPOTHESIS_PROFILE=search FUZZ=10000 pytest tests/test_fuzz --hypothesis-seed=7``.
"""

import copy
import os
import warnings

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings

from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.errors import UserError

CASES = int(os.environ.get('FUZZ', 2000))


def cases(share):
    """Settings of a test that has a share of all cases."""
    return settings(
        max_examples=max(1, round(CASES * share)),
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # a failing case is made small by hand
        suppress_health_check=list(HealthCheck),
    )


def attempt(call, *args, **kwargs):
    """What a call returns, or the sentence of this package that it raises; nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            return call(*args, **kwargs)
        except UserError as error:
            said = str(error)
    assert said.strip() and 'Traceback' not in said and len(said) < 1500, said
    return Refused(said)


class Refused(str):
    """The sentence of an error."""


def copied(value):
    """A copy of an argument, to be compared later."""
    return copy.deepcopy(value)


def same(a, b):
    """Whether two results or arguments are alike; NaN is like NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        return a.tobytes() == b.tobytes()
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return bool(a == b) or (a != a and b != b)


class Agrees(Network):
    """A network that finds what the mask says."""

    def normalize(self, image):
        return image.float()

    def for_image(self, image):
        return lambda masks, strides: dict.fromkeys(strides, 9 * masks[:, :1])
