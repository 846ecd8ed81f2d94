"""Pairs of files, a photo and its mask: which there are, and which are done."""

import json
import os
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

from .opening import IMAGE_SUFFIXES
from .row_writers import JPEG_SUFFIXES, OUT_SUFFIXES, read_note
from .run_options import EXTRAS, RunOptions
from .stems import files_by_stem

NOTE = 'mmseg_cascadepsp'
"""Key of the note in each mask that says how it was made."""


@dataclass(frozen=True)
class Pair:
    """A photo, its mask, and where the refined mask goes.

    Args:
        name: What the pair is called in messages: the stem of its files.
        image: The photo.
        mask: Its mask. The photo itself: a cut-out.
        target: Where the refined mask goes.
        folder: Where the results of a folder run go. None: a single pair.

    Example:
        >>> pair = Pair('a', Path('a.jpg'), Path('a.png'), Path('out/a.png'), Path('out'))
        >>> pair.extra('overlay').as_posix()
        'out/overlay/a.jpg'
    """

    name: str
    image: Path
    mask: Path
    target: Path
    folder: Path | None = None

    def extra(self, kind: str) -> Path:
        """Where an extra goes: ``out_overlay.jpg`` beside ``out.png``, or ``overlay/a.jpg`` in a
        folder.
        """
        if self.folder is None:
            suffix = self.target.suffix if kind == 'probability' else EXTRAS[kind]
            return self.target.with_name(f'{self.target.stem}_{kind}{suffix}')
        return self.folder / kind / f'{self.name}{EXTRAS[kind]}'


def check_inputs(images: str | os.PathLike, masks: str | os.PathLike) -> None:
    """See that photos and masks are there.

    Args:
        images, masks: See :func:`find_pairs`.

    Raises:
        MissingFileError: A path does not exist.
        InvalidValueError: A file and a folder.

    Example:
        >>> check_inputs('.', '.')  # says nothing
    """
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
    check_inputs(images, masks)
    given, out = str(out), Path(out)
    images, masks = Path(images), Path(masks)
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
    """See before the work that the outputs of a pair can be written.

    Args:
        pair: The pair.
        options: What is written.
        targets: Where the masks of all pairs go.

    Raises:
        InvalidValueError: An extra would be written over the photo, the mask or one of
            ``targets``, or the mask has a format that is written by rows alone.

    Example:
        >>> pair = Pair('a', Path('a.jpg'), Path('a.png'), Path('out/a.png'))
        >>> check_outputs(pair, RunOptions(extras=['overlay']))  # says nothing
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
    """Whether the outputs of a pair are there, made with these settings from these inputs.

    Args:
        pair: The pair.
        settings: Those that the outputs must have.
        extras: Those that must be there.
        partial: Whether only the settings that ``settings`` names are compared.

    Raises:
        InvalidValueError: There is an output of other settings, or one that this package did not
            write.

    Example:
        >>> pair = Pair('a', Path('a.jpg'), Path('a.png'), Path('out/a.png'))
        >>> is_done(pair, {'L': '900'}, [])
        False
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
    """Whether the outputs of a pair are there, made from these inputs by the very same command.

    The settings are then the same, too, and no model is needed to know them.

    Example:
        >>> pair = Pair('a', Path('a.jpg'), Path('a.png'), Path('out/a.png'))
        >>> were_asked(pair, RunOptions(asked='1a2b'))
        False
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
    """The note that the mask of a pair keeps for :func:`is_done` and :func:`were_asked`.

    Example:
        >>> import tempfile
        >>> paths = [Path(tempfile.mkdtemp(), name) for name in ('a.jpg', 'a.png', 'out.png')]
        >>> for path in paths[:2]:
        ...     path.touch()
        >>> json.loads(make_note(Pair('a', *paths), {'L': '900'}, RunOptions()))['settings']
        {'L': '900'}
    """
    note = {'settings': settings, 'inputs': _inputs(pair), 'extras': sorted(options.extras)}
    return json.dumps({**note, 'asked': options.asked} if options.asked else note)
