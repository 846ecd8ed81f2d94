"""Painting masks, label maps, outlines and words on photos. All pictures are RGB uint8."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmseg_cascadepsp.errors import InvalidValueError

#: People with any colour vision can tell them apart: before (and removed), after (and added).
ORANGE, CYAN = (255, 122, 26), (0, 200, 255)
WHITE, INK = (255, 255, 255), (24, 24, 28)


def as_mask(mask: np.ndarray) -> np.ndarray:
    """Turn a mask of any common kind into bool.

    Args:
        mask: ``(H, W)``: bool, 0/1, fractions or 0..255.

    Returns:
        bool ``(H, W)``, cut in the middle of the range.

    Raises:
        InvalidValueError: The mask is not of shape ``(H, W)``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization.drawing import as_mask
        >>> as_mask(np.array([[0, 200]])), as_mask(np.array([[0.4, 0.6]]))
        (array([[False,  True]]), array([[False,  True]]))
    """
    if mask.ndim != 2:
        raise InvalidValueError(f'mask must have the shape (H, W), got {mask.shape}.')
    if mask.dtype == bool:
        return mask
    return mask > (0.5 if mask.dtype.kind == 'f' or mask.max(initial=0) <= 1 else 127)


def check_pair(image: np.ndarray, *maps: np.ndarray) -> None:
    """Check a photo and its masks or label maps.

    Args:
        image: Must be RGB uint8 ``(H, W, 3)``.
        maps: Must be of shape ``(H, W)``.

    Raises:
        InvalidValueError: One of them is not.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization.drawing import check_pair
        >>> check_pair(np.zeros((60, 80, 3), np.uint8), np.zeros((60, 80), bool))
    """
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
    """Make the colours of PASCAL VOC, in which neighbouring labels look different.

    Args:
        count: Number of colours, at most 256.

    Returns:
        RGB uint8 ``(count, 3)``.

    Example:
        >>> from mmseg_cascadepsp.visualization import default_palette
        >>> default_palette(3).tolist()
        [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    """
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
    """Lay a colour over some pixels of a picture.

    Args:
        image: RGB uint8 ``(H, W, 3)``. It is not changed.
        colour: RGB, one colour or uint8 ``(H, W, 3)``.
        where: bool ``(H, W)``, the pixels to colour.
        alpha: How strongly the colour covers, 0 to 1.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization.drawing import blend
        >>> image = np.full((1, 2, 3), 100, np.uint8)
        >>> blend(image, (200, 0, 0), np.array([[True, False]]), 0.5).tolist()
        [[[150, 50, 50], [100, 100, 100]]]
    """
    if np.ndim(colour) == 1:
        levels = np.arange(256)[:, None] * (1 - alpha) + np.multiply(colour, alpha)
        over = cv2.LUT(image, levels.round().astype(np.uint8)[None])
    else:
        over = cv2.addWeighted(image, 1 - alpha, colour, alpha, 0)
    return cv2.copyTo(over, where.astype(np.uint8), image.copy())


def outline(
    canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], thickness: int = 2
) -> None:
    """Draw the outline of a mask into a picture.

    A dark rim keeps the line visible on any ground. There is no line where the mask meets the
    border of the picture.

    Args:
        canvas: RGB uint8 ``(H, W, 3)``. It is drawn into.
        mask: bool ``(H, W)``.
        colour: RGB of the line.
        thickness: Width of the line in pixels.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization.drawing import outline
        >>> canvas = np.zeros((60, 80, 3), np.uint8)
        >>> mask = np.zeros((60, 80), bool)
        >>> mask[20:40, 30:60] = True
        >>> outline(canvas, mask, (255, 0, 0))
        >>> canvas[20, 45].tolist()
        [255, 0, 0]
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
    """Tint and outline a mask on its photo.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        mask: ``(H, W)``: bool, 0/1, fractions or 0..255.
        colour: RGB of tint and outline.
        alpha: How strongly the tint covers, 0 to 1.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Raises:
        InvalidValueError: Photo or mask have a wrong shape.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import overlay
        >>> image = np.zeros((60, 80, 3), np.uint8)
        >>> mask = np.zeros((60, 80), bool)
        >>> mask[20:40, 30:60] = True
        >>> overlay(image, mask, colour=(100, 0, 0), alpha=0.5)[30, 45].tolist()
        [50, 0, 0]
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
    """Paint a label map on its photo.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        labels: int ``(H, W)``.
        palette: RGB uint8 ``(n, 3)``, that of PASCAL VOC by default. Label ``n`` gets the first
            colour again.
        alpha: How strongly the colours cover, 0 to 1.
        ignore_index: Label that is not painted.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Raises:
        InvalidValueError: Photo or label map have a wrong shape.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.visualization import paint_labels
        >>> image = np.zeros((1, 2, 3), np.uint8)
        >>> paint_labels(image, np.array([[2, 255]]), alpha=1).tolist()
        [[[0, 128, 0], [0, 0, 0]]]
    """
    check_pair(image, labels)
    palette = default_palette() if palette is None else np.asarray(palette, np.uint8)
    bare = labels < 0 if ignore_index is None else (labels < 0) | (labels == ignore_index)
    return blend(image, palette[labels.astype(np.intp) % len(palette)], ~bare, alpha)


def title_strip(
    width: int, words: Sequence[tuple[tuple[int, int, int], str]], size: int
) -> np.ndarray:
    """Draw a white strip with words, and a dot of their colour before each.

    Args:
        width: Width of the strip in pixels.
        words: (RGB, text) of each.
        size: Height of the letters in pixels. Words that are too long for the strip get smaller
            letters, down to 8 pixels.

    Returns:
        RGB uint8 ``(H, width, 3)``.

    Example:
        >>> from mmseg_cascadepsp.visualization.drawing import title_strip
        >>> title_strip(200, [((255, 0, 0), 'before')], 20).shape
        (38, 200, 3)
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
