"""Speckles: tiny pieces and tiny holes that a refiner leaves in a mask."""

import cv2
import numpy as np

from mmseg_cascadepsp.cascade.changes import SPECK_SHARE

from ..functional.checks import check_binary


def count_speckles(pred: np.ndarray, target: np.ndarray) -> int:
    """Count the tiny pieces and the tiny holes of a mask.

    A piece is a connected component of the mask (8 neighbours). A hole is a connected component
    of the background (4 neighbours) that does not reach the border of the image. They count as
    speckles if their area is below 0.05 % of the area of the true object. An object of fewer than
    2,000 pixels has therefore no speckles.

    Args:
        pred: The mask ``(H, W)``, bool or 0/1.
        target: The true mask ``(H, W)``, bool or 0/1.

    Returns:
        The number of speckles.

    Raises:
        InvalidValueError: The sizes differ, or a value is neither 0 nor 1.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import count_speckles
        >>> truth = np.zeros((80, 80), bool)
        >>> truth[10:70, 10:70] = True
        >>> mask = truth.copy()
        >>> mask[40, 40] = False  # a hole of one pixel
        >>> mask[3, 3] = True  # a piece of one pixel
        >>> count_speckles(mask, truth)
        2
    """
    pred, target = check_binary(pred, target)
    limit = SPECK_SHARE * np.count_nonzero(target)
    if limit <= 1:
        return 0
    x, y, w, h = cv2.boundingRect(pred)
    window = np.pad(pred[y : y + h, x : x + w], 1)
    pieces = cv2.connectedComponentsWithStats(window, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - window, connectivity=4)
    # Label 0 is the mask. That of the padding is all background that reaches the border.
    holes = np.delete(stats[:, cv2.CC_STAT_AREA], [0, labels[0, 0]])
    return int(np.count_nonzero(pieces < limit) + np.count_nonzero(holes < limit))
