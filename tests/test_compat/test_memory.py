"""Freed memory is kept for the next tensors."""

import platform
import subprocess
import sys

import pytest

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


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')
def test_freed_memory_is_kept_for_the_next_arrays():
    """In a process of its own: the setting cannot be taken back."""
    output = subprocess.check_output([sys.executable, '-c', FAULTS], text=True)
    kept, before, after = output.split()
    assert kept == 'True'
    # Huge pages, where numpy gets them, are one fault each.
    assert int(before) >= 5 * 32 and int(after) < 16
