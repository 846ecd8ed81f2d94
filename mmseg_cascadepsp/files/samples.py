"""The sample photos of the demo, with coarse and true masks."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError, MissingPackageError

from .masks import read_mask

PHOTOS = {
    'astronaut': 'astronaut',
    'chelsea': 'chelsea',
    'coffee': 'coffee',
    'rocket': 'rocket',
    'motorcycle': 'stereo_motorcycle',
}
"""Name -> function of skimage.data."""


class Sample(NamedTuple):
    """A photo with its masks.

    Attributes:
        name: Of the photo.
        image: RGB uint8 ``(H, W, 3)``.
        coarse, true: Bool ``(H, W)``.

    Example:
        See :func:`load_sample`.
    """

    name: str
    image: np.ndarray
    coarse: np.ndarray
    true: np.ndarray


def load_sample(name: str, masks: str | os.PathLike) -> Sample:
    """A photo of scikit-image and its masks.

    Args:
        name: One of :data:`PHOTOS`.
        masks: Folder with ``coarse/NAME.png`` and ``true/NAME.png``.

    Raises:
        MissingPackageError: scikit-image is not installed.
        FileError: A mask is missing or damaged.
        InvalidValueError: The photo is not the one that was outlined.

    Example:
        >>> load_sample('coffee', 'demo/masks').image.shape  # doctest: +SKIP
        (400, 600, 3)
    """
    try:
        from skimage import data
    except ImportError:
        raise MissingPackageError(
            'The photos of the demo come with scikit-image, which is not installed: run '
            '`make env`, or `pip install scikit-image`.'
        ) from None
    image = getattr(data, PHOTOS[name])()
    image = image[0] if isinstance(image, tuple) else image
    coarse, true = (
        read_mask(Path(masks) / kind / f'{name}.png') > 127 for kind in ('coarse', 'true')
    )
    if image.shape[:2] != true.shape:
        raise InvalidValueError(
            f'{name}: this scikit-image has the photo in {image.shape[1]}x{image.shape[0]}, '
            f'the masks are {true.shape[1]}x{true.shape[0]}; use a version from 0.20 to 0.26.'
        )
    return Sample(name, image, coarse, true)
