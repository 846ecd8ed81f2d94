"""Results, saved and drawn in a line."""

import os

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files.arrays import check_threshold
from mmseg_cascadepsp.files.mask_values import Reading
from mmseg_cascadepsp.files.row_writers import JPEG_SUFFIXES, write_result
from mmseg_cascadepsp.files.writing import write_image
from mmseg_cascadepsp.visualization import before_after

from .inputs import Picture, read_inputs, read_label_map, read_photo


def save_mask(path: str | os.PathLike, refined: np.ndarray, threshold: float | None = 0.5) -> None:
    """Write what :meth:`~mmseg_cascadepsp.Refiner.refine` gives, whole or not at all.

    Args:
        path: ``.png``, ``.tif`` or ``.npy``. Missing folders are made.
        refined: uint8 ``(H, W)``, 255 times the probability.
        threshold: Probability above which a pixel is object, written as 255 and all else as 0.
            None: the probability itself is written.

    Raises:
        InvalidValueError: Another suffix, dtype or shape, or a threshold that is no probability.
        FileError: The file cannot be written, or a TIFF without the extra ``huge``.

    Example:
        >>> import tempfile
        >>> from mmseg_cascadepsp import save_mask
        >>> path = f'{tempfile.mkdtemp()}/mask.npy'
        >>> save_mask(path, np.array([[0, 127, 128]], np.uint8))
        >>> np.load(path).tolist()
        [[0, 0, 255]]
    """
    refined = np.asarray(refined)
    if refined.dtype != np.uint8 or refined.ndim != 2:
        raise InvalidValueError(
            f'refined must be uint8 (H, W), as refine gives it, got {refined.dtype} of shape '
            f'{refined.shape}.'
        )
    if threshold is not None:
        check_threshold(threshold)
    if str(path).lower().endswith(JPEG_SUFFIXES):
        raise InvalidValueError(
            f'path {path} is a JPEG, which blurs the boundary of a mask; use .png.'
        )
    if threshold is not None:
        refined = (refined > 255 * threshold).astype(np.uint8) * 255
    write_result(path, refined)


def draw_before_after(
    image: Picture,
    before: Picture,
    after: Picture,
    path: str | os.PathLike | None = None,
    *,
    palette: np.ndarray | None = None,
    width: int = 1600,
) -> np.ndarray:
    """Draw a mask or a label map before and after, with the place of most change enlarged.

    Args:
        image: The photo, see :func:`~mmseg_cascadepsp.apis.read_photo`.
        before: Its coarse mask, see :func:`~mmseg_cascadepsp.apis.read_inputs`. One of another
            size is brought to that of the photo.
        after: What :meth:`~mmseg_cascadepsp.Refiner.refine` gives of it.
        path: Where the picture goes, too, such as ``before_after.jpg``.
        palette: RGB uint8 ``(n, 3)``. With it both are label maps.
        width: Width of the picture in pixels.

    Returns:
        RGB uint8 picture.

    Raises:
        InvalidTypeError, InvalidValueError, FileError: As
            :func:`~mmseg_cascadepsp.apis.read_inputs`, or the picture cannot be written.

    Example:
        >>> from mmseg_cascadepsp import draw_before_after
        >>> image, mask = np.zeros((60, 80, 3), np.uint8), np.zeros((60, 80), bool)
        >>> mask[20:40, 30:60] = True
        >>> draw_before_after(image, mask, np.roll(mask, 3, axis=1), width=600).shape[1]
        600
    """
    if palette is None:
        photo, (coarse,) = read_inputs(image, before, resize_mask=True)
        _, (refined,) = read_inputs(photo, after, Reading('soft'))
    else:
        photo = read_photo(image)
        coarse, refined = read_label_map(before), read_label_map(after)
    picture = before_after(photo, coarse, refined, palette=palette, width=width)
    if path is not None:
        write_image(path, picture)
    return picture
