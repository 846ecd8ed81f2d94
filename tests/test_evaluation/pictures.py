"""Masks and label maps that are the same on every machine."""

import numpy as np


def waves(seed: int, height: int, width: int, channels: int = 1, count: int = 6) -> np.ndarray:
    """Smooth random fields, float (H, W, channels): sums of plane waves."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    fields = [
        sum(np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in random.rand(count, 3) * 4)
        for _ in range(channels)
    ]
    return np.stack(fields, axis=-1)


def masks(seed: int, height: int, width: int) -> tuple[np.ndarray, ...]:
    """A true mask and two coarse ones, bool (H, W)."""
    field, noise = waves(seed, height, width, 2).transpose(2, 0, 1)
    return field > 0, field + 0.5 * noise > 0.1, field + 0.2 * noise > 0


def labels(seed: int, height: int, width: int, classes: int = 6) -> tuple[np.ndarray, ...]:
    """A true label map and two coarse ones, uint8 (H, W) of ids 0 to ``classes - 1``."""
    field, noise = waves(seed, height, width, classes), waves(seed + 1, height, width, classes, 12)
    return tuple((field + share * noise).argmax(-1).astype(np.uint8) for share in (0, 0.5, 0.2))
