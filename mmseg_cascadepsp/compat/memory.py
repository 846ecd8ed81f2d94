"""Reusing the memory of freed tensors, and giving it back."""

import ctypes
import platform


def keep_freed_memory() -> bool:
    """Keep the memory of freed tensors in this process, for the next ones.

    glibc returns arrays above 32 MB to the system as soon as they are freed. The system then
    clears every page of the next array, which takes a quarter to a third of the time of a
    refinement on a CPU. Other threads would have arenas of their own, for which the limits do not
    hold, so all threads share one. After this call the process stays as large as at its peak. It
    is meant for programs such as ``tools/refine.py``, not for libraries.

    Returns:
        Whether the C library supports it.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX in malloc.h
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    mallopt = ctypes.CDLL(None).mallopt
    limits = ((mmap_threshold, 2**30), (trim_threshold, 2**31 - 1), (arena_max, 1))
    return all(mallopt(*limit) for limit in limits)


def give_back_memory() -> bool:
    """Give the memory of freed tensors, which :func:`keep_freed_memory` keeps, back to the system.
    It is meant for servers that have nothing to do.

    Returns:
        Whether there was any.

    Example:
        >>> give_back_memory() in (True, False)
        True
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    return bool(ctypes.CDLL(None).malloc_trim(0))
