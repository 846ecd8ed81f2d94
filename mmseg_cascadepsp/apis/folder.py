"""Refining files: one pair, or two folders of the same names, resumable."""

import errno
import json
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.cascade import check_crop_size
from mmseg_cascadepsp.utils import (
    IMAGE_SUFFIXES,
    read_image,
    read_mask,
    read_png_text,
    write_image,
    write_png,
)
from mmseg_cascadepsp.visualization import before_after, overlay

from .refiner import Refiner
from .validation import check_mask

EXTRAS = {'probability': '.png', 'overlay': '.jpg', 'before_after': '.jpg'}
"""What can be written besides the mask, and as which format."""
NOTE = 'mmseg_cascadepsp'
"""Key of the note in each mask that says how it was made."""
HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Faults of the disk that the next pair would meet again."""


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
        folder."""
        if self.folder is None:
            return self.target.with_name(f'{self.target.stem}_{kind}{EXTRAS[kind]}')
        return self.folder / kind / f'{self.name}{EXTRAS[kind]}'


@dataclass
class Report:
    """What a run did: names of pairs, and for failed ones a sentence."""

    refined: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f'{len(self.refined)} refined, {len(self.skipped)} were there already, '
            f'{len(self.failed)} failed'
        )


def find_pairs(
    images: str | os.PathLike, masks: str | os.PathLike, out: str | os.PathLike
) -> tuple[list[Pair], dict[str, str]]:
    """Pair photos with masks: two files, or two folders (with subfolders) of the same stems.

    Where both are the same folder, PNG files are the masks of the other files of their stem.

    Returns:
        Pairs in the order of their names, and the masks without photo or with several, with a
        sentence each. Photos without a mask are left out.

    Raises:
        OSError: a path does not exist.
        ValueError: a file and a folder, no pairs, or an output on top of an input.
    """
    given, out = str(out), Path(out)
    images, masks = Path(images), Path(masks)
    for role, path in (('image', images), ('mask', masks)):
        if not path.exists():
            raise FileNotFoundError(f'{role} {path} does not exist.')
    if images.is_dir() != masks.is_dir():
        kinds = ['a folder' if path.is_dir() else 'a file' for path in (images, masks)]
        raise ValueError(
            f'image {images} is {kinds[0]} and mask {masks} is {kinds[1]}; give two files, or two '
            'folders.'
        )
    if images.is_file():
        if out.is_dir() or given.endswith(('/', os.sep)) or not out.suffix:
            out = out / f'{images.stem}.png'
        if out.suffix.lower() != '.png':
            raise ValueError(f'out must end in .png or be a folder, got {out}.')
        _refuse_same(out, (images, masks))
        return [Pair(images.stem, images, masks, out)], {}
    if out.exists() and not out.is_dir():
        raise ValueError(f'out must be a folder, as image and mask are; {out} is a file.')
    _refuse_same(out, (images, masks))
    photos, coarse = _by_stem(images, out), _by_stem(masks, out)
    if images.resolve() == masks.resolve():
        coarse = {name: [p for p in paths if _is_png(p)] for name, paths in coarse.items()}
        photos = {name: [p for p in paths if not _is_png(p)] for name, paths in photos.items()}
    pairs, faults = [], {}
    for name, paths in sorted(coarse.items()):
        found = photos.get(name, [])
        if len(found) == len(paths) == 1:
            pairs.append(Pair(name, found[0], paths[0], out / f'{name}.png', out))
        elif paths:
            faults[name] = (
                f'{len(found)} photos and {len(paths)} masks are named {name}; expected one of '
                f'each in {images} and {masks}.'
            )
    if not pairs:
        raise ValueError(
            f'no pairs: of {sum(map(bool, photos.values()))} photos in {images} and '
            f'{sum(map(bool, coarse.values()))} masks in {masks}, no two have the same stem '
            '(a.jpg belongs to a.png).'
        )
    return pairs, faults


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == '.png'


def _by_stem(folder: Path, out: Path) -> dict[str, list[Path]]:
    """Image files below ``folder`` but not below ``out``, by their path without suffix."""
    found: dict[str, list[Path]] = {}
    within = folder.resolve() in out.resolve().parents
    for path in sorted(folder.rglob('*')):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES or any(p[0] == '.' for p in inside.parts):
            continue
        if not within or out.resolve() not in path.resolve().parents:
            found.setdefault(inside.with_suffix('').as_posix(), []).append(path)
    return found


def _refuse_same(out: Path, inputs: Iterable[Path]) -> None:
    for path in inputs:
        if out.resolve() == path.resolve():
            raise ValueError(
                f'out {out} is an input, which would be overwritten; give another path.'
            )


def _is_done(pair: Pair, settings: dict, extras: Collection[str]) -> bool:
    """Whether the outputs of ``pair`` are there, of these settings and inputs.

    Raises:
        ValueError: there is an output of other settings, or one that this package did not write.
    """
    if not pair.target.exists():
        return False
    note = _read_note(pair.target)
    other = note.get('settings')
    if other != settings:
        keys = [key for key in sorted(settings) if other and other.get(key) != settings[key]]
        how = f'was made with another {", ".join(keys)}' if keys else 'is no output of this tool'
        raise ValueError(f'{pair.target} {how}')
    made = note.get('inputs') == _inputs(pair) and set(extras) <= set(note.get('extras', ()))
    return made and all(pair.extra(kind).exists() for kind in extras)


def _read_note(path: Path) -> dict:
    try:
        note = json.loads(read_png_text(path).get(NOTE, '{}'))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _inputs(pair: Pair) -> list[list[int]]:
    return [[s.st_size, s.st_mtime_ns] for s in (pair.image.stat(), pair.mask.stat())]


def refine_pair(
    refiner: Refiner,
    pair: Pair,
    *,
    fast: bool | None = None,
    L: int = 900,
    threshold: float = 0.5,
    extras: Collection[str] = (),
    note: str = '',
) -> None:
    """Refine one pair of files; the mask is written last, so where it is, all is.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: photo and mask do not fit each other, or a bad setting.
    """
    image, coarse = read_image(pair.image), read_mask(pair.mask)
    probability = refiner.refine(image, coarse, fast=fast, L=L)
    mask = probability > 255 * threshold
    if 'probability' in extras:
        write_png(pair.extra('probability'), probability)
    if 'overlay' in extras:
        write_image(pair.extra('overlay'), overlay(image, mask))
    if 'before_after' in extras:
        picture = before_after(image, check_mask(coarse), mask, ('coarse mask', 'refined'))
        write_image(pair.extra('before_after'), picture)
    write_png(pair.target, mask.astype(np.uint8) * 255, {NOTE: note} if note else None)


def refine_files(
    refiner: Refiner,
    images: str | os.PathLike,
    masks: str | os.PathLike,
    out: str | os.PathLike,
    *,
    fast: bool | None = None,
    L: int = 900,
    threshold: float = 0.5,
    extras: Collection[str] = (),
    overwrite: bool = False,
    console: Console | None = None,
) -> Report:
    """Refine a pair of files, or all pairs of two folders.

    Pairs whose outputs are there, of the same settings and inputs, are skipped, so a run that was
    interrupted goes on where it stopped. A pair that fails is reported and the others go on.

    Args:
        refiner: Does the work.
        images: A photo, or a folder of photos.
        masks: Its coarse mask, or a folder of masks with the same stems.
        out: PNG file, or folder: ``NAME.png`` is 0/255; extras are in folders of their kind.
        fast: Global step alone, or never alone; by default as :meth:`Refiner.refine` with None.
        L: See :meth:`Refiner.refine`.
        threshold: Probability above which a pixel is object, 0 to 1.
        extras: Some of :data:`EXTRAS`.
        overwrite: Make everything anew, also in the place of outputs of other settings.
        console: Where progress and failures are told; nothing is printed without.

    Returns:
        Names of what was refined, skipped, and what failed.

    Raises:
        OSError: a path does not exist, or the disk is full or read-only.
        ValueError: no pairs, a bad setting, or outputs of other settings without ``overwrite``.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f'threshold must be at least 0 and below 1, got {threshold}.')
    L = check_crop_size(L)
    unknown = set(extras) - set(EXTRAS)
    if unknown:
        raise ValueError(
            f'extras must be of {", ".join(EXTRAS)}, got {", ".join(sorted(unknown))}.'
        )
    pairs, faults = find_pairs(images, masks, out)
    settings = {**refiner.settings(), 'fast': fast, 'L': L, 'threshold': threshold}
    report, todo, others = Report(failed=faults), [], []
    for pair in pairs:
        try:
            done = not overwrite and _is_done(pair, settings, extras)
        except ValueError as error:
            others.append(str(error))
            continue
        (report.skipped if done else todo).append(pair.name if done else pair)
    if others:
        raise ValueError(
            f'out: {others[0]}{f", and {len(others) - 1} more" if len(others) > 1 else ""}; give '
            'another folder, or overwrite.'
        )
    console = console or Console(quiet=True)
    for name, sentence in faults.items():
        console.print(f'[red]failed[/] {escape(name)}: {escape(sentence)}', highlight=False)
    columns = (
        TextColumn('refining'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn('{task.description}'),
    )
    live = console.is_terminal
    with Progress(*columns, console=console, disable=not live) as bar:
        task = bar.add_task('', total=len(todo))
        for index, pair in enumerate(todo, 1):
            bar.update(task, description=escape(pair.name))
            start = time.perf_counter()
            try:
                note = {'settings': settings, 'inputs': _inputs(pair), 'extras': sorted(extras)}
                refine_pair(
                    refiner,
                    pair,
                    fast=fast,
                    L=L,
                    threshold=threshold,
                    extras=extras,
                    note=json.dumps(note),
                )
            except (OSError, ValueError, TypeError, MemoryError, RuntimeError) as error:
                if getattr(error, 'errno', None) in HOPELESS:
                    raise
                report.failed[pair.name] = sentence = _sentence(error)
                console.print(
                    f'[red]failed[/] {escape(pair.name)}: {escape(sentence)}', highlight=False
                )
            else:
                report.refined.append(pair.name)
                if not live:
                    seconds = time.perf_counter() - start
                    console.print(
                        f'{index}/{len(todo)} {escape(pair.name)} {seconds:.1f} s', highlight=False
                    )
            bar.advance(task)
    return report


def _sentence(error: Exception) -> str:
    """What an error says, in one line."""
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return text.splitlines()[0]
