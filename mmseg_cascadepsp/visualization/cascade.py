"""All outputs of a cascade, side by side."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError

from .drawing import CYAN, INK, ORANGE, title_strip


def cascade_panels(
    images: np.ndarray,
    coarse: np.ndarray,
    passes: Sequence[Mapping[int, np.ndarray]],
    truth: np.ndarray,
    side: int = 160,
) -> np.ndarray:
    """Draw a row for each photo: photo, coarse mask, the outputs of each pass, true mask.

    The outputs of a pass stand from coarse to fine, as in Fig. 4 of the paper.

    Args:
        images: RGB uint8 ``(N, H, W, 3)``.
        coarse: uint8 ``(N, H, W)``, 0 to 255.
        passes: For each pass: output stride -> probability ``(N, H, W)``, 0 to 1. Values that are
            not finite become black.
        truth: uint8 ``(N, H, W)``, 0 to 255.
        side: Longer side of a panel, pixels.

    Returns:
        RGB uint8 picture.

    Raises:
        InvalidValueError: The shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import cascade_panels
        >>> images = np.zeros((2, 40, 60, 3), np.uint8)
        >>> mask, probability = np.zeros((2, 40, 60), np.uint8), np.full((2, 40, 60), 0.5)
        >>> passes = [{8: probability}, {8: probability, 4: probability}]
        >>> cascade_panels(images, mask, passes, mask).shape[1]  # six columns
        984
    """
    shape = images.shape[:3]
    outputs = [
        (f'{number}: s{stride}', maps[stride])
        for number, maps in enumerate(passes, 1)
        for stride in sorted(maps, reverse=True)
    ]
    for name, maps in (('coarse', coarse), ('truth', truth), *outputs):
        if maps.shape != shape:
            raise InvalidValueError(
                f'{name} must have the shape {shape} of images, got {maps.shape}'
            )
    columns = [('photo', INK, images), ('coarse', ORANGE, coarse)]
    for name, maps in outputs:
        grey = np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0).clip(0, 1) * 255
        columns.append((name, CYAN, grey.round().astype(np.uint8)))
    columns.append(('truth', INK, truth))
    scale = side / max(shape[1:])
    size = (max(round(shape[2] * scale), 1), max(round(shape[1] * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    gap = max(side // 40, 2)
    strips = []
    for name, colour, maps in columns:
        panels = [title_strip(size[0], [(colour, name)], max(side // 12, 9))]
        for panel in maps:
            panel = cv2.resize(panel, size, interpolation=method)
            panel = panel if panel.ndim == 3 else np.repeat(panel[..., None], 3, axis=2)
            panels.append(np.pad(panel, ((0, gap), (0, 0), (0, 0)), constant_values=255))
        strips.append(
            np.pad(np.concatenate(panels), ((0, 0), (0, gap), (0, 0)), constant_values=255)
        )
    return np.concatenate(strips, axis=1)
