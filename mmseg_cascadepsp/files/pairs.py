"""A pair of files, a photo and its mask: finding pairs, telling which are done, refining one."""

import json
import os
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmseg_cascadepsp.cascade import Progress
from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError
from mmseg_cascadepsp.visualization import before_after, default_palette, overlay, paint_labels

from .arrays import check_size, resized_labels, resized_mask
from .label_ids import VOID
from .large import refine_file
from .opening import IMAGE_SUFFIXES, is_unknown_tiff
from .reading import read_cut_out, read_image, read_labels, read_pair, read_palette
from .refiner_protocol import MaskRefiner
from .row_writers import JPEG_SUFFIXES, OUT_SUFFIXES, read_note
from .rows import stored_size
from .run_options import EXTRAS, WINDOWED_PIXELS, RunOptions
from .stems import files_by_stem
from .writing import write_image, write_png

TITLES = 'coarse mask', 'refined'
NOTE = 'mmseg_cascadepsp'
"""Key of the note in each mask that says how it was made."""


@dataclass(frozen=True)
class Pair:
    """A photo, its mask, and where the refined mask goes; ``folder`` is that of a folder run."""

    name: str
    image: Path
    mask: Path
    target: Path
    folder: Path | None = None

    def extra(self, kind: str) -> Path:
        """Where an extra goes: ``out_overlay.jpg`` beside ``out.png``; ``overlay/a.jpg`` in a
        folder.
        """
        if self.folder is None:
            suffix = self.target.suffix if kind == 'probability' else EXTRAS[kind]
            return self.target.with_name(f'{self.target.stem}_{kind}{suffix}')
        return self.folder / kind / f'{self.name}{EXTRAS[kind]}'


def find_pairs(
    images: str | os.PathLike, masks: str | os.PathLike, out: str | os.PathLike
) -> tuple[list[Pair], dict[str, str], list[str]]:
    """Pair photos with masks: two files, or two folders (with subfolders) of the same stems.

    Where both are the same folder, PNG files are the masks of the other files of their stem.

    Args:
        images: A photo, or a folder of photos.
        masks: Its coarse mask, or a folder of masks. The photo itself: a cut-out, whose alpha
            channel is the mask.
        out: Where the refined masks go: a file or a folder.

    Returns:
        The pairs in the order of their names. Name -> sentence, of masks without a photo and of
        names that several photos or masks have. Names of photos without a mask, which are left
        out.

    Raises:
        MissingFileError: A path does not exist.
        InvalidValueError: A file and a folder, no pairs, or an output on top of an input.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ('photos/a.jpg', 'photos/b.jpg', 'masks/a.png'):
        ...     (folder / name).parent.mkdir(exist_ok=True)
        ...     (folder / name).touch()
        >>> paths = [folder / name for name in ('photos', 'masks', 'out')]
        >>> (pair,), faults, without_mask = find_pairs(*paths)
        >>> pair.name, faults, without_mask
        ('a', {}, ['b'])
    """
    given, out = str(out), Path(out)
    images, masks = Path(images), Path(masks)
    for role, path in (('image', images), ('mask', masks)):
        if not path.exists():
            raise MissingFileError(f'{role} {path} does not exist.')
    if images.is_dir() != masks.is_dir():
        kinds = ['a folder' if path.is_dir() else 'a file' for path in (images, masks)]
        raise InvalidValueError(
            f'image {images} is {kinds[0]} and mask {masks} is {kinds[1]}; give two files, or two '
            'folders.'
        )
    if images.is_file():
        if out.is_dir() or given.endswith(('/', os.sep)) or not out.suffix:
            out = out / f'{images.stem}.png'
        if out.suffix.lower() not in OUT_SUFFIXES + JPEG_SUFFIXES:
            raise InvalidValueError(
                f'out must end in .png, .tif, .npy or .jpg, or be a folder, got {out}.'
            )
        if out.suffix.lower() in JPEG_SUFFIXES:
            warnings.warn(
                f'{out} is to be a JPEG, which blurs the boundary of a mask; PNG does not.',
                stacklevel=2,
            )
        _refuse_same(out, (images, masks))
        return [Pair(images.stem, images, masks, out)], {}, []
    if out.exists() and not out.is_dir():
        raise InvalidValueError(f'out must be a folder, as image and mask are; {out} is a file.')
    _refuse_same(out, (images, masks))
    of_photos = of_masks = IMAGE_SUFFIXES | {'.npy'}
    if images.resolve() == masks.resolve():
        of_photos, of_masks = of_photos - {'.png'}, {'.png'}
    photos = files_by_stem(images, of_photos, without=out)
    coarse = files_by_stem(masks, of_masks, without=out)
    pairs, faults = [], {}
    for name, paths in coarse.items():
        found = photos.get(name, [])
        if len(found) == len(paths) == 1:
            pairs.append(Pair(name, found[0], paths[0], out / f'{name}.png', out))
        else:
            faults[name] = (
                f'{paths[0]}: {len(found)} photos and {len(paths)} masks are named {name}; '
                f'expected one of each in {images} and {masks}.'
            )
    if not pairs:
        raise InvalidValueError(
            f'no pairs: of {len(photos)} photos in {images} and '
            f'{len(coarse)} masks in {masks}, no two have the same stem '
            '(a.jpg belongs to a.png).'
        )
    return pairs, faults, [name for name in photos if name not in coarse]


def default_out(masks: str | os.PathLike) -> Path:
    """Where refined masks go if nobody says it: beside the masks.

    Example:
        >>> default_out('photos/mask.tif').name
        'mask_refined.png'
    """
    masks = Path(masks)
    if masks.is_dir():
        masks = masks.resolve()
        return masks.with_name(f'{masks.name}_refined')
    return masks.with_name(f'{masks.stem}_refined.png')


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == '.png'


def _refuse_same(out: Path, inputs: Iterable[Path], role: str = 'out') -> None:
    for path in inputs:
        if out.resolve() == path.resolve():
            raise InvalidValueError(
                f'{role} {out} is an input, which would be overwritten; give another path.'
            )


def check_outputs(pair: Pair, options: RunOptions, targets: Collection[Path] = ()) -> None:
    """Raise ``ValueError`` where an extra would be written over the photo, the mask or one of
    ``targets``, where the masks of all pairs go, or the mask in a format of rows but not by
    rows.
    """
    windowed = options.windowed
    if options.label_map and not _is_png(pair.target):
        raise InvalidValueError(f'out must be a PNG where it is a label map, got {pair.target}.')
    whole = _is_png(pair.target) or pair.target.suffix.lower() in JPEG_SUFFIXES
    if windowed is not None and not windowed and not whole:
        raise InvalidValueError(
            f'windowed must be True or left open for out {pair.target}, got {windowed}: whole '
            'masks are written as PNG; or let out end in .png.'
        )
    for kind in options.extras:
        extra = pair.extra(kind)
        _refuse_same(extra, (pair.image, pair.mask), kind)
        if extra in targets:
            raise InvalidValueError(
                f'{kind} of {pair.name}, {extra}, is also where the refined mask of a photo in '
                f'the folder {kind}/ goes; rename that folder, or leave this extra out.'
            )


def is_done(pair: Pair, settings: dict, extras: Collection[str], partial: bool = False) -> bool:
    """Whether the outputs of ``pair`` are there, of these settings and inputs; with ``partial``,
    whatever their settings are that ``settings`` does not name.

    Raises:
        ValueError: there is an output of other settings, or one that this package did not write.
    """
    if not pair.target.exists():
        return False
    note = _read_note(pair.target)
    other = note.get('settings')
    if partial and other:
        other = {key: value for key, value in other.items() if key in settings}
    if other != settings:
        differ = sorted({**settings, **other}) if other else ()
        keys = [key for key in differ if other.get(key) != settings.get(key)]
        how = f'was made with another {", ".join(keys)}' if keys else 'is no output of this tool'
        raise InvalidValueError(f'{pair.target} {how}')
    return _is_complete(pair, note, extras)


def _is_complete(pair: Pair, note: dict, extras: Collection[str]) -> bool:
    """Whether all extras are there, and the inputs are those of the note."""
    made = note.get('inputs') == _inputs(pair) and set(extras) <= set(note.get('extras', ()))
    return made and all(pair.extra(kind).exists() for kind in extras)


def were_asked(pair: Pair, options: RunOptions) -> bool:
    """Whether the outputs of ``pair`` are there, of these inputs and by the very same command.
    Its settings are then the same, too, and no model is needed to know them.
    """
    if options.overwrite or not options.asked or not pair.target.exists():
        return False
    note = _read_note(pair.target)
    return note.get('asked') == options.asked and _is_complete(pair, note, options.extras)


def _read_note(path: Path) -> dict:
    try:
        note = json.loads(read_note(path).get(NOTE, '{}'))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _inputs(pair: Pair) -> list[list[int]]:
    return [[s.st_size, s.st_mtime_ns] for s in (pair.image.stat(), pair.mask.stat())]


def make_note(pair: Pair, settings: dict, options: RunOptions) -> str:
    """What the mask of ``pair`` keeps, for :func:`is_done` and :func:`were_asked`."""
    note = {'settings': settings, 'inputs': _inputs(pair), 'extras': sorted(options.extras)}
    return json.dumps({**note, 'asked': options.asked} if options.asked else note)


def is_windowed(pair: Pair) -> bool:
    """Whether a pair is refined by rows: large photos, and formats that are read by rows alone or
    written so.
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
        pair: On what.
        options: What is written.
        note: Kept in the mask.
        progress: Called with (crops done, crops to do), by rows alone.

    Returns:
        Why the mask stays as it was, or nothing.

    Raises:
        FileError: A file cannot be read or written.
        InvalidValueError: Photo and mask do not fit each other, an extra on top of an input, or
            ``windowed=False`` for a mask that is no PNG.
    """
    options = options or RunOptions()
    check_outputs(pair, options)
    job = Job(refiner, options)
    if job.is_windowed(pair):
        job.by_rows(pair, note, progress)
    else:
        refined = job.refine(*job.read(pair))
        job.write(pair, note, refined)
        return refined.kept
    return ''


class Refined(NamedTuple):
    """What is to be written of a pair: the probability, uint8, or the label map, why the mask
    stays as it was, and photo and mask where pictures of them are wanted.
    """

    probability: np.ndarray
    kept: str
    image: np.ndarray | None = None
    coarse: np.ndarray | None = None


@dataclass(frozen=True)
class Job:
    """The three parts of the work on a pair, which run beside each other in a folder run."""

    refiner: MaskRefiner
    options: RunOptions

    def is_windowed(self, pair: Pair) -> bool:
        """Whether a pair is refined by rows."""
        windowed = False if self.options.label_map else self.options.windowed
        return is_windowed(pair) if windowed is None else windowed

    def read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Photo, and mask or label map, of one size."""
        options = self.options
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

    def refine(self, image: np.ndarray, coarse: np.ndarray) -> Refined:
        """Refine a mask or a label map."""
        pictures = set(self.options.extras) - {'probability'}
        shown = (image, coarse) if pictures else (None, None)
        if self.options.label_map:
            void = VOID if self.options.ignore is None else self.options.ignore
            labels = self.refiner.refine_semantic(image, coarse, ignore_index=void)
            return Refined(labels, '', *shown)
        probability, report = self.refiner.refine(image, coarse, return_report=True)
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

    def by_rows(self, pair: Pair, note: str, progress: Progress | None) -> None:
        """Read, refine and write by rows."""
        extras = self.options.extras
        pictures = sorted(set(extras) - {'probability'})
        if pictures:
            raise InvalidValueError(
                f'{pair.image} is refined by rows, without {" and ".join(pictures)}: leave them '
                'out.'
            )
        refine_file(
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
