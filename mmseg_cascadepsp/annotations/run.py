"""Refining a set of annotations: every object in its own region, resumable."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.errors import InvalidTypeError, one_line
from mmseg_cascadepsp.files.folder_run import processes
from mmseg_cascadepsp.files.refiner_protocol import MaskRefiner

from .base import AnnotationSet, Photo
from .formats import open_annotations
from .journal import Journal, check_out, fingerprint
from .objects import AnnotationOptions, refine_photo
from .report import write_report
from .results import AnnotationReport, ObjectResult
from .truth import scores


def refine_annotations(
    refiner: MaskRefiner | None,
    annotations: str | os.PathLike,
    *,
    out: str | os.PathLike,
    images: str | os.PathLike | None = None,
    report: str | os.PathLike | None = None,
    truth: str | os.PathLike | None = None,
    console: Console | None = None,
    **options: Any,
) -> AnnotationReport:
    """Refine the objects of a set of annotations and write the same set with new outlines.

    Every photo that is done is remembered in a hidden folder beside ``out``. The same command
    goes on there after an interruption. A photo or an object that fails is named and the others
    go on. Under ``torchrun`` (after :func:`mmseg_cascadepsp.apis.join_processes`) each process
    takes its share of the photos.

    Args:
        refiner: Does the work. None is enough for ``dry_run``.
        annotations: See :func:`~mmseg_cascadepsp.annotations.open_annotations`.
        out: A file for a file, a folder for a folder.
        images: The folder of the photos, or the photo of a GeoTIFF. None: where the format has
            them.
        report: HTML file with every object before and after.
        truth: A set of true outlines of the same photos: the report has scores.
        console: Where progress and failures are told. Nothing is printed without.
        options: Fields of :class:`AnnotationOptions`.

    Returns:
        What became of every object.

    Raises:
        MissingPackageError: What the format needs is not installed.
        MissingFileError: A path does not exist.
        FileError: ``out`` is there already.
        InvalidValueError: No format knows the set, an option is out of range, or ``out`` is the
            set itself.
        InvalidTypeError: There is no such option.
    """
    told = {} if options.get('dry_run') else refiner.settings()
    run = AnnotationRun(
        told,
        annotations,
        out=out,
        images=images,
        report=report,
        truth=truth,
        console=console,
        **options,
    )
    run.take(refined_photos(refiner, run.source, run.todo, run.options))
    return run.finish()


class AnnotationRun:
    """A run over a set, whoever does the work: what is left to do, and what becomes of it.

    Args:
        settings: Those of the refiner, which a result depends on.
        annotations, out, images, report, truth, console, options: See
            :func:`refine_annotations`.

    Attributes:
        source: The set.
        todo: Its photos that are left to this process.
        options: How they are refined.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        annotations: str | os.PathLike,
        *,
        out: str | os.PathLike,
        images: str | os.PathLike | None = None,
        report: str | os.PathLike | None = None,
        truth: str | os.PathLike | None = None,
        console: Console | None = None,
        **options: Any,
    ) -> None:
        try:
            self.options = AnnotationOptions(**options)
        except TypeError as error:
            if isinstance(error, InvalidTypeError):
                raise
            names = ', '.join(AnnotationOptions.__dataclass_fields__)
            raise InvalidTypeError(f'options are {names}: {error}.') from error
        self.source = open_annotations(annotations, images)
        self._true = None if truth is None else open_annotations(truth, images)
        self._out, self._page = Path(out), report
        self._console = console or Console(quiet=True)
        self._rank, self._world = processes()
        fixed = {key: value for key, value in asdict(self.options).items() if key != 'overwrite'}
        known = {'refiner': settings, 'options': fixed, 'set': fingerprint(self.source)}
        self._journal = Journal(self._out, known, self._rank)
        check_out(self.source, self._out, self._journal, self.options.overwrite)
        self._photos = list(self.source.photos())
        done = self._journal.read()
        if self._world > 1:  # nobody writes before all have read
            torch.distributed.barrier()
        left = [photo for photo in self._photos if photo.key not in done]
        self.todo = left[self._rank :: self._world]
        self._done = len(self._photos) - len(left)
        self._faults: dict[str, str] = {}

    def take(self, results: Iterable[tuple[Photo, list[ObjectResult] | Exception]]) -> None:
        """Note what becomes of photos, and tell it.

        Args:
            results: (photo, what became of its objects, or why it failed), as they come.
        """
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
                    self._note(photo, found)
                    bar.update(task, advance=1, description=escape(photo.file))
        finally:
            self._journal.close()

    def _note(self, photo: Photo, found: list[ObjectResult] | Exception) -> None:
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
            changes = {
                item.key: item.geometry for item in result.objects if item.geometry is not None
            }
            result.simplified = self.source.write(self._out, changes, self.options.simplify)
            if self._true is not None:
                result.scores = scores(self.source, self._true, changes)
            if self._page is not None:
                write_report(self._page, self.source, result)
        if self._world > 1:
            torch.distributed.barrier()
        if self._rank == 0 and not faults:
            self._journal.remove()
        return result


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
    """
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
