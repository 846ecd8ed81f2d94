"""Refining a set of annotations: every object in its own region, resumable."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.errors import InvalidTypeError, one_line
from mmseg_cascadepsp.files.refiner_protocol import MaskRefiner

from .base import Photo
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
    try:
        options = AnnotationOptions(**options)
    except TypeError as error:
        if isinstance(error, InvalidTypeError):
            raise
        names = ', '.join(AnnotationOptions.__dataclass_fields__)
        raise InvalidTypeError(f'options are {names}: {error}.') from error
    source = open_annotations(annotations, images)
    true = None if truth is None else open_annotations(truth, images)
    out, console = Path(out), console or Console(quiet=True)
    rank, world = 0, 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    fixed = {key: value for key, value in asdict(options).items() if key != 'overwrite'}
    told = {} if options.dry_run else refiner.settings()
    settings = {'refiner': told, 'options': fixed, 'set': fingerprint(source)}
    journal = Journal(out, settings, rank)
    check_out(source, out, journal, options.overwrite)
    photos = list(source.photos())
    done = journal.read()
    if world > 1:
        torch.distributed.barrier()
    journal.open()
    todo = [photo for photo in photos if photo.key not in done][rank::world]
    faults = _run(refiner, source, todo, options, journal, console, len(done))
    journal.close()
    if world > 1:
        gathered = [None] * world
        torch.distributed.all_gather_object(gathered, faults)
        faults = {name: text for part in gathered for name, text in part.items()}
    done = journal.read()
    result = AnnotationReport(source.name, faults=faults)
    for photo in photos:
        result.objects += done.get(photo.key, [])
    if rank == 0:
        changes = {item.key: item.geometry for item in result.objects if item.geometry is not None}
        result.simplified = source.write(out, changes, options.simplify)
        if true is not None:
            result.scores = scores(source, true, changes)
        if report is not None:
            write_report(report, source, result)
    if world > 1:
        torch.distributed.barrier()
    if rank == 0 and not faults:
        journal.remove()
    return result


def _run(
    refiner, source, todo, options, journal: Journal, console: Console, done: int
) -> dict[str, str]:
    """Refine photos one after the other, reading ahead by one. Returns those that failed."""
    live = console.is_terminal and journal.rank == 0
    faults: dict[str, str] = {}
    columns = (
        TextColumn('refining'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn('{task.description}'),
    )

    def failed(photo: Photo, error: Exception) -> None:
        name = photo.file or photo.key
        faults[photo.key] = sentence = f'{name}: {one_line(error)}'
        console.print(f'[red]failed[/] {escape(sentence)}', highlight=False)

    with (
        ThreadPoolExecutor(1) as reader,
        Progress(*columns, console=console, disable=not live) as bar,
    ):
        task = bar.add_task('', total=done + len(todo), completed=done)
        coming: Future | None = reader.submit(source.image, todo[0]) if todo else None
        for index, photo in enumerate(todo):
            bar.update(task, description=escape(photo.file))
            reading = coming
            if index + 1 < len(todo):
                coming = reader.submit(source.image, todo[index + 1])
            try:
                if not photo.entries:  # nothing but faults
                    results = [
                        ObjectResult(photo.key, key, '', 'failed', text)
                        for key, text in photo.faults.items()
                    ]
                else:
                    results = refine_photo(refiner, source, photo, reading.result(), options)
            except Exception as error:  # decoders and networks raise whatever they like
                failed(photo, error)
            else:
                journal.add(photo.key, results)
                for item in results:
                    if item.status == 'failed':
                        console.print(
                            f'[red]failed[/] {escape(photo.file)} {escape(item.key)}: '
                            f'{escape(item.reason)}',
                            highlight=False,
                        )
            bar.advance(task)
    return faults
