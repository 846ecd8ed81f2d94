"""A sheet of small pictures that shows what a run over folders did."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError, UserError
from mmseg_cascadepsp.visualization import contact_sheet, default_palette, overlay, paint_labels
from mmseg_cascadepsp.visualization.drawing import CYAN, ORANGE

from .masks import read_labels, read_mask
from .one_pair import is_windowed, read_inputs
from .pairs import Pair
from .run_options import RunOptions
from .writing import write_image

MOST = 120
"""Most pairs of a sheet. Of a larger run they are taken at even steps."""
SIDE = 320


def write_contact_sheet(pairs: Sequence[Pair], options: RunOptions) -> Path:
    """Write ``contact_sheet.jpg`` beside the results: each photo with its mask before and after.

    Pairs without a result are left out, and so are those that are refined by rows.

    Args:
        pairs: Those of the run, see :func:`~mmseg_cascadepsp.files.pairs.find_pairs`.
        options: Those of the run.

    Returns:
        Where the sheet is.

    Raises:
        InvalidValueError: There is no result to be shown.
        OSError: The sheet cannot be written.

    Example:
        See :func:`~mmseg_cascadepsp.visualization.contact_sheet`, which draws it.
    """
    done = [pair for pair in pairs if pair.target.exists() and not is_windowed(pair)]
    step = -(-len(done) // MOST) or 1
    tiles = []
    for pair in done[::step]:
        try:
            tiles.append((pair.name, _tile(pair, options)))
        except UserError:  # told by the run
            continue
    if not tiles:
        raise InvalidValueError('contact_sheet: no pair has a result that could be shown.')
    folder = pairs[0].folder or pairs[0].target.parent
    path = folder / 'contact_sheet.jpg'
    write_image(path, contact_sheet(tiles))
    return path


def _tile(pair: Pair, options: RunOptions) -> np.ndarray:
    image, coarse = read_inputs(pair, options)
    shrink = min(1, SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(side * shrink)) for side in image.shape[1::-1])
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    read = read_labels if options.label_map else read_mask
    pictures = []
    for values, colour in ((coarse, ORANGE), (read(pair.target), CYAN)):
        if options.label_map:
            values = cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)
            pictures.append(paint_labels(image, values, default_palette()))
        else:
            values = values.astype(np.float32) / values.max(initial=1)
            values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
            pictures.append(overlay(image, values > 0.5, colour))
    return np.concatenate(pictures, axis=1)
