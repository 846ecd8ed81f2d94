"""What the benchmarks share: pictures of any size, clocks, peak memory, runs turn about."""

import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


def waves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo of waves that are bright in a disc, and the disc as its mask.

    A trained refiner can follow it.

    Returns:
        RGB uint8 ``(H, W, 3)`` and bool ``(H, W)``.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32)
    photo = np.empty((height, width, 3), np.uint8)
    photo[..., 0] = 127.5 + 127 * np.sin(x / 9 + y / 31)
    photo[..., 1] = 127.5 + 127 * np.sin(x / 23)
    photo[..., 2] = 127.5 + 127 * np.cos(y / 17 - x / 50)
    disc = np.hypot(x - 0.5 * width, y - 0.5 * height) < 0.3 * min(height, width)
    photo[~disc] //= 4
    return photo, disc


def discs(height: int, width: int, number: int) -> np.ndarray:
    """Label map of ``number`` discs, 1 and above, on 0: int64 ``(H, W)``."""
    columns = int(np.ceil((number * width / height) ** 0.5))
    rows = -(-number // columns)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    labels = np.zeros((height, width), np.int64)
    for i in range(number):
        top, left = (i // columns + 0.5) * height / rows, (i % columns + 0.5) * width / columns
        labels[np.hypot(y - top, x - left) < 0.3 * min(height / rows, width / columns)] = i + 1
    return labels


class PeakMemory:
    """The most memory that a block takes beyond what was there before, in bytes.

    Attributes:
        host: Resident memory. None where the system does not tell (other than Linux).
        device: Memory allocated on the GPU. None without one.
    """

    host: int | None = None
    device: int | None = None

    def __enter__(self) -> 'PeakMemory':
        gc.collect()
        try:
            CLEAR.write_text('5')
            self._before = self._resident('VmRSS')
        except OSError:
            self._before = None
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._device_before = torch.cuda.memory_allocated()
        return self

    def __exit__(self, *error) -> None:
        if self._before is not None:
            self.host = self._resident('VmHWM') - self._before
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.device = torch.cuda.max_memory_allocated() - self._device_before

    @staticmethod
    def _resident(name: str) -> int:
        return int(re.search(rf'{name}:\s+(\d+) kB', STATUS.read_text())[1]) * 1024

    def __str__(self) -> str:
        parts = [
            f'{value / 2**20:.0f} MB {where}'
            for where, value in (('', self.host), ('GPU', self.device))
            if value is not None
        ]
        return ' + '.join(part.strip() for part in parts) or 'unknown'


@dataclass
class Runs:
    """What was seen of one function: seconds of each counted run, its largest peak, a result."""

    seconds: list[float] = field(default_factory=list)
    memory: PeakMemory = field(default_factory=PeakMemory)
    result: np.ndarray | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def turn_about(
    functions: Mapping[str, Callable],
    runs: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Runs]:
    """Run every function in each round. The first ``warm_up`` rounds are not counted."""
    seen = {name: Runs() for name in functions}
    for number in range(warm_up + runs):
        for name, function in functions.items():
            with PeakMemory() as memory:
                start = clock()
                result = function()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                seconds = clock() - start
            if number >= warm_up:
                seen[name].seconds.append(seconds)
            seen[name].result = result
            if (memory.host or 0) >= (seen[name].memory.host or 0):
                seen[name].memory = memory
    return seen


def ratios(slow: Runs, quick: Runs) -> str:
    """Median and range of the ratios, round by round."""
    values = [a / b for a, b in zip(slow.seconds, quick.seconds, strict=True)]
    return f'{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})'


def agreement(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Of two uint8 probability maps."""
    difference = np.abs(ours.astype(np.int16) - theirs)
    a, b = ours > 127, theirs > 127
    iou = (a & b).sum() / max((a | b).sum(), 1)
    near = (difference <= 1).mean()
    return f'{near:.3%} within 1/255, at most {difference.max()}; IoU {iou:.4f}'
