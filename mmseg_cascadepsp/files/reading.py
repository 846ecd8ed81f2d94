"""Reading a photo together with its mask."""

import os
import warnings

import numpy as np

from .arrays import check_size
from .mask_values import Reading
from .masks import read_mask
from .opening import header_of
from .photos import read_image


def read_pair(
    image: str | os.PathLike,
    mask: str | os.PathLike,
    reading: Reading | None = None,
    same_size: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Read a photo and the mask of an object in it.

    Their headers are compared before their pixels are unpacked. There is a warning if EXIF turns
    the photo and the mask may have been made on its stored pixels.

    Args:
        image: The photo, see :func:`~mmseg_cascadepsp.files.read_image`.
        mask: Its mask, see :func:`~mmseg_cascadepsp.files.read_mask`.
        reading: How to read them where they do not say it.
        same_size: Whether they must have the same size.

    Returns:
        The photo, RGB uint8 ``(H, W, 3)``, and the mask, uint8 ``(H, W)``.

    Raises:
        FileError: As :func:`~mmseg_cascadepsp.files.read_image` and
            :func:`~mmseg_cascadepsp.files.read_mask`.
        InvalidValueError: They have different sizes.

    Example:
        >>> import tempfile
        >>> from mmseg_cascadepsp.files import write_png
        >>> folder = tempfile.mkdtemp()
        >>> for name in ('photo.png', 'mask.png'):
        ...     write_png(f'{folder}/{name}', np.eye(4, dtype=np.uint8) * 255)
        >>> photo, mask = read_pair(f'{folder}/photo.png', f'{folder}/mask.png')
        >>> photo.shape, mask.shape
        ((4, 4, 3), (4, 4))
    """
    reading = reading or Reading()
    check_pair(image, mask, reading, same_size)
    pixels, values = read_image(image, reading.exif), read_mask(mask, reading)
    if same_size:
        check_size(f'mask {mask}', values.shape, f'image {image}', pixels.shape[:2])
    return pixels, values


def check_pair(
    image: str | os.PathLike, mask: str | os.PathLike, reading: Reading, same_size: bool = True
) -> None:
    """Compare the headers of a photo and its mask, see :func:`read_pair`.

    Args:
        image, mask, reading, same_size: See :func:`read_pair`.

    Raises:
        InvalidValueError: They have different sizes.

    Example:
        >>> check_pair('missing.jpg', 'missing.png', Reading())  # whoever reads them will say it
    """
    headers = [header_of(path) for path in (image, mask)]
    if None in headers:
        return
    size, turn = headers[0]
    if reading.exif is None and _turns_unseen(*headers):
        warnings.warn(
            f'{image} is shown turned, by its EXIF orientation ({turn}), and so it is taken; '
            f'if the mask {mask} was made on the pixels as they are stored, say '
            "exif='ignore' (--exif ignore), and 'apply' if not.",
            stacklevel=2,
        )
    sizes = [
        shape[::-1] if tag > 4 and reading.exif != 'ignore' else shape
        for shape, tag in (headers[0], headers[1])
    ]
    if same_size:
        hint = None
        if sizes[1] == size and turn > 4:
            hint = (
                'the photo is turned by its EXIF orientation, and the mask fits the pixels as '
                "they are stored: say exif='ignore' (--exif ignore)"
            )
        check_size(f'mask {mask}', sizes[1], f'image {image}', sizes[0], hint)


def _turns_unseen(photo: tuple, mask: tuple) -> bool:
    """Whether EXIF turns a photo, and not its mask, in a way that their sizes do not show."""
    (size, turn), (_, mask_turn) = photo, mask
    return turn > 1 and turn != mask_turn and not (turn > 4 and size[0] != size[1])


def may_be_turned(image: str | os.PathLike, mask: str | os.PathLike) -> bool:
    """Whether a mask may have been made on the pixels of a photo as they are stored, though EXIF
    turns it.

    Args:
        image: The photo.
        mask: Its mask.

    Returns:
        False if their sizes tell.

    Example:
        >>> may_be_turned('missing.jpg', 'missing.png')
        False
    """
    photo = header_of(image)
    if photo is None or photo[1] <= 1:
        return False
    header = header_of(mask)
    return header is not None and _turns_unseen(photo, header)
