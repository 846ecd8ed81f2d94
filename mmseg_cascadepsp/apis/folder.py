"""Refining files: one pair, or two folders of the same names, resumable, by one process or
several."""

import errno
import json
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.cascade import check_crop_size
from mmseg_cascadepsp.utils import IMAGE_SUFFIXES, read_image, read_mask, write_image, write_png
from mmseg_cascadepsp.utils.rows import read_note, stored_size
from mmseg_cascadepsp.visualization import before_after, overlay

from .large import OUT_SUFFIXES, refine_file
from .refiner import Refiner
from .validation import check_mask

EXTRAS = {'probability': '.png', 'overlay': '.jpg', 'before_after': '.jpg'}
"""What can be written besides the mask, and as which format."""
NOTE = 'mmseg_cascadepsp'
"""Key of the note in each mask that says how it was made."""
FAULTS = (OSError, ValueError, TypeError, MemoryError, RuntimeError)
"""What is reported of a pair while the others go on."""
WINDOWED_PIXELS = 100_000_000
"""Photos of more pixels are refined by rows."""
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
            suffix = self.target.suffix if kind == 'probability' else EXTRAS[kind]
            return self.target.with_name(f'{self.target.stem}_{kind}{suffix}')
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
        if out.suffix.lower() not in OUT_SUFFIXES:
            raise ValueError(
                f'out must end in .png, .tif or .npy, or be a folder, got {out}.'
            )
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
    known = IMAGE_SUFFIXES | {'.npy'}
    for path in sorted(folder.rglob('*')):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in known or any(p[0] == '.' for p in inside.parts):
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
        note = json.loads(read_note(path).get(NOTE, '{}'))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _inputs(pair: Pair) -> list[list[int]]:
    return [[s.st_size, s.st_mtime_ns] for s in (pair.image.stat(), pair.mask.stat())]


def _note(pair: Pair, settings: dict, extras: Collection[str]) -> str:
    return json.dumps({'settings': settings, 'inputs': _inputs(pair), 'extras': sorted(extras)})


def is_windowed(pair: Pair) -> bool:
    """Whether a pair is refined by rows: large photos, and formats that are read by rows alone or
    written so."""
    suffixes = {path.suffix.lower() for path in (pair.image, pair.mask, pair.target)}
    height, width = stored_size(pair.image) or (0, 0)
    return (
        '.npy' in suffixes
        or pair.target.suffix.lower() != '.png'
        or height * width > WINDOWED_PIXELS
    )


def refine_pair(
    refiner: Refiner,
    pair: Pair,
    *,
    fast: bool | None = None,
    L: int = 900,
    threshold: float = 0.5,
    extras: Collection[str] = (),
    windowed: bool | None = None,
    note: str = '',
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Refine one pair of files; the mask is written last, so where it is, all is.

    Args:
        refiner, pair: What does the work, and on what.
        fast, L, threshold, extras: See :func:`refine_files`.
        windowed: By rows, see :func:`~mmseg_cascadepsp.apis.refine_file`; by default as
            :func:`is_windowed` says.
        note: Kept in the mask.
        progress: Called with (crops done, crops to do), by rows alone.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: photo and mask do not fit each other, or a bad setting.
    """
    job = _Job(refiner, fast, L, threshold, tuple(extras), windowed)
    if job.is_windowed(pair):
        job.by_rows(pair, note, progress)
    else:
        job.write(pair, note, *job.refine(*job.read(pair)))


@dataclass(frozen=True)
class _Job:
    """The three parts of the work on a pair, which run beside each other in a folder run."""

    refiner: Refiner
    fast: bool | None
    L: int
    threshold: float
    extras: tuple[str, ...]
    windowed: bool | None

    def is_windowed(self, pair: Pair) -> bool:
        return is_windowed(pair) if self.windowed is None else self.windowed

    def read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray] | None:
        return read_image(pair.image), read_mask(pair.mask)

    def refine(self, image: np.ndarray, coarse: np.ndarray) -> tuple[np.ndarray, ...]:
        probability = self.refiner.refine(image, coarse, fast=self.fast, L=self.L)
        with_photo = bool(set(self.extras) - {'probability'})
        return (probability, image, coarse) if with_photo else (probability, None, None)

    def write(self, pair: Pair, note: str, probability, image, coarse) -> None:
        mask = probability > 255 * self.threshold
        if 'probability' in self.extras:
            write_png(pair.extra('probability'), probability)
        if 'overlay' in self.extras:
            write_image(pair.extra('overlay'), overlay(image, mask))
        if 'before_after' in self.extras:
            picture = before_after(image, check_mask(coarse), mask, ('coarse mask', 'refined'))
            write_image(pair.extra('before_after'), picture)
        write_png(pair.target, mask.astype(np.uint8) * 255, {NOTE: note} if note else None)

    def by_rows(self, pair: Pair, note: str, progress) -> None:
        pictures = sorted(set(self.extras) - {'probability'})
        if pictures:
            raise ValueError(
                f'{pair.image} is refined by rows, without {" and ".join(pictures)}: leave them '
                'out.'
            )
        wanted = 'probability' in self.extras
        refine_file(
            self.refiner,
            pair.image,
            pair.mask,
            pair.target,
            fast=self.fast,
            L=self.L,
            threshold=self.threshold,
            probability=pair.extra('probability') if wanted else None,
            note=note,
            progress=progress,
        )


def process_pair(
    refiner: Refiner, settings: dict, pair: Pair, overwrite: bool = False, **options
) -> tuple[str, str]:
    """One pair as in a folder run.

    Args:
        refiner: Does the work.
        settings: Of the refiner (:meth:`Refiner.settings`).
        pair: On what.
        overwrite: See :func:`refine_files`.
        options: ``fast``, ``L``, ``threshold``, ``extras`` and ``windowed`` of it, all of them.

    Returns:
        ``'refined'``, ``'skipped'`` or ``'failed'``, and of a failure a sentence.

    Raises:
        OSError: the disk is full or read-only.
    """
    settings = {**settings, **{name: options[name] for name in ('fast', 'L', 'threshold')}}
    try:
        if not overwrite and _is_done(pair, settings, options['extras']):
            return 'skipped', ''
        refine_pair(refiner, pair, note=_note(pair, settings, options['extras']), **options)
    except FAULTS as error:
        if getattr(error, 'errno', None) in HOPELESS:
            raise
        return 'failed', _sentence(error)
    return 'refined', ''


def join_processes() -> tuple[int, int]:
    """Join the processes of ``torchrun``, of which :func:`refine_files` then shares the pairs.

    Returns:
        The rank of this process and how many there are: 0 and 1 without ``torchrun``. With GPUs,
        each process takes its own.
    """
    if int(os.environ.get('WORLD_SIZE', 1)) < 2:
        return 0, 1
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)))
    if not torch.distributed.is_initialized():
        # Names and numbers are exchanged, at the end, when some have waited long.
        torch.distributed.init_process_group('gloo', timeout=timedelta(days=30))
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _merged(report: Report, world: int) -> Report:
    """The report of all processes, in each of them."""
    if world == 1:
        return report
    parts = [None] * world
    torch.distributed.all_gather_object(parts, report)
    return Report(
        sorted(name for part in parts for name in part.refined),
        sorted(name for part in parts for name in part.skipped),
        {name: text for part in parts for name, text in part.failed.items()},
    )


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
    windowed: bool | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> Report:
    """Refine a pair of files, or all pairs of two folders.

    Pairs whose outputs are there, of the same settings and inputs, are skipped, so a run that was
    interrupted goes on where it stopped. A pair that fails is reported and the others go on. While
    the network is at work on one photo, the next is read and the one before is written. Under
    ``torchrun`` (after :func:`join_processes`) each process takes its share of the pairs, and all
    return the report of all.

    Args:
        refiner: Does the work.
        images: A photo, or a folder of photos.
        masks: Its coarse mask, or a folder of masks with the same stems.
        out: PNG file, or folder: ``NAME.png`` is 0/255; extras are in folders of their kind. Of a
            single pair, TIFF or ``.npy``, too.
        fast: Global step alone, or never alone; by default as :meth:`Refiner.refine` with None.
        L: See :meth:`Refiner.refine`.
        threshold: Probability above which a pixel is object, 0 to 1.
        extras: Some of :data:`EXTRAS`; by rows, ``probability`` alone.
        windowed: Whether photos are refined by rows, see
            :func:`~mmseg_cascadepsp.apis.refine_file`; by default those of more than
            :data:`WINDOWED_PIXELS`.
        overwrite: Make everything anew, also in the place of outputs of other settings.
        console: Where progress and failures are told; nothing is printed without.

    Returns:
        Names of what was refined, skipped, and what failed.

    Raises:
        OSError: a path does not exist, or the disk is full or read-only.
        ValueError: no pairs, a bad setting, or outputs of other settings without ``overwrite``.
    """
    L = check_settings(L, threshold, extras)
    pairs, faults = find_pairs(images, masks, out)
    rank, world = 0, 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    pairs, faults = pairs[rank::world], faults if rank == 0 else {}
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
    job = _Job(refiner, fast, L, threshold, tuple(extras), windowed)
    _run(job, todo, settings, report, console, live=console.is_terminal and rank == 0)
    return _merged(report, world)


def check_settings(L: int, threshold: float, extras: Collection[str]) -> int:
    """Check what :func:`refine_files` is told; returns ``L`` as an int.

    Raises:
        ValueError: a bad setting.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f'threshold must be at least 0 and below 1, got {threshold}.')
    unknown = set(extras) - set(EXTRAS)
    if unknown:
        raise ValueError(
            f'extras must be of {", ".join(EXTRAS)}, got {", ".join(sorted(unknown))}.'
        )
    return check_crop_size(L)


def _run(
    job: _Job, todo: list[Pair], settings: dict, report: Report, console: Console, live: bool
) -> None:
    """Refine pairs one after the other, reading ahead and writing behind by one."""
    columns = (
        TextColumn('refining'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn('{task.description}'),
    )
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    writes: deque[tuple[Pair, float, Future]] = deque()

    def attempt(pair: Pair, work: Callable):
        """What ``work`` returns, or None where the pair failed."""
        try:
            return work()
        except FAULTS as error:
            if getattr(error, 'errno', None) in HOPELESS:
                raise
            report.failed[pair.name] = sentence = _sentence(error)
            bar.advance(task)
            console.print(
                f'[red]failed[/] {escape(pair.name)}: {escape(sentence)}', highlight=False
            )
        return None

    def finished(pair: Pair, start: float) -> None:
        report.refined.append(pair.name)
        bar.advance(task)
        if not live:
            done = int(bar.tasks[task].completed)
            seconds = time.perf_counter() - start
            console.print(
                f'{done}/{len(todo)} {escape(pair.name)} {seconds:.1f} s', highlight=False
            )

    def settle() -> None:
        """Wait until nothing is being written."""
        while writes:
            pair, start, future = writes.popleft()
            if attempt(pair, lambda: (future.result(),)) is not None:  # noqa: B023
                finished(pair, start)

    def read(index: int) -> Future | None:
        """Start reading; not what is read by rows."""
        if index < len(todo) and not job.is_windowed(todo[index]):
            return reader.submit(job.read, todo[index])
        return None

    def work(pair: Pair, inputs: tuple) -> tuple:
        """What is to be written; nothing of what is refined by rows, which has been."""
        note = _note(pair, settings, job.extras)
        if inputs:
            return note, *job.refine(*inputs)
        job.by_rows(pair, note, show_crops)
        return ()

    def show_crops(done: int, total: int) -> None:
        bar.update(crops, completed=done, total=total, visible=done < total)

    with Progress(*columns, console=console, disable=not live) as bar:
        task = bar.add_task('', total=len(todo))
        crops = bar.add_task('crops', total=None, visible=False)
        try:
            coming = read(0)
            for index, pair in enumerate(todo):
                bar.update(task, description=escape(pair.name))
                start, reading = time.perf_counter(), coming
                inputs = attempt(pair, reading.result) if reading else ()
                coming = read(index + 1) if reading else None
                results = None
                if inputs is not None:
                    results = attempt(pair, lambda: work(pair, inputs))  # noqa: B023
                coming = coming if reading else read(index + 1)
                settle()
                if results:
                    writes.append((pair, start, writer.submit(job.write, pair, *results)))
                elif results is not None:
                    finished(pair, start)
            settle()
        finally:  # what is being written when a run is interrupted is finished
            reader.shutdown(wait=False, cancel_futures=True)
            writer.shutdown(wait=True)


def _sentence(error: Exception) -> str:
    """What an error says, in one line."""
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return text.splitlines()[0]
