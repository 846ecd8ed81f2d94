"""Painting masks, label maps, outlines and words on photos. RGB uint8 throughout."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmseg_cascadepsp.errors import InvalidValueError

#: Told apart by people with any colour vision: before (and removed), after (and added).
ORANGE, CYAN = (255, 122, 26), (0, 200, 255)
WHITE, INK = (255, 255, 255), (24, 24, 28)


def as_mask(mask: np.ndarray) -> np.ndarray:
    """Bool ``(H, W)`` of a mask that is bool, 0/1, a fraction or 0..255."""
    if mask.ndim != 2:
        raise InvalidValueError(f'mask must have the shape (H, W), got {mask.shape}.')
    if mask.dtype == bool:
        return mask
    return mask > (0.5 if mask.dtype.kind == 'f' or mask.max(initial=0) <= 1 else 127)


def check_pair(image: np.ndarray, *maps: np.ndarray) -> None:
    """Raise ``ValueError`` unless ``image`` is RGB uint8 and the maps have its size."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InvalidValueError(
            f'image must be RGB uint8 (H, W, 3), got {image.dtype} of shape {image.shape}.'
        )
    for array in maps:
        if array.shape != image.shape[:2]:
            raise InvalidValueError(
                f'mask must have the size of the image, {image.shape[:2]}, got {array.shape}.'
            )


def default_palette(count: int = 256) -> np.ndarray:
    """Colours of PASCAL VOC, uint8 ``(count, 3)`` RGB: far apart for neighbouring labels."""
    index = np.arange(count)
    palette = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(
                np.uint8
            )
    return palette


def blend(
    image: np.ndarray, colour: np.ndarray | tuple[int, ...], where: np.ndarray, alpha: float
) -> np.ndarray:
    """A copy of ``image`` with ``colour`` (one, or one per pixel) over the pixels ``where``."""
    if np.ndim(colour) == 1:
        levels = np.arange(256)[:, None] * (1 - alpha) + np.multiply(colour, alpha)
        over = cv2.LUT(image, levels.round().astype(np.uint8)[None])
    else:
        over = cv2.addWeighted(image, 1 - alpha, colour, alpha, 0)
    return cv2.copyTo(over, where.astype(np.uint8), image.copy())


def outline(
    canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], thickness: int = 2
) -> None:
    """Draw the outline of a mask into ``canvas``, with a dark rim that keeps it visible anywhere.

    Where the mask leaves the picture there is no line.
    """
    margin = 4 * thickness
    padded = cv2.copyMakeBorder(
        mask.astype(np.uint8), margin, margin, margin, margin, cv2.BORDER_REPLICATE
    )
    contours, _ = cv2.findContours(
        padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(-margin, -margin)
    )
    for shade, width in ((INK, thickness + 2), (colour, thickness)):
        cv2.drawContours(canvas, contours, -1, shade, width, cv2.LINE_AA)


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    colour: tuple[int, int, int] = CYAN,
    alpha: float = 0.3,
) -> np.ndarray:
    """A photo with its mask tinted and outlined, at the photo's own size.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        mask: ``(H, W)``: bool, 0/1, fractions or 0..255.
        colour: RGB of tint and outline.
        alpha: How strongly the tint covers, 0 to 1.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Raises:
        ValueError: wrong shapes.
    """
    check_pair(image, mask)
    mask = as_mask(mask)
    canvas = blend(image, colour, mask, alpha)
    outline(canvas, mask, colour, max(2, round(max(mask.shape) / 500)))
    return canvas


def paint_labels(
    image: np.ndarray,
    labels: np.ndarray,
    palette: np.ndarray | None = None,
    alpha: float = 0.55,
    ignore_index: int | None = 255,
) -> np.ndarray:
    """A photo with a label map in colour, at the photo's own size.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        labels: int ``(H, W)``.
        palette: uint8 ``(n, 3)`` RGB, VOC's by default; labels beyond it start over.
        alpha: How strongly the colours cover, 0 to 1.
        ignore_index: Label that is left bare.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Raises:
        ValueError: wrong shapes.
    """
    check_pair(image, labels)
    palette = default_palette() if palette is None else np.asarray(palette, np.uint8)
    bare = labels < 0 if ignore_index is None else (labels < 0) | (labels == ignore_index)
    return blend(image, palette[labels.astype(np.intp) % len(palette)], ~bare, alpha)


def title_strip(
    width: int, words: Sequence[tuple[tuple[int, int, int], str]], size: int
) -> np.ndarray:
    """A white strip with words, a dot of their colour before each; letters are ``size`` high.

    Words too long for ``width`` are set smaller, down to 8 pixels.
    """
    font = ImageFont.load_default(size)
    wide = sum(font.getlength(text) + 2.2 * size for _, text in words)
    if wide > width and size > 8:
        return title_strip(width, words, max(8, min(size - 1, int(size * width / wide))))
    picture = Image.new('RGB', (width, round(1.9 * size)), WHITE)
    draw = ImageDraw.Draw(picture)
    left, middle, dot = 0.45 * size, picture.height / 2, 0.38 * size
    for colour, text in words:
        draw.ellipse((left, middle - dot, left + 2 * dot, middle + dot), fill=colour, outline=INK)
        draw.text((left + 1.2 * size, middle), text, font=font, fill=INK, anchor='lm')
        left += font.getlength(text) + 2.2 * size
    return np.asarray(picture)
