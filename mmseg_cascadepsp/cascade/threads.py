"""Threads of PyTorch, which do not survive a fork."""

import os

import torch

from mmseg_cascadepsp.errors import NotReadyError

#: Processes in which networks were made with several threads.
_threaded_in: set[int] = set()


def check_threads() -> None:
    """See that PyTorch's threads are those of this process.

    They do not survive a fork. In the child the first parallel operation would wait for them
    forever.

    Raises:
        NotReadyError: A network was made before this process was forked.

    Example:
        >>> check_threads()
    """
    if torch.get_num_threads() == 1:
        return
    if _threaded_in and os.getpid() not in _threaded_in:
        raise NotReadyError(
            'this process was forked from one in which a refiner had been made, whose threads '
            'PyTorch would wait for without end: call torch.set_num_threads(1) here first, or '
            "start processes with multiprocessing.get_context('spawn')."
        )
    _threaded_in.add(os.getpid())
