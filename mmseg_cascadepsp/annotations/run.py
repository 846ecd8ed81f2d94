"""Refining a set of annotations: every object in its own region, resumable."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.errors import InvalidValueError, one_line
from mmseg_cascadepsp.files.finished import FinishedRun, stamp
from mmseg_cascadepsp.files.folder_run import processes
from mmseg_cascadepsp.files.refiner_protocol import MaskRefiner

from .base import AnnotationSet, Photo
from .formats import open_annotations
from .journal import Journal, check_out, fingerprint
from .objects import refine_photo
from .options import AnnotationOptions
from .report import write_report
from .results import AnnotationReport, ObjectResult
from .truth import check_truth, scores


def refine_annotations(
    refiner: MaskRefiner | None,
    annotations: str | os.PathLike,
    *,
    out: str | os.PathLike,
    console: Console | None = None,
    **options: Any,
) -> AnnotationReport:
    """Refine the objects of a set of annotations and write the same set with new outlines.

    Every photo that is done is remembered in a hidden folder beside ``out``. The same command
    goes on there after an interruption. When it is finished, it does nothing. A photo or an object
    that fails is named and the others go on. Under ``torchrun`` (after
    :func:`mmseg_cascadepsp.apis.join_processes`) each process takes its share of the photos.

    Args:
        refiner: Does the work. None is enough for ``dry_run``.
        annotations: See :func:`~mmseg_cascadepsp.annotations.open_annotations`.
        out: A file for a file, a folder for a folder.
        console: Where progress and failures are told. Nothing is printed without.
        options: Fields of :class:`AnnotationOptions`: ``images``, ``report``, ``truth``,
            ``simplify``, ``overlap``, ``max_change``, ``min_sureness``, ``min_gain``,
            ``min_side``, ``dry_run``, ``overwrite``.

    Returns:
        What became of every object.

    Raises:
        MissingPackageError: What the format needs is not installed.
        MissingFileError: A path does not exist.
        FileError: ``out`` or the report is there already, and not from the same run.
        InvalidValueError: No format knows the set, an option is out of range, ``out`` is the set
            itself, or the report is no HTML file.
        InvalidTypeError: There is no such option.
    """
    choices = AnnotationOptions.of(options)
    told = {} if choices.dry_run else refiner.settings()
    run = AnnotationRun(told, annotations, out, choices, console)
    run.take(refined_photos(refiner, run.source, run.todo, run.options))
    return run.finish()


class AnnotationRun:
    """A run over a set, whoever does the work: what is left to do, and what becomes of it.

    Args:
        settings: Those of the refiner, which a result depends on.
        annotations, out, console: See :func:`refine_annotations`.
        options: How objects are refined, and what is made beside the set.

    Attributes:
        source: The set.
        todo: Its photos that are left to this process.
        options: As given.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        annotations: str | os.PathLike,
        out: str | os.PathLike,
        options: AnnotationOptions,
        console: Console | None = None,
    ) -> None:
        self.options, self._out = options, Path(out)
        self.source = open_annotations(annotations, options.images)
        truth = options.truth
        self._true = None if truth is None else open_annotations(truth, options.images, 'truth')
        self._console = console or Console(quiet=True)
        self._rank, self._world = processes()
        self._photos = list(self.source.photos())
        if self._true is not None:
            check_truth(self._photos, self._true)
        paths = {photo.key: self._path_of(photo) for photo in self._photos}
        stamps = {key: path and stamp(path) for key, path in paths.items()}
        known = {'refiner': settings, 'options': options.told(), 'set': fingerprint(self.source)}
        self._journal = Journal(self._out, known, stamps, self._rank)
        parts = [*self.source.parts(), *(self._true.parts() if self._true else [])]
        self._inputs = {str(path.absolute()): stamp(path) for path in parts}
        self._inputs |= {str(path.absolute()): stamps[key] for key, path in paths.items() if path}
        self._note = FinishedRun(self._out)
        told = None if options.overwrite else self._note.told(run=self._journal.digest)
        if told is None:
            check_out(self.source, self._out, options, self._journal)
        done = self._journal.read()
        if self._world > 1:  # nobody writes before all have read
            torch.distributed.barrier()
        self._was_there = told and self._noted(told)
        left = [] if told else [photo for photo in self._photos if photo.key not in done]
        self.todo = left[self._rank :: self._world]
        self._done = len(self._photos) - len(left)
        self._faults: dict[str, str] = {}

    def _path_of(self, photo: Photo) -> Path | str:
        try:
            return self.source.photo_path(photo)
        except OSError:  # told when its turn comes
            return ''

    def _noted(self, told: Mapping[str, Any]) -> AnnotationReport:
        """The report of a run that is finished."""
        report = AnnotationReport(**told['report'], was_there=True)
        report.scores = {name: tuple(pair) for name, pair in report.scores.items()}
        report.objects = [ObjectResult(**item) for item in self._note.details()]
        return report

    def take(self, results: Iterable[tuple[Photo, list[ObjectResult] | Exception]]) -> None:
        """Note what becomes of photos, and tell it.

        Args:
            results: (photo, what became of its objects, or why it failed), as they come.
        """
        if self._was_there:
            return
        columns = (
            TextColumn('refining'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.description}'),
        )
        live = self._console.is_terminal and not self._rank
        self._journal.open()
        try:
            with Progress(*columns, console=self._console, disable=not live) as bar:
                total = self._done + len(self.todo)
                task = bar.add_task('', total=total, completed=self._done)
                for photo, found in results:
                    self._add(photo, found)
                    bar.update(task, advance=1, description=escape(photo.file))
        finally:
            self._journal.close()

    def _add(self, photo: Photo, found: list[ObjectResult] | Exception) -> None:
        name = photo.file or photo.key
        if isinstance(found, Exception):
            self._faults[photo.key] = sentence = f'{name}: {one_line(found)}'
            self._console.print(f'[red]failed[/] {escape(sentence)}', highlight=False)
            return
        self._journal.add(photo.key, found)
        for item in found:
            if item.status == 'failed':
                sentence = f'{escape(photo.file)} {escape(item.key)}: {escape(item.reason)}'
                self._console.print(f'[red]failed[/] {sentence}', highlight=False)

    def finish(self) -> AnnotationReport:
        """Write the result, and tell what became of every object."""
        if self._was_there:
            if self._rank == 0 and self._journal.is_alone():  # killed in its last step
                self._journal.remove()
            return self._was_there
        faults = self._faults
        if self._world > 1:
            gathered = [None] * self._world
            torch.distributed.all_gather_object(gathered, faults)
            faults = {name: text for part in gathered for name, text in part.items()}
        done = self._journal.read()
        result = AnnotationReport(self.source.name, faults=faults)
        for photo in self._photos:
            result.objects += done.get(photo.key, [])
        if self._rank == 0:
            self._write(result)
        if self._world > 1:
            torch.distributed.barrier()
        if self._rank == 0 and not faults:
            self._journal.remove()
        return result

    def _write(self, result: AnnotationReport) -> None:
        """Write the set, the page, and if no photo failed the note that all is done."""
        changes = {item.key: item.geometry for item in result.objects if item.geometry is not None}
        result.simplified = self.source.write(self._out, changes, self.options.simplify)
        if self._true is not None:
            result.scores = scores(self.source, self._true, changes)
        outputs = [self._out]
        if self.options.report is not None:
            outputs.append(Path(self.options.report))
            write_report(self.options.report, self.source, result)
        if result.faults:
            return
        report = {name: getattr(result, name) for name in ('format', 'scores', 'simplified')}
        self._note.write(
            {'run': self._journal.digest, 'asked': self.options.asked},
            self._inputs,
            outputs,
            {'report': report, 'said': result.told(), 'failed': result.failed},
            (asdict(replace(item, geometry=None, proposal=None)) for item in result.objects),
        )


def refined_photos(
    refiner: MaskRefiner | None,
    source: AnnotationSet,
    photos: Sequence[Photo],
    options: AnnotationOptions,
) -> Iterator[tuple[Photo, list[ObjectResult] | Exception]]:
    """Refine the objects of photos. While the network is at work on one, the next is read.

    Args:
        refiner: Does the work. None is enough for a dry run.
        source: The set.
        photos: Some of its photos.
        options: How.

    Yields:
        (photo, what became of its objects, or why it failed).

    Raises:
        InvalidValueError: The refiner has a ``max_change`` of its own, which is not looked at.
    """
    if refiner is not None and refiner.cascade.max_change is not None:
        raise InvalidValueError(
            f'the refiner has max_change={refiner.cascade.max_change:g}, which is not looked at '
            'in sets of annotations: give it as an argument of the run.'
        )
    with ThreadPoolExecutor(1) as reader:
        coming: Future | None = None
        for photo, following in zip(photos, [*photos[1:], None], strict=False):
            reading = coming or reader.submit(source.image, photo)
            coming = reader.submit(source.image, following) if following else None
            try:
                if photo.entries:
                    found = refine_photo(refiner, source, photo, reading.result(), options)
                else:  # nothing but faults
                    found = [
                        ObjectResult(photo.key, key, '', 'failed', text)
                        for key, text in photo.faults.items()
                    ]
            except Exception as error:  # decoders and networks raise whatever they like
                found = error
            yield photo, found
