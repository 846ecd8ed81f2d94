"""What is said where the memory of a device does not suffice."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmseg_cascadepsp.errors import DeviceMemoryError

from .geometry import MIN_L
from .network import Network

#: Share of the estimated L that is advised: what was needed when it failed is not all of it.
_SHARE = 0.9
_UNITS = {'bytes': 1, 'KiB': 2**10, 'MiB': 2**20, 'GiB': 2**30, 'TiB': 2**40}


def fitting_L(L: int, needed: int, available: int) -> int:
    """The largest L that should fit, by memory that grows with its square.

    Args:
        L: One that does not fit.
        needed: Bytes that it takes, at least.
        available: Bytes that there are.

    Returns:
        A multiple of ten below ``L``, or the smallest L that there is.

    Example:
        >>> from mmseg_cascadepsp.cascade.memory import fitting_L
        >>> fitting_L(900, needed=4 * 2**30, available=2**30)
        400
    """
    share = min(1, available / max(needed, 1)) ** 0.5
    return max(MIN_L, int(_SHARE * share * L) // 10 * 10)


@contextmanager
def told_memory(network: Network, L: int, batch_size: int = 1) -> Iterator[None]:
    """Tell which L should fit where PyTorch says that a device has too little memory.

    Args:
        network: The refiner. Its device is looked at.
        L: That of the cascade.
        batch_size: Images of a pass.

    Raises:
        DeviceMemoryError: In place of ``torch.cuda.OutOfMemoryError``.

    Example:
        >>> import torch
        >>> from mmseg_cascadepsp import Refiner
        >>> with told_memory(Refiner('lite').network, L=900):
        ...     raise torch.cuda.OutOfMemoryError('CUDA out of memory.')
        Traceback (most recent call last):
        mmseg_cascadepsp.errors.DeviceMemoryError: ...
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        fits = fitting_L(L, *_needed_and_available(network.device, str(error)))
        fewer = ''
        if batch_size > 1:
            fewer = f'batch_size=1 in place of {batch_size}, or '
        smaller = f'L={fits} (--L {fits}), which should fit' if fits < L else 'another device'
        raise DeviceMemoryError(
            f'L={L} needs more memory than {network.device} has free: give {fewer}{smaller}.'
        ) from error


def _needed_and_available(device: torch.device, said: str) -> tuple[int, int]:
    """Bytes that this process wanted at least, and those that it can have."""
    device = torch.device(device)
    if device.type != 'cuda':
        return 2, 1
    free, _ = torch.cuda.mem_get_info(device)
    wanted = re.search(r'Tried to allocate ([\d.]+) (\w+)', said)
    more = float(wanted[1]) * _UNITS.get(wanted[2], 1) if wanted else 0
    needed = torch.cuda.max_memory_allocated(device) + int(more)
    return needed, free + torch.cuda.memory_reserved(device)
