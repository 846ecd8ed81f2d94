"""Photos and masks as people hold them: paths, pictures of Pillow, numpy arrays, torch tensors.

All become what a plain call takes: RGB uint8 ``(H, W, 3)`` and bool ``(H, W)``. What the pixels
of files and pictures mean is told by the readers of :mod:`mmseg_cascadepsp.files`. What can be
read in two ways is refused.
"""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch
from PIL import Image, ImageOps

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError
from mmseg_cascadepsp.files.arrays import check_image, check_mask, resized_mask, soft_mask
from mmseg_cascadepsp.files.mask_values import Reading
from mmseg_cascadepsp.files.masks import (
    cut_out_mask,
    labels_of,
    mask_of,
    read_cut_out,
    read_labels,
    read_mask,
)
from mmseg_cascadepsp.files.opening import ORIENTATION
from mmseg_cascadepsp.files.photos import photo_of, read_colours, read_image
from mmseg_cascadepsp.files.reading import check_pair
from mmseg_cascadepsp.files.values import check_brightness, to_rgb, to_uint8

#: A photo or a mask, as :func:`read_photo` and :func:`read_inputs` take it.
Picture: TypeAlias = str | os.PathLike | Image.Image | np.ndarray | torch.Tensor

CHANNELS = {1: 'grey', 3: 'RGB', 4: 'RGBA'}
ALPHA = ('white', 'drop')
#: Floats of a photo may leave 0 to 1 by so much, which is rounding.
ROUNDING = 1e-3


def read_inputs(
    image: Picture,
    mask: Picture | Sequence[Picture] | None,
    reading: Reading | None = None,
    alpha: str = 'white',
    resize_mask: bool = False,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read a photo and the mask, or the masks, of objects in it.

    Args:
        image: See :func:`read_photo`.
        mask: Its mask: a path, see :func:`~mmseg_cascadepsp.files.read_mask`, a picture of Pillow
            or uint8 ``(H, W, 3)`` or ``(H, W, 4)``, read likewise, or ``(H, W)`` of numpy or
            torch, see :func:`~mmseg_cascadepsp.files.arrays.check_mask`, with or without axes of
            length 1. A list: several masks of the one photo. None: the alpha channel of ``image``.
        reading: How to read both where they do not say it.
        alpha: See :func:`read_photo`.
        resize_mask: Whether a mask of another size is brought to that of the photo, see
            :func:`~mmseg_cascadepsp.files.arrays.resized_mask`.

    Returns:
        The photo, RGB uint8 ``(H, W, 3)``, and the masks, bool ``(H, W)`` each.

    Raises:
        InvalidTypeError: One of them is of another type or dtype.
        InvalidValueError: A wrong shape or size, or values that can be read in two ways.
        FileError: A file cannot be read.

    Example:
        >>> import torch
        >>> photo, masks = read_inputs(torch.zeros(3, 20, 30), torch.ones(1, 20, 30))
        >>> photo.shape, photo.dtype, masks[0].shape, masks[0].dtype
        ((20, 30, 3), dtype('uint8'), (20, 30), dtype('bool'))
    """
    reading = reading or Reading()
    if mask is None:
        colours, cut_out = _read_cut_out(image, reading)
        return colours, [cut_out > 127]
    masks = mask if isinstance(mask, list | tuple) else [mask]
    if is_path(image):
        for path in filter(is_path, masks):
            check_pair(image, path, reading, same_size=not resize_mask)
    photo = read_photo(image, alpha, reading.exif)
    return photo, [_read_mask(each, photo.shape[:2], reading, resize_mask) for each in masks]


def read_photo(image: Picture, alpha: str = 'white', exif: str | None = None) -> np.ndarray:
    """Read a photo of any kind.

    Args:
        image: A path, see :func:`~mmseg_cascadepsp.files.read_image`. A picture of Pillow. An
            array, ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, or a tensor of the same shapes, of
            C = 1 (grey), 3 (RGB) or 4 (RGBA) channels, and with or without a batch of one before:
            uint8, uint16, other integers from 0 to 255, or floats from 0 to 1. OpenCV reads BGR,
            which no array tells: convert it.
        alpha: What becomes of transparent parts: ``'white'``: they lie on white, as in a viewer.
            ``'drop'``: they keep their colours.
        exif: ``'ignore'``: the pixels of files and pictures as they are stored, not turned by
            their EXIF orientation. ``'apply'``: turned. None: files are turned, and pictures that
            would be are refused.

    Returns:
        RGB uint8 ``(H, W, 3)``. An array of this kind is returned as it is.

    Raises:
        InvalidTypeError: Another type or dtype.
        InvalidValueError: Wrong shapes, axes that can be read in two ways, values out of range, or
            a picture to be turned.
        FileError: A file cannot be read.

    Example:
        >>> read_photo(np.full((2, 3), 0.5)).tolist()[0][0]
        [128, 128, 128]
    """
    if alpha not in ALPHA:
        raise InvalidValueError(f"alpha must be 'white' or 'drop', got {alpha!r}.")
    if is_path(image):
        return read_image(image, exif) if alpha == 'white' else read_colours(image, exif)[0]
    if isinstance(image, Image.Image):
        return photo_of(_upright(image, 'image', exif), 'image', alpha == 'white')[0]
    colours, opacity = _split(image)
    if opacity is not None and alpha == 'white':
        colours = to_rgb(colours, opacity, 'image')
    return colours


def read_label_map(labels: Any) -> Any:
    """Read a label map of any kind.

    Args:
        labels: A path, see :func:`~mmseg_cascadepsp.files.read_labels`, a picture of Pillow, an
            array or a tensor, ``(H, W)``, with or without axes of length 1 before.

    Returns:
        Class ids ``(H, W)``, an array. What is none of these comes back as it is.

    Example:
        >>> import torch
        >>> read_label_map(torch.tensor([[[1, 2]]])).tolist()
        [[1, 2]]
    """
    if is_path(labels):
        return read_labels(labels)
    if isinstance(labels, Image.Image):
        return labels_of(_upright(labels, 'labels', None), 'labels')
    labels = _array(labels)
    while isinstance(labels, np.ndarray) and labels.ndim > 2 and len(labels) == 1:
        labels = labels[0]
    return labels


def is_path(value: Any) -> TypeGuard[str | os.PathLike]:
    """Whether a value names a file.

    Example:
        >>> is_path('a.png'), is_path(np.zeros(3))
        (True, False)
    """
    return isinstance(value, str | os.PathLike)


def _read_cut_out(image: Picture, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    if is_path(image):
        return read_cut_out(image, reading.exif)
    if isinstance(image, Image.Image):
        colours, alpha = photo_of(_upright(image, 'image', reading.exif), 'image', white=False)
    else:
        colours, alpha = _split(image)
    return colours, cut_out_mask(colours, alpha, 'image')


def _read_mask(
    mask: Picture, shape: tuple[int, int], reading: Reading, resize: bool
) -> np.ndarray:
    """Bool ``(H, W)`` of the photo's ``shape``."""
    name = f'mask {mask}' if is_path(mask) else 'mask'
    if is_path(mask):
        values = read_mask(mask, reading)
    elif isinstance(mask, Image.Image):
        values = mask_of(_upright(mask, 'mask', reading.exif), name, reading)
    else:
        plane = _plane(mask, shape)
        if _is_picture(plane):
            values = mask_of(Image.fromarray(plane), name, reading)
        elif not resize:
            return check_mask(plane, shape, reading)
        else:
            values = soft_mask(plane, reading)
    if resize and values.shape != shape:
        return resized_mask(values, shape, name)
    return check_mask(values, shape, Reading('soft'))


def _is_picture(array: Any) -> bool:
    """Whether an array is what Pillow makes of a picture of colours."""
    return (
        isinstance(array, np.ndarray)
        and array.dtype == np.uint8
        and array.ndim == 3
        and array.shape[2] in (3, 4)
        and array.size > 0
    )


def _plane(mask: Any, shape: tuple[int, int]) -> Any:
    """A mask without axes of length 1, where they can be told from the sides of its photo."""
    array = _array(mask)
    if not isinstance(array, np.ndarray):
        return array
    while array.ndim > 2 and array.shape[0] == 1 and array.shape[:2] != shape:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[1:] == shape:
        raise InvalidValueError(
            f'mask must be of one object, (H, W), got {array.shape}; of several, give a list of '
            'masks: list(mask).'
        )
    return array


def _upright(picture: Image.Image, name: str, exif: str | None) -> Image.Image:
    """The picture as its EXIF orientation says, where ``exif`` is ``'apply'``. One that would be
    turned is refused where it is None: masks of it may have been made in both ways.
    """
    if exif == 'ignore':
        return picture
    orientation = picture.getexif().get(ORIENTATION, 1)
    if orientation == 1:
        return picture
    if exif is None:
        raise InvalidValueError(
            f'{name} has the EXIF orientation {orientation}, so that its pixels are stored '
            "turned; say exif='apply' if the mask was made on what a viewer shows, exif='ignore' "
            'if on the pixels as they are.'
        )
    turned = ImageOps.exif_transpose(picture)
    turned.format = picture.format
    return turned


def _array(value: Any) -> Any:
    """A tensor as array, whatever its device, dtype and gradients. All else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _split(image: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours, uint8 ``(H, W, 3)``, and alpha, uint8 ``(H, W)``, of an array or a tensor."""
    array = _array(image)
    if isinstance(array, np.ma.MaskedArray) or not isinstance(array, np.ndarray):
        check_image(array)  # says what is wrong
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim == 3 and array.size:
        last, first = array.shape[2] in CHANNELS, array.shape[0] in CHANNELS
        if last and first and isinstance(image, torch.Tensor):
            raise InvalidValueError(
                f'image of shape {array.shape} can be read as (C, H, W) and as (H, W, C); give an '
                'array of numpy, which is read as (H, W, C).'
            )
        if first and not last:
            array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in CHANNELS or not array.size:
        raise InvalidValueError(
            'image must have the shape (H, W), (H, W, C) or (C, H, W), C = 1 (grey), 3 (RGB) or 4 '
            f'(RGBA), and at least one pixel, got {tuple(image.shape)}; one photo at a time.'
        )
    array = _bytes(array)
    alpha = array[..., 3] if array.shape[2] == 4 else None
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    colours = array if array.shape[2] == 3 else np.ascontiguousarray(array[..., :3])
    return colours, None if alpha is None or (alpha == 255).all() else np.ascontiguousarray(alpha)


def _bytes(array: np.ndarray) -> np.ndarray:
    """The values of a photo as uint8."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in 'iuf':
        raise InvalidTypeError(
            f'image must be uint8, 0 to 255, or floats from 0 to 1, got {array.dtype}.'
        )
    low, high = array.min(), array.max()
    if array.dtype.kind == 'f':
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # NaN, too
            raise InvalidValueError(
                f'image has floats from {low} to {high}; expected 0 to 1. Undo its normalisation, '
                'or make uint8 of floats up to 255: image.round().clip(0, 255).astype(np.uint8).'
            )
        return (array.astype(np.float32).clip(0, 1) * 255).round().astype(np.uint8)
    if low < 0 or high > (65535 if array.dtype.itemsize == 2 and array.dtype.kind == 'u' else 255):
        raise InvalidValueError(
            f'image has values from {low} to {high} in {array.dtype}; expected 0 to 255, or 0 to '
            '65535 in uint16.'
        )
    values = to_uint8(array, 'image')
    check_brightness(int(values.max()), high > 255, 'image')
    return values
