"""What a process does with the memory of freed tensors."""

import ctypes
import platform


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
