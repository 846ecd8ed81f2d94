"""Refining files: one pair, or two folders of the same names, resumable, by one process or
several.
"""

import atexit
import errno
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.cascade import call_settings
from mmseg_cascadepsp.errors import FileError, InvalidValueError, one_line

from .one_pair import Job, refine_pair
from .pairs import Pair, check_outputs, find_pairs, is_done, make_note, were_asked
from .refiner_protocol import MaskRefiner
from .run_options import RunOptions

HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Faults of the disk that the next pair would meet again."""


@dataclass
class Report:
    """What a run did.

    Args:
        refined: Names of pairs that were refined.
        kept: Name -> sentence, of pairs whose mask stays as it was. It is written, too.
        skipped: Names of pairs whose results were there already.
        failed: Name -> sentence, of what could not be refined.
        without_mask: Names of photos that have no mask, which were left out.

    Example:
        >>> print(Report(refined=['a', 'b'], skipped=['c']))
        2 refined, 1 were there already, 0 failed
    """

    refined: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    without_mask: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        kept = f'{len(self.kept)} kept as they were, ' if self.kept else ''
        return (
            f'{len(self.refined)} refined, {kept}{len(self.skipped)} were there already, '
            f'{len(self.failed)} failed'
        )


def run_settings(refiner: MaskRefiner, options: RunOptions) -> dict:
    """What the results of a run depend on besides their inputs.

    Args:
        refiner: Does the work.
        options: How the files are read and written.

    Returns:
        Values for JSON, by name.

    Example:
        >>> from mmseg_cascadepsp import Refiner
        >>> run_settings(Refiner('lite', L=500), RunOptions(threshold=0.4))['threshold']
        0.4
    """
    return {**refiner.settings(), **options.told()}


def process_pair(
    refiner: MaskRefiner, settings: dict, pair: Pair, options: RunOptions
) -> tuple[str, str]:
    """One pair as in a folder run.

    Args:
        refiner: Does the work.
        settings: What :func:`run_settings` gives.
        pair: The pair.
        options: See :func:`refine_files`.

    Returns:
        ``'refined'``, ``'kept'``, ``'skipped'`` or ``'failed'``, and of a mask that was kept or
        failed a sentence.

    Raises:
        OSError: The disk is full or read-only.

    Example:
        >>> from mmseg_cascadepsp import Refiner
        >>> pair = Pair('a', Path('missing.jpg'), Path('missing.png'), Path('missing/out.png'))
        >>> process_pair(Refiner('lite'), {}, pair, RunOptions())[0]
        'failed'
    """
    try:
        if not options.overwrite and is_done(pair, settings, options.extras):
            return 'skipped', ''
        kept = refine_pair(refiner, pair, options, note=make_note(pair, settings, options))
    except Exception as error:
        return 'failed', fault_of(pair, error)
    return 'kept' if kept else 'refined', kept


def fault_of(pair: Pair, error: Exception) -> str:
    """What is reported of a pair that failed, while the others go on.

    Args:
        pair: The pair.
        error: What was raised. Decoders and networks raise whatever they stumble over.

    Returns:
        A sentence that names a file of the pair.

    Raises:
        OSError: ``error``, if the next pair would meet it again: the disk is full or read-only.

    Example:
        >>> pair = Pair('a', Path('a.jpg'), Path('a.png'), Path('out/a.png'))
        >>> fault_of(pair, ZeroDivisionError('division by zero'))
        'a.jpg with mask a.png: ZeroDivisionError: division by zero'
        >>> fault_of(pair, ValueError('a.png is empty.'))
        'a.png is empty.'
    """
    if isinstance(error, OSError) and error.errno in HOPELESS:
        raise error
    sentence = one_line(error)
    if any(str(path) in sentence for path in (pair.image, pair.mask, pair.target)):
        return sentence
    return f'{pair.image} with mask {pair.mask}: {sentence}'


def join_processes() -> tuple[int, int]:
    """Join the processes of ``torchrun``, of which :func:`refine_files` then shares the pairs.

    Returns:
        The rank of this process and how many there are: 0 and 1 without ``torchrun``. With GPUs,
        each process takes its own.

    Example:
        >>> join_processes()  # without torchrun
        (0, 1)
    """
    if int(os.environ.get('WORLD_SIZE', 1)) < 2:
        return 0, 1
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)))
    if not torch.distributed.is_initialized():
        # Names and numbers are exchanged, at the end, when some have waited long.
        torch.distributed.init_process_group('gloo', timeout=timedelta(days=30))
        atexit.register(_leave_processes)
    return processes()


def _leave_processes() -> None:
    """End the threads of the group before the interpreter ends, which might abort with them."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def processes() -> tuple[int, int]:
    """The rank of this process and how many share the work, 0 and 1 if it is alone.

    Example:
        >>> processes()
        (0, 1)
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


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
        sorted(name for part in parts for name in part.without_mask),
        {name: text for part in parts for name, text in part.kept.items()},
    )


def refine_files(
    refiner: MaskRefiner | Callable[[], MaskRefiner],
    images: str | os.PathLike,
    masks: str | os.PathLike,
    out: str | os.PathLike,
    *,
    fast: bool | None = None,
    L: int | None = None,
    console: Console | None = None,
    **options: Any,
) -> Report:
    """Refine a pair of files, or all pairs of two folders.

    A pair is skipped if its outputs are there, of the same settings and inputs. So a run that was
    interrupted goes on where it stopped. A pair that fails is reported, and the others go on.
    While the network works on one photo, the next one is read and the one before is written. Under
    ``torchrun`` (after :func:`join_processes`) each process takes its share of the pairs, and all
    return the report of the whole run.

    Args:
        refiner: Does the work. Its own bar over the crops is not shown. Or a function that makes
            it, which is called if anything is left to be done.
        images: A photo, or a folder of photos.
        masks: Its coarse mask, or a folder of masks with the same stems.
        out: A PNG file, or a folder. There ``NAME.png`` is 0/255, and extras are in folders of
            their kind. For a single pair TIFF or ``.npy``, too.
        fast, L: See :meth:`mmseg_cascadepsp.Refiner.refine`.
        console: Where progress and failures are told. None: nothing is printed.
        options: Fields of :class:`~mmseg_cascadepsp.files.run_options.RunOptions`: ``threshold``,
            ``extras``, ``windowed``, ``overwrite``, ``asked``, ``mask_values``, ``ignore``,
            ``exif``, ``resize_mask``, ``label_map``.

    Returns:
        The report.

    Raises:
        FileError: A path does not exist, or ``out`` cannot be written to.
        OSError: The disk is full or read-only.
        InvalidTypeError: ``L`` is no integer.
        InvalidValueError: No pairs, a bad setting, an extra on top of another file, or outputs of
            other settings without ``overwrite``.

    Example:
        >>> from mmseg_cascadepsp import Refiner
        >>> report = refine_files(Refiner('lite'), 'photos', 'masks', 'out')  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
        12 refined, 0 were there already, 0 failed
    """
    options = RunOptions(**options)
    pairs, faults, lone = find_pairs(images, masks, out)
    rank, world = processes()
    if rank > 0:  # one process tells it
        faults, lone = {}, []
    share = slice(rank, None, world)
    names = [pair.name for pair in pairs[share] if were_asked(pair, options)]
    report = Report(failed=faults, skipped=names, without_mask=lone)
    console = console or Console(quiet=True)
    if lone:
        _say(console, escape(_without_mask(lone)))
    for name, sentence in faults.items():
        _tell_failure(console, name, sentence)
    if len(names) == len(pairs[share]):
        return _merged(report, world)
    refiner = refiner() if callable(refiner) else refiner
    refiner = refiner.with_settings(**call_settings(fast, L))
    settings = run_settings(refiner, options)
    todo, report.skipped = check_run(pairs, settings, options, share)
    refiner.progress = False  # one bar in one terminal: that of the run
    job = Job(refiner, options)
    live = console.is_terminal and rank == 0
    _Run(job, settings, report, console, live).refine(todo)
    return _merged(report, world)


def check_run(
    pairs: list[Pair],
    settings: dict,
    options: RunOptions,
    share: slice = slice(None),
    partial: bool = False,
) -> tuple[list[Pair], list[str]]:
    """What is checked before the work, by :func:`refine_files` and on a cluster.

    Args:
        pairs: All of the run.
        settings: Those that the outputs must have, or with ``partial`` some of them.
        options: See :func:`refine_files`.
        share: Which pairs are this process's. Outputs of other pairs are not looked at.
        partial: See :func:`~mmseg_cascadepsp.files.pairs.is_done`.

    Returns:
        The pairs of the share that are to be done, and the names of those that are.

    Raises:
        FileError: The folder of the results cannot be written to.
        InvalidValueError: An extra on top of another file, ``windowed=False`` for a mask that is
            no PNG, or outputs of other settings without ``overwrite``.

    Example:
        >>> out = Path(tempfile.mkdtemp())
        >>> pair = Pair('a', Path('a.jpg'), Path('a.png'), out / 'a.png')
        >>> todo, skipped = check_run([pair], {}, RunOptions())
        >>> [pair.name for pair in todo], skipped
        (['a'], [])
    """
    targets = {pair.target for pair in pairs}
    for pair in pairs:
        check_outputs(pair, options, targets)
    todo, skipped, others = [], [], []
    for pair in pairs[share]:
        try:
            done = not options.overwrite and is_done(pair, settings, options.extras, partial)
        except ValueError as error:
            others.append(str(error))
            continue
        except OSError:  # an input that is gone: told when its turn comes
            done = False
        (skipped if done else todo).append(pair.name if done else pair)
    if others:
        raise InvalidValueError(
            f'out: {others[0]}{f", and {len(others) - 1} more" if len(others) > 1 else ""}; give '
            'another name, or --overwrite (overwrite=True).'
        )
    if todo:
        _check_writable(todo[0].folder or todo[0].target.parent)
    return todo, skipped


def _check_writable(folder: Path) -> None:
    """See before the work that results can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        sentence = f'out: {folder} cannot be written to: {error.strerror or error}.'
        raise FileError(error.errno, sentence) from error


class _Run:
    """Refines pairs one after the other. While the network works on one, the next one is read and
    the one before is written.
    """

    def __init__(self, job: Job, settings: dict, report: Report, console: Console, live: bool):
        self.job, self.settings, self.report = job, settings, report
        self.console, self.live = console, live
        columns = (
            TextColumn('refining'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.description}'),
        )
        self.bar = Progress(*columns, console=console, disable=not live)
        self.pairs = self.bar.add_task('', total=0)
        self.crops = self.bar.add_task('crops', total=None, visible=False)

    def refine(self, todo: list[Pair]) -> None:
        """Refine pairs, and add them to the report."""
        self.bar.update(self.pairs, total=len(todo))
        # At the end of the block, also after an interrupt, what is being written is finished.
        with self.bar, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            reading = written = None
            for pair, following in zip(todo, [*todo[1:], None], strict=False):
                self.bar.update(self.pairs, description=escape(pair.name))
                start = time.perf_counter()
                if self.job.is_windowed(pair):  # nothing else is in memory meanwhile
                    results, kept = None, self._attempt(pair, self._by_rows, pair)
                else:
                    kept = None
                    inputs = self._attempt(pair, (reading or self._read(reader, pair)).result)
                    reading = self._read(reader, following)
                    results = inputs and self._attempt(pair, self._refined, pair, inputs)
                if written:
                    self._settle(*written)
                written = None
                if results:
                    note, refined = results
                    writing = writer.submit(self.job.write, pair, note, refined)
                    written = pair, start, refined.kept, writing
                elif kept is not None:
                    self._finished(pair, start, kept)
                reading = reading or self._read(reader, following)
            if written:
                self._settle(*written)

    def _read(self, reader: ThreadPoolExecutor, pair: Pair | None) -> Future | None:
        """Start to read the pair, unless it is read by rows."""
        if pair is None or self.job.is_windowed(pair):
            return None
        return reader.submit(self.job.read, pair)

    def _refined(self, pair: Pair, inputs: tuple) -> tuple:
        """What is to be written."""
        note = make_note(pair, self.settings, self.job.options)
        return note, self.job.refine(*inputs)

    def _by_rows(self, pair: Pair) -> str:
        """Nothing is left to be written. Why the mask stays as it was, or nothing."""
        note = make_note(pair, self.settings, self.job.options)
        return self.job.by_rows(pair, note, self._show_crops)

    def _show_crops(self, done: int, total: int) -> None:
        self.bar.update(self.crops, completed=done, total=total, visible=done < total)

    def _attempt(self, pair: Pair, work: Callable, *arguments):
        """What ``work`` returns, or None where the pair failed."""
        try:
            return work(*arguments)
        except Exception as error:
            self.report.failed[pair.name] = sentence = fault_of(pair, error)
            self.bar.advance(self.pairs)
            _tell_failure(self.console, pair.name, sentence)
        return None

    def _settle(self, pair: Pair, start: float, kept: str, writing: Future) -> None:
        """Wait until the pair is written."""
        if self._attempt(pair, lambda: (writing.result(),)):
            self._finished(pair, start, kept)

    def _finished(self, pair: Pair, start: float, kept: str = '') -> None:
        if kept:
            self.report.kept[pair.name] = kept
            _say(self.console, f'[yellow]kept[/] {escape(pair.name)}: {escape(kept)}')
        else:
            self.report.refined.append(pair.name)
        self.bar.advance(self.pairs)
        if not self.live:
            task, seconds = self.bar.tasks[0], time.perf_counter() - start
            count = f'{int(task.completed)}/{int(task.total)}'
            _say(self.console, f'{count} {escape(pair.name)} {seconds:.1f} s')


def _tell_failure(console: Console, name: str, sentence: str) -> None:
    _say(console, f'[red]failed[/] {escape(name)}: {escape(sentence)}')


def _say(console: Console, text: str) -> None:
    """Print what must not end the run: the terminal may lack a letter, or be gone."""
    try:
        console.print(text, highlight=False)
    except (OSError, UnicodeError):
        pass


def _without_mask(names: list[str]) -> str:
    shown = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
    return f'{len(names)} photos have no mask and are left out: {shown}'
