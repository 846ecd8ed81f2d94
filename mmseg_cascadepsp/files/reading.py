"""Reading photos, masks and label maps as people expect them.

Arrays are RGB and numpy throughout. Everything that goes wrong with a file is an ``OSError`` of
one sentence with its path.
"""

import os
import warnings

import numpy as np
from PIL import Image

from mmseg_cascadepsp.errors import FileError, MaskValuesError

from .arrays import check_size
from .mask_values import Reading, Seen, meaning_of
from .opening import header_of, open_header, open_picture
from .pillow_faults import TOLD, Told
from .values import check_brightness, to_rgb, to_uint8

LOSSY = ('JPEG', 'MPO')
MANY_COLOURS = 64
"""With more indices in use a coloured palette is that of a picture."""


def _alpha(picture: Image.Image) -> np.ndarray | None:
    """uint8 ``HxW``, or None where all is opaque."""
    if not picture.has_transparency_data:
        return None
    alpha = np.asarray(picture.convert('RGBA'))[..., 3]
    return None if (alpha == 255).all() else alpha


def _unpack(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels as they are (``HxW`` of any integer or float, or uint8 RGB ``HxWx3``) and alpha
    (uint8 ``HxW``) or None.
    """
    alpha = _alpha(picture)
    if picture.mode == '1':
        return np.asarray(picture).astype(np.uint8) * 255, alpha
    if picture.mode in ('LA', 'La'):
        return np.asarray(picture.convert('LA'))[..., 0], alpha
    if picture.mode == 'L' or picture.mode.startswith(('I', 'F')):
        return np.asarray(picture), alpha
    if picture.has_transparency_data:
        picture = picture.convert('RGBA')
    return np.asarray(picture if picture.mode == 'RGB' else picture.convert('RGB')), alpha


def read_image(path: str | os.PathLike, exif: str | None = None) -> np.ndarray:
    """Read a photo as RGB uint8 ``(H, W, 3)``, the way a viewer shows it.

    16 bits become 8, grey becomes RGB, palettes and CMYK are resolved, transparent parts lie on
    white, and of an animation or a multi-page TIFF the first picture is taken.

    Args:
        path: The photo.
        exif: ``'ignore'``: the pixels as they are stored, not turned by their EXIF orientation.

    Raises:
        OSError: the file is missing, a folder, not an image, truncated or damaged.
    """
    with open_picture(path, exif) as picture:
        return photo_of(picture, path)[0]


def photo_of(
    picture: Image.Image, name: str | os.PathLike, white: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """The photo that a picture of Pillow holds, see :func:`read_image`.

    Args:
        picture: Of any mode, turned already.
        name: Of it, for messages.
        white: Whether transparent parts lie on white, or else keep their colours.

    Returns:
        RGB uint8 ``(H, W, 3)``, and the alpha channel, uint8 ``(H, W)``. None where all is opaque.

    Example:
        >>> photo_of(Image.new('LA', (2, 1), (99, 0)), 'a.png', white=False)[0].tolist()
        [[[99, 99, 99], [99, 99, 99]]]
    """
    pixels, alpha = _unpack(picture)
    top = pixels.max(initial=0)
    rgb = to_rgb(pixels, alpha if white else None, name)
    wide = top > 255 or (pixels.dtype == np.uint8 and _told(picture).wide)
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
        OSError: as :func:`read_image`.
    """
    with open_picture(path, exif) as picture:
        return photo_of(picture, path, white=False)


def read_cut_out(
    path: str | os.PathLike, exif: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a cut-out: a photo as :func:`read_colours` gives it, and its mask, see
    :func:`cut_out_mask`.
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
        name: Of the cut-out, for messages.

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


def read_pair(
    image: str | os.PathLike,
    mask: str | os.PathLike,
    reading: Reading | None = None,
    same_size: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Read a photo and the mask of an object in it.

    Their headers are compared before their pixels are unpacked. A mask that may have been made on
    the photo's stored pixels, though EXIF turns it, brings a warning.

    Args:
        image: The photo, see :func:`read_image`.
        mask: Its mask, see :func:`read_mask`.
        reading: How to read them where they do not say it.
        same_size: Whether they must have the same size.

    Returns:
        The photo, RGB uint8 ``(H, W, 3)``, and the mask, uint8 ``(H, W)``.

    Raises:
        OSError: As :func:`read_image` and :func:`read_mask`.
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
    """Whether EXIF turns a photo in a way that its size does not show, and the mask may have been
    made on the pixels as they are stored.

    Example:
        >>> may_be_turned('missing.jpg', 'missing.png')
        False
    """
    headers = [header_of(path) for path in (image, mask)]
    return None not in headers and _turns_unseen(*headers)


def _is_grey(colours: np.ndarray, tolerance: int = 0) -> bool:
    return bool((np.ptp(colours.astype(np.int16), axis=-1) <= tolerance).all())


def read_mask(path: str | os.PathLike, reading: Reading | None = None) -> np.ndarray:
    """Read the mask of one object as uint8 ``(H, W)``, 0 (background) to 255 (object); soft values
    stay soft.

    Files of 0/255, of 0/1, of one bit, of 16 bits (0 to 65535, or small values stored wide) and of
    fractions give the same mask. Colours of three equal channels are grey. Of two colours, one of
    them black, the other one is the object. Of more colours of a palette whose index 0 is black
    (VOC, DAVIS), index 0 is background, and so is 255 beside others. A transparent cut-out gives
    its alpha. What can be read in two ways is refused, see
    :func:`~mmseg_cascadepsp.files.mask_values.meaning_of`.

    Args:
        path: The mask.
        reading: How to read it where its values do not say it. With ``mask_values`` or ``ignore``
            a palette gives its indices.

    Raises:
        OSError: as :func:`read_image`, or the values or colours do not say what is object.
    """
    reading = reading or Reading()
    with open_picture(path, reading.exif) as picture:
        return mask_of(picture, path, reading)


def mask_of(picture: Image.Image, name: str | os.PathLike, reading: Reading) -> np.ndarray:
    """The mask that a picture of Pillow holds, see :func:`read_mask`.

    Args:
        picture: Of any mode, turned already.
        name: Of it, for messages.
        reading: How to read it.

    Example:
        >>> mask_of(Image.new('1', (2, 1), 1), 'a.png', Reading()).tolist()
        [[255, 255]]
    """
    _check_alone(picture, name)
    lossy = picture.format in LOSSY
    nodata = _told(picture).nodata
    if picture.mode == 'P' and _alpha(picture) is None:  # else a cut-out
        return _palette_mask(picture, name, reading)
    pixels, alpha = _unpack(picture)
    if picture.mode == '1':
        pixels = pixels // 255
    if picture.mode in ('1', 'L', 'I;16', 'I') and alpha is not None:
        nodata, alpha = picture.info['transparency'], None  # a grey that stands for it
    if _told(picture).top is not None and picture.format != 'PNG':
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


def _told(picture: Image.Image) -> Told:
    return picture.info.get(TOLD, Told())


def _check_alone(picture: Image.Image, name: str | os.PathLike) -> None:
    told = _told(picture)
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
    full, top = 255 if picture.mode == 'L' else 65535, _told(picture).top
    return np.rint(pixels * (top / full)).astype(np.uint8 if top < 256 else np.uint16)


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


def _colours(pixels: np.ndarray) -> np.ndarray:
    return np.unique(pixels.reshape(-1, 3) @ np.array([65536, 256, 1]))


def _two_colours(pixels: np.ndarray) -> np.ndarray | None:
    """The mask of a picture of black and one colour, uint8 ``(H, W)``; None of any other."""
    colours = _colours(pixels)
    if len(colours) > 2 or colours[0] != 0:
        return None
    return pixels.any(axis=-1).astype(np.uint8) * 255


def _palette_mask(picture: Image.Image, path: str | os.PathLike, reading: Reading) -> np.ndarray:
    """The mask of a palette: as the same picture without one, or else, where index 0 is black, by
    its indices.
    """
    index = np.asarray(picture)
    if reading.ids is not None or reading.ignore is not None:
        return _judged(index, path, reading)
    used = np.unique(index)
    palette = np.zeros((256, 3), np.uint8)
    colours = np.asarray(picture.getpalette('RGB'), np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    # Greys alone may be in use of colours (VOC's 7 is grey); with a black that is not index 0
    # those are no classes but a picture of a fixed palette, such as that of the web.
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


def read_labels(path: str | os.PathLike) -> np.ndarray:
    """Read a label map as int32 ``(H, W)``: the index of a palette, or the grey value as it is
    stored (8 or 16 bits).

    Raises:
        OSError: as :func:`read_image`, or the file holds colours or fractions instead of indices.
    """
    with open_picture(path) as picture:
        return labels_of(picture, path)


def labels_of(picture: Image.Image, name: str | os.PathLike) -> np.ndarray:
    """The label map that a picture of Pillow holds, see :func:`read_labels`.

    Example:
        >>> labels_of(Image.new('P', (2, 1), 3), 'a.png').tolist()
        [[3, 3]]
    """
    _check_alone(picture, name)
    if picture.format in LOSSY:
        raise FileError(
            f'{name} is a JPEG, which changes ids near boundaries; expected PNG, or a mask.'
        )
    pixels = np.asarray(picture) if picture.mode == 'P' else _unpack(picture)[0]
    if _told(picture).white:
        raise FileError(
            f'{name} has stored white as zero, so that its ids can be read in two ways; save it '
            'with zero as black.'
        )
    if _told(picture).top is not None:
        if picture.format == 'PNG':
            raise FileError(
                f'{name} holds greys of less than 8 bits, which can be read as ids from 0 to '
                f'{_told(picture).top} and, as PNG says, stretched to 255; save it in 8 bits.'
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


def read_png_text(path: str | os.PathLike) -> dict[str, str]:
    """The notes that :func:`write_png` put into a file, without reading its pixels; empty when
    there are none or no PNG.
    """
    try:
        with open_header(path) as picture:
            # Not `picture.text`: it unpacks the pixels, for notes behind them.
            return {k: str(v) for k, v in picture.info.items() if isinstance(v, str)}
    except Exception:
        return {}


def read_palette(path: str | os.PathLike) -> np.ndarray | None:
    """The colours of a palette picture, RGB uint8 ``(n, 3)``, without reading its pixels. None
    where there are none.
    """
    try:
        with open_header(path) as picture:
            colours = picture.getpalette('RGB') if picture.mode == 'P' else None
    except Exception:  # whoever reads it will say what is wrong
        return None
    return None if colours is None else np.asarray(colours, np.uint8).reshape(-1, 3)
