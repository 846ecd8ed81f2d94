"""What a refiner's passes take in memory, and how much of them fits a budget."""

import ctypes
import platform
import re
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_cascadepsp.errors import InvalidValueError

UNITS = {'': 1, 'B': 1, 'KB': 2**10, 'MB': 2**20, 'GB': 2**30}
MARGIN = 1.25
"""For what tensors do not show: scratch memory of convolutions, fragmentation."""
IMAGE_BYTES = 40
"""Per pixel of the photo, on the CPU: photo, mask, sums and weights of the Local step."""
PROBE = 256
"""Side of the picture on which a network is measured."""
DIVISOR = 32
"""Networks may pad sides to multiples of it."""


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that are made and still alive while it is active.

    Attributes:
        live: bytes now.
        peak: most bytes at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if torch.is_tensor(leaf) and _key(leaf) not in known | self._seen:
                storage = leaf.untyped_storage()
                self._seen.add(_key(leaf))
                self.live += storage.nbytes()
                weakref.finalize(storage, self._free, _key(leaf), storage.nbytes())
        self.peak = max(self.peak, self.live)
        return result

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for the next ones.

    glibc gives every array above 32 MB back to the system at once, and each page of the next one
    is then cleared and mapped anew: a quarter to a third of the time of a refinement on a CPU.
    Kept, the process stays as large as it was at its peak. For programs, which own their process,
    such as ``tools/refine.py``.

    Returns:
        Whether the C library is one that can be told so.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    trim_threshold, mmap_threshold = -1, -3  # the names' numbers in malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(mmap_threshold, 2**30) and mallopt(trim_threshold, 2**31 - 1))


def parse_bytes(value: int | str | None) -> int | None:
    """``'2GB'``, ``'500 MB'`` or a number of bytes -> bytes.

    Raises:
        ValueError: neither, or not above 0.
    """
    if value is None:
        return None
    found = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([KMG]?B?)\s*', str(value).upper())
    size = 0
    if found:
        unit = found[2] if found[2] in UNITS else f'{found[2]}B'
        size = int(float(found[1]) * UNITS[unit])
    if size <= 0 or isinstance(value, bool):
        raise InvalidValueError(
            f"max_memory must be a number of bytes or such as '500MB' or '2GB', got {value!r}."
        )
    return size


def batch_that_fits(
    max_memory: int, pixel_bytes: float, L: int, image_bytes: int = 0, most: int = 16
) -> int:
    """How many crops of side ``L`` a pass may have.

    Args:
        max_memory: budget, bytes.
        pixel_bytes: what a pass takes per pixel.
        L: see :class:`~mmseg_cascadepsp.Refiner`.
        image_bytes: what is taken however large the batch is.
        most: upper limit.

    Raises:
        ValueError: not even one fits.
    """
    left = max_memory - image_bytes
    taken = pixel_bytes * (-(-L // DIVISOR) * DIVISOR) ** 2
    fits = int(left / taken)
    if fits < 1:
        side = int((max(left, 0) / pixel_bytes) ** 0.5) // DIVISOR * DIVISOR
        hint = f'give L={side} or less' if side >= 66 else 'this photo cannot be refined within it'
        needed = (taken + image_bytes) / 2**20
        raise InvalidValueError(
            f'max_memory is {max_memory / 2**20:.0f} MB, but one pass at L={L} needs '
            f'{needed:.0f} MB, the photo included: {hint}, or more memory.'
        )
    return min(fits, most)
