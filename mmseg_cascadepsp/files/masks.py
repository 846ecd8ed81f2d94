"""Reading masks, cut-outs and label maps: what the pixels of a file mean.

Everything that goes wrong with a file is a ``FileError`` of one sentence with its path.
"""

import os
import warnings

import numpy as np
from PIL import Image

from mmseg_cascadepsp.errors import FileError, MaskValuesError

from .mask_values import Reading, Seen, meaning_of
from .opening import open_header, open_picture
from .photos import alpha_of, read_colours, told_in, unpack
from .values import to_uint8

LOSSY = ('JPEG', 'MPO')
"""Formats that change values near boundaries."""
MANY_COLOURS = 64
"""With more indices in use a coloured palette is that of a picture."""


def read_mask(path: str | os.PathLike, reading: Reading | None = None) -> np.ndarray:
    """Read the mask of one object.

    - Files of 0/255, of 0/1, of one bit, of 16 bits (0 to 65535, or small values stored wide) and
      of fractions give the same mask.
    - Colours of three equal channels are grey. If there are two colours and one of them is black,
      the other one is the object.
    - If a palette has more colours and its index 0 is black (VOC, DAVIS), index 0 is background,
      and so is 255 beside others.
    - The mask of a transparent cut-out is its alpha channel.

    What can be read in two ways is refused, see
    :func:`~mmseg_cascadepsp.files.mask_values.meaning_of`.

    Args:
        path: The mask.
        reading: How to read it where its values do not say it. With ``mask_values`` or ``ignore``
            a palette gives its indices.

    Returns:
        uint8 ``(H, W)``, 0 (background) to 255 (object). Soft values stay soft.

    Raises:
        FileError: The file cannot be read.
        MaskValuesError: The values or colours do not say what is object.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/a.png'
        >>> Image.fromarray(np.array([[0, 1]], np.uint8)).save(path)
        >>> read_mask(path).tolist()
        [[0, 255]]
    """
    reading = reading or Reading()
    with open_picture(path, reading.exif) as picture:
        return mask_of(picture, path, reading)


def mask_of(picture: Image.Image, name: str | os.PathLike, reading: Reading) -> np.ndarray:
    """The mask that a picture of Pillow holds, see :func:`read_mask`.

    Args:
        picture: Of any mode, turned already.
        name: What messages call it.
        reading: How to read it.

    Returns:
        uint8 ``(H, W)``.

    Raises:
        MaskValuesError: The values or colours do not say what is object.

    Example:
        >>> mask_of(Image.new('1', (2, 1), 1), 'a.png', Reading()).tolist()
        [[255, 255]]
    """
    _check_alone(picture, name)
    lossy = picture.format in LOSSY
    nodata = told_in(picture).nodata
    if picture.mode == 'P' and alpha_of(picture) is None:  # else a cut-out
        return _palette_mask(picture, name, reading)
    pixels, alpha = unpack(picture)
    if picture.mode == '1':
        pixels = pixels // 255
    if picture.mode in ('1', 'L', 'I;16', 'I') and alpha is not None:
        nodata, alpha = picture.info['transparency'], None  # a grey that stands for it
    if told_in(picture).top is not None and picture.format != 'PNG':
        stored = _as_stored(pixels, picture)
        named = reading.ids is not None or reading.ignore is not None
        pixels = stored if named or stored.max(initial=0) == 1 else pixels
    if alpha is not None:
        visible = pixels[alpha > 0]
        cut_out = pixels.ndim == 3 and not _is_grey(pixels)
        if cut_out or not len(visible) or visible.min() == visible.max():
            return _opaque(alpha, name)  # or one colour on nothing
        shades = len(np.unique(visible))
        if shades > MANY_COLOURS and reading.mask_values is None:
            raise MaskValuesError(
                f'{name} has {shades} greys and transparent parts, which can be read as a cut-out '
                "of a grey photo and as a soft mask: say mask_values='soft' (--mask-values soft) "
                'for its greys, or save its opaque part as a mask.'
            )
        grey = pixels[..., 1] if pixels.ndim == 3 else pixels
        values = to_uint8(grey, name).astype(np.uint16) * alpha // 255
        return _judged(values.astype(np.uint8), name, reading, lossy)
    if pixels.ndim == 3:
        # JPEG shifts greys a little, and so it is of what was made of one.
        tolerance = 24 if lossy else min(24, int(pixels.max(initial=0)) // 4)
        lossy = lossy or not _is_grey(pixels)
        if not _is_grey(pixels, tolerance):
            mask = _two_colours(pixels)
            if mask is None:
                raise MaskValuesError(
                    f'{name} is a picture of {len(_colours(pixels))} colours, which does not say '
                    'what is object; expected a mask of 0/255 or 0/1 in one channel.'
                )
            return mask
        pixels = pixels[..., 1]
    return _judged(pixels, name, reading, lossy, nodata)


def _palette_mask(picture: Image.Image, path: str | os.PathLike, reading: Reading) -> np.ndarray:
    """The mask of a palette picture.

    It is that of the same picture without a palette, or else, where index 0 is black, that of its
    indices.
    """
    index = np.asarray(picture)
    if reading.ids is not None or reading.ignore is not None:
        return _judged(index, path, reading)
    used = np.unique(index)
    palette = np.zeros((256, 3), np.uint8)
    colours = np.asarray(picture.getpalette('RGB'), np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    # A palette of colours may have its greys alone in use (VOC's 7 is grey). If black is not index
    # 0 then, they are no classes but a picture of a fixed palette, such as that of the web.
    black = used[~palette[used].any(axis=1)]
    if _is_grey(palette) or (_is_grey(palette[used]) and black.size and black[0] > 0):
        return _judged(palette[index, 0], path, reading)
    if _two_colours(palette[used]) is not None:
        return palette[index].any(axis=-1).astype(np.uint8) * 255
    if palette[0].any() or len(used) > MANY_COLOURS:
        raise MaskValuesError(
            f'{path} is a picture of {len(used)} colours of a palette whose index 0 is '
            f'{tuple(palette[0].tolist())}, which does not say what is object; expected two '
            'colours, one of them black, or a palette whose index 0 is black, or say which index '
            'is the object, such as mask_values=1 (--mask-values 1).'
        )
    has_void = 255 in used and ((used > 0) & (used < 255)).any()
    return ((index > 0) & ~(has_void & (index == 255))).astype(np.uint8) * 255


def _two_colours(pixels: np.ndarray) -> np.ndarray | None:
    """The mask of a picture of black and one colour, uint8 ``(H, W)``. None if it is another."""
    colours = _colours(pixels)
    if len(colours) > 2 or colours[0] != 0:
        return None
    return pixels.any(axis=-1).astype(np.uint8) * 255


def _colours(pixels: np.ndarray) -> np.ndarray:
    return np.unique(pixels.reshape(-1, 3) @ np.array([65536, 256, 1]))


def _is_grey(colours: np.ndarray, tolerance: int = 0) -> bool:
    return bool((np.ptp(colours.astype(np.int16), axis=-1) <= tolerance).all())


def _check_alone(picture: Image.Image, name: str | os.PathLike) -> None:
    told = told_in(picture)
    if told.pages > 1:
        raise MaskValuesError(
            f'{name} holds {told.pages} pictures, of which any could be the mask; save the one '
            'that is meant alone.'
        )
    if told.bands > 0:
        raise MaskValuesError(
            f'{name} has {told.bands} channels besides its colours, which do not say what they '
            'are; expected a mask or label map of one channel.'
        )


def _as_stored(pixels: np.ndarray, picture: Image.Image) -> np.ndarray:
    """Greys of few bits before Pillow stretched them."""
    full, top = 255 if picture.mode == 'L' else 65535, told_in(picture).top
    return np.rint(pixels * (top / full)).astype(np.uint8 if top < 256 else np.uint16)


def _judged(
    values: np.ndarray,
    path: str | os.PathLike,
    reading: Reading,
    lossy: bool = False,
    nodata: float | None = None,
) -> np.ndarray:
    seen = Seen()
    seen.add(values)
    return meaning_of(seen, path, reading, lossy, nodata).soft(values)


def read_cut_out(
    path: str | os.PathLike, exif: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a cut-out, whose transparency is its mask.

    Args:
        path, exif: See :func:`~mmseg_cascadepsp.files.photos.read_colours`.

    Returns:
        The photo, RGB uint8 ``(H, W, 3)``, and its mask, uint8 ``(H, W)``.

    Raises:
        FileError: The file cannot be read.
        MaskValuesError: Nothing is transparent.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/a.png'
        >>> Image.new('RGBA', (2, 1), (1, 2, 3, 200)).save(path)
        >>> [part.tolist() for part in read_cut_out(path)]
        [[[[1, 2, 3], [1, 2, 3]]], [[200, 200]]]
    """
    colours, alpha = read_colours(path, exif)
    return colours, cut_out_mask(colours, alpha, path)


def cut_out_mask(
    colours: np.ndarray, alpha: np.ndarray | None, name: str | os.PathLike
) -> np.ndarray:
    """The mask that a cut-out holds itself, with a warning where the photo behind is lost.

    Args:
        colours: RGB uint8 ``(H, W, 3)``.
        alpha: uint8 ``(H, W)``, or None.
        name: What messages call the cut-out.

    Returns:
        uint8 ``(H, W)``.

    Raises:
        MaskValuesError: Nothing is transparent.

    Example:
        >>> alpha = np.array([[0, 100, 200]], np.uint8)
        >>> cut_out_mask(np.zeros((1, 3, 3), np.uint8), alpha, 'a.png').tolist()
        [[0, 100, 200]]
    """
    if alpha is None or (alpha == 255).all():
        raise MaskValuesError(
            f'{name} has no transparent part that could be its mask; give the mask, or a cut-out '
            '(RGBA whose alpha channel is the mask).'
        )
    hidden = colours[alpha == 0]
    if len(hidden) > 1 and (hidden == hidden[0]).all():
        warnings.warn(
            f'{name} has a single colour where it is transparent, so that the photo behind the '
            'object is lost, whose edges the boundary should follow; give the photo, and the '
            'cut-out as its mask.',
            stacklevel=2,
        )
    return _opaque(alpha, name)


def _opaque(alpha: np.ndarray, name: str | os.PathLike) -> np.ndarray:
    """The mask of what is opaque, or of all that is not transparent where that is alike."""
    shown = np.unique(alpha)
    if 1 < shown[-1] <= 127:
        if len(shown) > 2 or shown[0] > 0:
            raise MaskValuesError(
                f'{name} is nowhere more opaque than {shown[-1]} of 255, in several steps, which '
                'do not say what is object; save the object with full opacity.'
            )
        return (alpha > 0).astype(np.uint8) * 255
    return _judged(alpha, name, Reading(), lossy=True)


def read_labels(path: str | os.PathLike) -> np.ndarray:
    """Read a label map.

    Args:
        path: The label map. Its ids are the indices of a palette, or the grey values as they are
            stored (8 or 16 bits).

    Returns:
        int32 ``(H, W)``.

    Raises:
        FileError: The file cannot be read, or holds colours or fractions in place of ids.

    Example:
        >>> import tempfile
        >>> path = f'{tempfile.mkdtemp()}/a.png'
        >>> Image.new('L', (2, 1), 3).save(path)
        >>> read_labels(path).tolist()
        [[3, 3]]
    """
    with open_picture(path) as picture:
        return labels_of(picture, path)


def labels_of(picture: Image.Image, name: str | os.PathLike) -> np.ndarray:
    """The label map that a picture of Pillow holds, see :func:`read_labels`.

    Args:
        picture: Of any mode.
        name: What messages call it.

    Returns:
        int32 ``(H, W)``.

    Raises:
        FileError: It holds no ids, or ids that can be read in two ways.

    Example:
        >>> labels_of(Image.new('P', (2, 1), 3), 'a.png').tolist()
        [[3, 3]]
    """
    _check_alone(picture, name)
    if picture.format in LOSSY:
        raise FileError(
            f'{name} is a JPEG, which changes ids near boundaries; expected PNG, or a mask.'
        )
    pixels = np.asarray(picture) if picture.mode == 'P' else unpack(picture)[0]
    if told_in(picture).white:
        raise FileError(
            f'{name} has stored white as zero, so that its ids can be read in two ways; save it '
            'with zero as black.'
        )
    if told_in(picture).top is not None:
        if picture.format == 'PNG':
            raise FileError(
                f'{name} holds greys of less than 8 bits, which can be read as ids from 0 to '
                f'{told_in(picture).top} and, as PNG says, stretched to 255; save it in 8 bits.'
            )
        pixels = _as_stored(pixels, picture)
    if picture.mode == '1':
        pixels = pixels // 255
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or pixels.dtype.kind == 'f':
        raise FileError(
            f'{name} holds {"colours" if pixels.ndim == 3 else "fractions"}; expected '
            'one class index per pixel (grey or palette PNG).'
        )
    return pixels.astype(np.int32)


def read_palette(path: str | os.PathLike) -> np.ndarray | None:
    """Read the colours of a palette picture, without its pixels.

    Args:
        path: The picture.

    Returns:
        RGB uint8 ``(n, 3)``. None where there is no palette.

    Example:
        >>> read_palette('missing.png') is None  # whoever reads it will say what is wrong
        True
    """
    try:
        with open_header(path) as picture:
            colours = picture.getpalette('RGB') if picture.mode == 'P' else None
    except Exception:
        return None
    return None if colours is None else np.asarray(colours, np.uint8).reshape(-1, 3)
