"""Reading photos the way a viewer shows them, as RGB uint8 ``(H, W, 3)``.

Everything that goes wrong with a file is a ``FileError`` of one sentence with its path.
"""

import os

import numpy as np
from PIL import Image

from .opening import open_picture
from .pillow_faults import TOLD, Told
from .values import check_brightness, to_rgb


def alpha_of(picture: Image.Image) -> np.ndarray | None:
    """The transparency of a picture.

    Args:
        picture: Of any mode.

    Returns:
        uint8 ``(H, W)``. None where all is opaque.

    Example:
        >>> alpha_of(Image.new('LA', (2, 1), (99, 7))).tolist()
        [[7, 7]]
    """
    if not picture.has_transparency_data:
        return None
    alpha = np.asarray(picture.convert('RGBA'))[..., 3]
    return None if (alpha == 255).all() else alpha


def unpack(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels of a picture as they are.

    Args:
        picture: Of any mode.

    Returns:
        ``(H, W)`` of any integer or float, or uint8 RGB ``(H, W, 3)``, and the transparency, see
        :func:`alpha_of`.

    Example:
        >>> unpack(Image.new('1', (2, 1), 1))
        (array([[255, 255]], dtype=uint8), None)
    """
    alpha = alpha_of(picture)
    if picture.mode == '1':
        return np.asarray(picture).astype(np.uint8) * 255, alpha
    if picture.mode in ('LA', 'La'):
        return np.asarray(picture.convert('LA'))[..., 0], alpha
    if picture.mode == 'L' or picture.mode.startswith(('I', 'F')):
        return np.asarray(picture), alpha
    if picture.has_transparency_data:
        picture = picture.convert('RGBA')
    return np.asarray(picture if picture.mode == 'RGB' else picture.convert('RGB')), alpha


def told_in(picture: Image.Image) -> Told:
    """What a file says of its picture, if it was opened by this package.

    Example:
        >>> told_in(Image.new('L', (3, 2))).wide
        False
    """
    return picture.info.get(TOLD, Told())


def read_image(path: str | os.PathLike, exif: str | None = None) -> np.ndarray:
    """Read a photo as RGB uint8 ``(H, W, 3)``, the way a viewer shows it.

    16 bits become 8, grey becomes RGB, palettes and CMYK are resolved, and transparent parts lie
    on white. The first picture of an animation or a multi-page TIFF is taken.

    Args:
        path: The photo.
        exif: ``'ignore'``: the pixels as they are stored, not turned by their EXIF orientation.

    Returns:
        The photo.

    Raises:
        FileError: The file is missing, a folder, not an image, truncated or damaged.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/a.png'
        >>> Image.new('L', (2, 1), 7).save(path)
        >>> read_image(path).tolist()
        [[[7, 7, 7], [7, 7, 7]]]
    """
    with open_picture(path, exif) as picture:
        return photo_of(picture, path)[0]


def photo_of(
    picture: Image.Image, name: str | os.PathLike, white: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """The photo that a picture of Pillow holds, see :func:`read_image`.

    Args:
        picture: Of any mode, turned already.
        name: What messages call it.
        white: Whether transparent parts lie on white, or else keep their colours.

    Returns:
        RGB uint8 ``(H, W, 3)``, and the alpha channel, uint8 ``(H, W)``. None where all is opaque.

    Example:
        >>> photo_of(Image.new('LA', (2, 1), (99, 0)), 'a.png', white=False)[0].tolist()
        [[[99, 99, 99], [99, 99, 99]]]
    """
    pixels, alpha = unpack(picture)
    top = pixels.max(initial=0)
    rgb = to_rgb(pixels, alpha if white else None, name)
    wide = top > 255 or (pixels.dtype == np.uint8 and told_in(picture).wide)
    check_brightness(int(rgb.max(initial=0)), wide, name)
    return rgb, alpha


def read_colours(
    path: str | os.PathLike, exif: str | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a photo whose transparent parts keep their colours.

    Args:
        path, exif: See :func:`read_image`.

    Returns:
        RGB uint8 ``(H, W, 3)``, and the alpha channel, uint8 ``(H, W)``. None where all is opaque.

    Raises:
        FileError: As :func:`read_image`.

    Example:
        See :func:`photo_of`.
    """
    with open_picture(path, exif) as picture:
        return photo_of(picture, path, white=False)
