"""Refining one pair of files: reading, refining and writing."""

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmseg_cascadepsp.cascade import Progress
from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.visualization import before_after, default_palette, overlay, paint_labels

from .arrays import check_size, resized_labels, resized_mask
from .label_ids import VOID
from .large import refine_file
from .masks import read_cut_out, read_labels, read_palette
from .opening import is_unknown_tiff
from .pairs import NOTE, Pair, check_outputs
from .photos import read_image
from .reading import read_pair
from .refiner_protocol import MaskRefiner
from .row_writers import JPEG_SUFFIXES
from .rows import stored_size
from .run_options import WINDOWED_PIXELS, RunOptions
from .writing import write_image, write_png

TITLES = 'coarse mask', 'refined'


def is_windowed(pair: Pair) -> bool:
    """Whether a pair is refined by rows: large photos, and formats that are read or written by
    rows alone.

    Example:
        >>> from pathlib import Path
        >>> is_windowed(Pair('a', Path('a.jpg'), Path('a.png'), Path('a.npy')))
        True
    """
    suffixes = {path.suffix.lower() for path in (pair.image, pair.mask, pair.target)}
    height, width = stored_size(pair.image) or (0, 0)
    return (
        '.npy' in suffixes
        or is_unknown_tiff(pair.image)
        or is_unknown_tiff(pair.mask)
        or pair.target.suffix.lower() not in ('.png', *JPEG_SUFFIXES)
        or height * width > WINDOWED_PIXELS
    )


def refine_pair(
    refiner: MaskRefiner,
    pair: Pair,
    options: RunOptions | None = None,
    *,
    note: str = '',
    progress: Progress | None = None,
) -> str:
    """Refine one pair of files. The mask is written last, so where it is, all is.

    Args:
        refiner: Does the work.
        pair: The pair.
        options: What is written.
        note: Kept in the mask.
        progress: Called with (crops done, crops to do) if the pair is refined by rows.

    Returns:
        Why the mask stays as it was. Empty if it does not.

    Raises:
        FileError: A file cannot be read or written.
        InvalidValueError: Photo and mask do not fit each other, an extra on top of an input, or
            ``windowed=False`` for a mask that is no PNG.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> from mmseg_cascadepsp.files import write_png
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ('photo.png', 'mask.png'):
        ...     write_png(folder / name, np.zeros((4, 6), np.uint8))
        >>> pair = Pair('a', folder / 'photo.png', folder / 'mask.png', folder / 'out.png')
        >>> from mmseg_cascadepsp import Refiner
        >>> refine_pair(Refiner('lite'), pair)  # an empty mask, which stays empty
        ''
        >>> pair.target.exists()
        True
    """
    options = options or RunOptions()
    check_outputs(pair, options)
    job = Job(refiner, options)
    if job.is_windowed(pair):
        return job.by_rows(pair, note, progress)
    refined = job.refine(*job.read(pair))
    job.write(pair, note, refined)
    return refined.kept


class Refined(NamedTuple):
    """What is to be written of a pair.

    Attributes:
        probability: uint8 ``(H, W)``, or the label map.
        kept: Why the mask stays as it was. Empty if it does not.
        image, coarse: Photo and mask, where pictures of them are wanted.

    Example:
        >>> Refined(np.zeros((4, 6), np.uint8), '').probability.shape
        (4, 6)
    """

    probability: np.ndarray
    kept: str
    image: np.ndarray | None = None
    coarse: np.ndarray | None = None


def read_inputs(pair: Pair, options: RunOptions) -> tuple[np.ndarray, np.ndarray]:
    """Read a photo, and its mask or label map, brought to one size.

    Args:
        pair: The pair.
        options: How they are read.

    Returns:
        RGB uint8 ``(H, W, 3)``, and uint8 or int32 ``(H, W)``.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> from mmseg_cascadepsp.files import write_png
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ('photo.png', 'mask.png'):
        ...     write_png(folder / name, np.zeros((4, 6), np.uint8))
        >>> pair = Pair('a', folder / 'photo.png', folder / 'mask.png', folder / 'out.png')
        >>> [part.shape for part in read_inputs(pair, RunOptions())]
        [(4, 6, 3), (4, 6)]
    """
    if pair.mask == pair.image:
        return read_cut_out(pair.image, options.exif)
    name = f'mask {pair.mask}'
    if options.label_map:
        image, coarse = read_image(pair.image, options.exif), read_labels(pair.mask)
        resized = resized_labels
    else:
        same = not options.resize_mask
        image, coarse = read_pair(pair.image, pair.mask, options.reading, same)
        resized = resized_mask
    if options.resize_mask and coarse.shape != image.shape[:2]:
        coarse = resized(coarse, image.shape[:2], name)
    check_size(name, coarse.shape, f'image {pair.image}', image.shape[:2])
    return image, coarse


@dataclass(frozen=True)
class Job:
    """The three parts of the work on a pair, which run beside each other in a folder run.

    Example:
        See :func:`refine_pair`.
    """

    refiner: MaskRefiner
    options: RunOptions

    def is_windowed(self, pair: Pair) -> bool:
        """Whether a pair is refined by rows."""
        windowed = False if self.options.label_map else self.options.windowed
        return is_windowed(pair) if windowed is None else windowed

    def read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Photo, and mask or label map, of one size."""
        return read_inputs(pair, self.options)

    def refine(self, image: np.ndarray, coarse: np.ndarray) -> Refined:
        """Refine a mask or a label map."""
        pictures = set(self.options.extras) - {'probability'}
        shown = (image, coarse) if pictures else (None, None)
        if self.options.label_map:
            void = VOID if self.options.ignore is None else self.options.ignore
            labels = self.refiner.refine_semantic(image, coarse, ignore_index=void)
            return Refined(labels, '', *shown)
        probability, report = self.refiner.refine(
            image, coarse, return_report=True, threshold=self.options.threshold
        )
        return Refined(probability, report.kept, *shown)

    def write(self, pair: Pair, note: str, refined: Refined) -> None:
        """Write what :meth:`refine` gave, the mask last."""
        extras, notes = self.options.extras, {NOTE: note} if note else None
        probability, _, image, coarse = refined
        if self.options.label_map:
            self._write_labels(pair, notes, refined)
            return
        mask = probability > 255 * self.options.threshold
        if 'probability' in extras:
            write_png(pair.extra('probability'), probability)
        if 'overlay' in extras:
            write_image(pair.extra('overlay'), overlay(image, mask))
        if 'before_after' in extras:
            coarse = coarse if coarse.dtype == bool else coarse > 127
            picture = before_after(image, coarse, mask, TITLES)
            write_image(pair.extra('before_after'), picture)
        pixels = mask.astype(np.uint8) * 255
        if pair.target.suffix.lower() in JPEG_SUFFIXES:
            write_image(pair.target, pixels, 95, json.dumps(notes) if notes else '')
        else:
            write_png(pair.target, pixels, notes)

    def _write_labels(self, pair: Pair, notes: dict | None, refined: Refined) -> None:
        labels, _, image, coarse = refined
        palette = read_palette(pair.mask)
        colours = default_palette() if palette is None else palette
        if 'overlay' in self.options.extras:
            write_image(pair.extra('overlay'), paint_labels(image, labels, colours))
        if 'before_after' in self.options.extras:
            picture = before_after(image, coarse, labels, TITLES, colours)
            write_image(pair.extra('before_after'), picture)
        write_png(pair.target, labels, notes, palette)

    def by_rows(self, pair: Pair, note: str, progress: Progress | None) -> str:
        """Read, refine and write by rows. Why the mask stays as it was, or nothing."""
        extras = self.options.extras
        pictures = sorted(set(extras) - {'probability'})
        if pictures:
            raise InvalidValueError(
                f'{pair.image} is refined by rows, without {" and ".join(pictures)}: leave them '
                'out.'
            )
        return refine_file(
            self.refiner,
            pair.image,
            pair.mask,
            pair.target,
            threshold=self.options.threshold,
            probability=pair.extra('probability') if 'probability' in extras else None,
            note=note,
            progress=progress,
            resize_mask=self.options.resize_mask,
            **vars(self.options.reading),
        )
