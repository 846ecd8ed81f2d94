"""Refining a set of annotations: every object in its own region, resumable."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.cascade import Box, Component, FusionSettings, refine_regions
from mmseg_cascadepsp.cascade.changes import Change, change_of, sureness_of, without_specks
from mmseg_cascadepsp.cascade.regions import MIN_SIDE, are_small, object_regions
from mmseg_cascadepsp.errors import FileError, InvalidTypeError, InvalidValueError, one_line
from mmseg_cascadepsp.files.paths import hidden_name
from mmseg_cascadepsp.files.refiner_protocol import MaskRefiner

from .base import AnnotationSet, Entry, FolderSet, Photo
from .formats import open_annotations
from .masks import ObjectMask, cut_out, encode_rle, union
from .overlaps import give_way, settle_overlaps
from .report import write_report
from .results import AnnotationReport, ObjectResult
from .truth import scores

#: In photos larger than the network sees, regions are looked at where the longest is at most this
#: share of the photo's longer side: more than ``cascade.refine`` has for one object, which costs
#: the whole photo once. A set would pay that for every object.
SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class AnnotationOptions:
    """How a set of annotations is refined.

    Args:
        simplify: Polygons get as few points as keep them within so many pixels of the refined
            outline. 0: every corner.
        overlap: Where two refined objects claim a pixel that neither had before: ``'resolve'``:
            the surer one takes it. ``'keep'``: both have it. In maps a pixel has one object
            always.
        max_change: An object of which more than this share would change (1 - IoU of old and new)
            keeps its old outline. 1: none does.
        min_sureness: An object keeps its old outline where the refiner is less sure of what it
            changes: the mean of ``|2p - 1|`` over those pixels, 0 to 1. 0: none does.
        min_gain: An object keeps its old outline where the refiner expects a smaller gain of IoU,
            which is the change times the sureness. 0: none does.
        min_side: Objects with a shorter longer side, in pixels, stay as they are.
        dry_run: Read everything, refine nothing, and write the set as it is.
        overwrite: Write over a result that is there.

    Raises:
        InvalidValueError: An option is out of range.

    Example:
        >>> AnnotationOptions(simplify=1).overlap
        'resolve'
    """

    simplify: float = 0.5
    overlap: str = 'resolve'
    max_change: float = 0.5
    min_sureness: float = 0.35
    min_gain: float = 0.02
    min_side: int = 8
    dry_run: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.overlap not in ('keep', 'resolve'):
            raise InvalidValueError(f"overlap must be 'keep' or 'resolve', got {self.overlap!r}.")
        for name, high in (
            ('simplify', 100),
            ('max_change', 1),
            ('min_sureness', 1),
            ('min_gain', 1),
            ('min_side', 10_000),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidTypeError(f'{name} must be a number, got {value!r}.')
            if not 0 <= value <= high:
                raise InvalidValueError(f'{name} must be from 0 to {high}, got {value}.')


def _components(mask: ObjectMask, size: tuple[int, int], settings) -> tuple[list[Component], bool]:
    """What is looked at: parts of an object, and whether they are regions around it."""
    whole = mask.whole(size)
    boxes = [] if settings.region == 'photo' else object_regions(whole)
    regions = bool(boxes) and (
        settings.region == 'object' or are_small(boxes, size, settings.L, SHARE)
    )
    if not regions:
        boxes = [Box(0, 0, *size)]
    area = int(np.count_nonzero(mask.mask))
    return [Component(0, area, box, whole[box.slices]) for box in boxes], regions


def probabilities(
    refiner: MaskRefiner, image: np.ndarray, masks: list[ObjectMask]
) -> Iterator[tuple[int, list[tuple[Box, np.ndarray]]]]:
    """Refine the objects of a photo, each in its own region or regions, in batches.

    The regions are those of :func:`mmseg_cascadepsp.cascade.refine`, by the setting ``region``,
    which ``'auto'`` takes for objects of up to :data:`SHARE` of the photo.

    Args:
        refiner: Does the work.
        image: RGB uint8 ``(H, W, 3)``.
        masks: The objects, not empty.

    Yields:
        (index into ``masks``, its regions and in each the probability, float32), not in order.
    """
    size, settings = image.shape[:2], refiner.cascade
    groups: dict[bool, list[tuple[int, Component]]] = {True: [], False: []}
    waiting: dict[int, int] = {}
    for index, mask in enumerate(masks):
        parts, small = _components(mask, size, settings)
        waiting[index] = len(parts)
        groups[small] += [(index, part) for part in parts]
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    found: dict[int, list] = {}
    for small, members in groups.items():
        smallest = MIN_SIDE if small else settings.L if settings.enlarge else 1
        fusion = FusionSettings(min_size=smallest)
        parts = [part for _, part in members]
        for place, probability in refine_regions(refiner.network, tensor, parts, settings, fusion):
            index, part = members[place]
            found.setdefault(index, []).append((part.box, probability))
            if len(found[index]) == waiting[index]:
                yield index, found.pop(index)


def _around(regions: list[tuple[Box, np.ndarray]]) -> tuple[Box, np.ndarray]:
    """The regions of an object as one: between them the probability is 0."""
    box = regions[0][0]
    for other, _ in regions[1:]:
        box = union(box, other)
    result = np.zeros((box.bottom - box.top, box.right - box.left), np.float32)
    for part, probability in regions:
        result[part.relative_to(box).slices] = probability
    return box, result


def refine_photo(
    refiner: MaskRefiner | None,
    annotations: AnnotationSet,
    photo: Photo,
    image: np.ndarray,
    options: AnnotationOptions,
) -> list[ObjectResult]:
    """Refine the objects of a photo.

    Args:
        refiner: Does the work. None is enough for a dry run.
        annotations: The set.
        photo: One of its photos.
        image: RGB uint8 ``(H, W, 3)``.
        options: How.

    Returns:
        What became of every object of the photo, in its order.

    Raises:
        InvalidValueError: The photo has another size than the set says.
    """
    size = image.shape[:2]
    if photo.size and tuple(photo.size) != size:
        raise InvalidValueError(
            f'{photo.file} is of {size[1]} x {size[0]} pixels, its annotations are of '
            f'{photo.size[1]} x {photo.size[0]}.'
        )
    results, entries, olds = [], [], []
    for entry in photo.entries:
        result = ObjectResult(photo.key, entry.key, entry.label, 'kept', entry.kept)
        results.append(result)
        if entry.kept:
            continue
        try:
            mask = annotations.decode(entry.geometry, size)
        except (ValueError, OSError, TypeError) as error:
            result.status, result.reason = 'failed', str(error)
            continue
        box, area = mask.box, np.count_nonzero(mask.mask)
        if not area:
            result.reason = 'empty: no pixel is inside its outline'
        elif area == size[0] * size[1]:
            result.reason = 'it fills the photo'
        elif max(box.bottom - box.top, box.right - box.left) < options.min_side:
            result.reason = f'smaller than {options.min_side} pixels'
        elif not options.dry_run:
            result.status = 'refined'
        else:
            result.reason = 'dry run'
        entries.append((entry, result))
        olds.append(mask)
    for key, sentence in photo.faults.items():
        results.append(ObjectResult(photo.key, key, '', 'failed', sentence))
    if options.dry_run:
        return results
    _refine_masks(refiner, annotations, photo, options, image, entries, olds)
    return results


def _refine_masks(
    refiner: MaskRefiner,
    annotations: AnnotationSet,
    photo: Photo,
    options: AnnotationOptions,
    image: np.ndarray,
    entries: list[tuple[Entry, ObjectResult]],
    olds: list[ObjectMask],
) -> None:
    """The new masks of a photo, settled among each other and written into the results."""
    size = image.shape[:2]
    chosen = [i for i, (_, result) in enumerate(entries) if result.status == 'refined']
    news = list(olds)
    likely: list[np.ndarray] = [mask.mask.astype(np.float32) for mask in olds]
    for place, regions in probabilities(refiner, image, [olds[i] for i in chosen]):
        index = chosen[place]
        box, probability = _around(regions)
        mask = without_specks(olds[index].inside(box), probability > 0.5)
        _judge(entries[index][1], olds[index], mask, box, probability, options, size)
        if entries[index][1].status == 'refined':
            news[index] = cut_out(mask, box.top, box.left)
            inner = news[index].box.relative_to(box).slices
            likely[index] = np.maximum(probability[inner], 0.5).astype(np.float16)
    refined = [result.status == 'refined' for _, result in entries]
    if annotations.exclusive:
        news = give_way(olds, news, likely, refined, annotations.free(photo, size))
    elif options.overlap == 'resolve':
        live = [index for index, is_refined in enumerate(refined) if is_refined]
        pick = [[part[index] for index in live] for part in (olds, news, likely)]
        for index, mask in zip(live, settle_overlaps(*pick), strict=True):
            news[index] = cut_out(mask.mask, mask.box.top, mask.box.left)
    for (entry, result), old, new in zip(entries, olds, news, strict=True):
        if result.status != 'refined':
            continue
        change = _change(old, new, result.sureness)
        result.iou, result.shift, result.parts, _ = change
        if change.iou == 1:
            result.status, result.reason = 'kept', 'nothing to change'
            continue
        result.geometry, result.outline_iou = annotations.encode(
            entry, new, size, options.simplify
        )


def _change(old: ObjectMask, new: ObjectMask, sureness: float) -> Change:
    box = union(old.box, new.box)
    return change_of(old.inside(box), new.inside(box), sureness)


def _judge(
    result: ObjectResult,
    old: ObjectMask,
    mask: np.ndarray,
    box: Box,
    probability: np.ndarray,
    options: AnnotationOptions,
    size: tuple[int, int],
) -> None:
    """Whether a new mask is taken, written into the result."""
    before = old.inside(box)
    sure = sureness_of(before, mask, probability)
    result.sureness = round(sure, 4)
    if not mask.any():
        result.status, result.reason = 'kept', 'it would be lost altogether'
        result.iou = 0.0
        return
    new = cut_out(mask, box.top, box.left)
    change = _change(old, new, result.sureness)
    if 1 - change.iou > options.max_change:
        result.reason = 'it would change too much'
    elif sure < options.min_sureness:
        result.reason = 'the refiner is unsure'
    elif sure * (1 - change.iou) < options.min_gain and (mask != before).any():
        result.reason = 'the refiner expects hardly any gain'
    else:
        return
    result.status = 'kept'
    result.iou, result.shift, result.parts, _ = change
    result.proposal = encode_rle(new, size)


class Journal:
    """What is done of a run, in a hidden folder beside its result, a file for every process.

    Every photo is a line that is on the disk before the next one begins. Of other settings, or of
    a set that was changed, nothing is taken.

    Args:
        out: The result.
        settings: What a result depends on.
        rank: The number of this process.
    """

    def __init__(self, out: Path, settings: dict, rank: int = 0) -> None:
        self.rank = rank
        self.folder = out.with_name(hidden_name(out.name, 'partial'))
        self.head = json.dumps(settings, sort_keys=True)
        self.own = self.folder / f'{rank}.jsonl'

    def _files(self) -> Iterator[list[bytes]]:
        """The whole lines of every file of this run, after its head."""
        for path in sorted(self.folder.glob('*.jsonl')):
            lines = path.read_bytes().split(b'\n')[:-1]  # a last one without end was cut off
            if lines and lines[0].decode() == self.head:
                yield lines[1:]

    def begun(self) -> bool:
        """Whether there is something of this run."""
        return any(True for _ in self._files())

    def read(self) -> dict[str, list[ObjectResult]]:
        """Key of a photo -> what became of its objects."""
        done = {}
        for lines in self._files():
            for line in lines:
                record = json.loads(line)
                done[record['photo']] = [ObjectResult(**item) for item in record['objects']]
        return done

    def open(self) -> None:
        """Get ready for lines. A line that was cut off goes, and so does another run's file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = self.own.read_bytes() if self.own.exists() else b''
        self._file = open(self.own, 'r+b' if content else 'wb')
        if content.startswith(self.head.encode() + b'\n'):
            self._file.truncate(content.rfind(b'\n') + 1)
            self._file.seek(0, os.SEEK_END)
        else:
            self._file.truncate(0)
            self._file.write(self.head.encode() + b'\n')
        self._sync()

    def add(self, photo: str, objects: list[ObjectResult]) -> None:
        """Write what became of a photo's objects."""
        record = {'photo': photo, 'objects': [asdict(item) for item in objects]}
        self._file.write(json.dumps(record).encode() + b'\n')
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def remove(self) -> None:
        """The run is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _fingerprint(source: AnnotationSet) -> str:
    """Tells whether a set is the one that a journal is of."""
    digest = hashlib.sha256()
    if isinstance(source, FolderSet):
        for file in [*source.files(), *source.others()]:
            stat = file.stat()
            digest.update(f'{file} {stat.st_size} {stat.st_mtime_ns}\n'.encode())
    else:
        digest.update(source.path.read_bytes())
    return digest.hexdigest()


def _check_out(source: AnnotationSet, out: Path, journal: Journal, overwrite: bool) -> None:
    own, target = source.path.resolve(), out.resolve()
    if isinstance(source, FolderSet) and not source.is_one_file():
        own = source.root().resolve()
        if out.is_file():
            raise InvalidValueError(f'out: {out} is a file; the result of a folder is a folder.')
    elif out.is_dir():
        raise InvalidValueError(f'out: {out} is a folder; the result of a file is a file.')
    if own == target or (own.is_dir() and own in target.parents):
        raise InvalidValueError(
            f'out: {out} is the set itself or lies in {own}; name a place outside of it.'
        )
    there = any(out.iterdir()) if out.is_dir() else out.exists()
    if there and not overwrite and not journal.begun():
        raise FileError(f'out: {out} is there already; name another, or --overwrite.')


def refine_annotations(
    refiner: MaskRefiner | None,
    annotations: str | os.PathLike,
    *,
    out: str | os.PathLike,
    images: str | os.PathLike | None = None,
    report: str | os.PathLike | None = None,
    truth: str | os.PathLike | None = None,
    console: Console | None = None,
    **options,
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
        images: The folder of the photos. None: where the format has them.
        report: HTML file with every object before and after.
        truth: A set of true outlines of the same photos: the report has scores.
        console: Where progress and failures are told. Nothing is printed without.
        options: Fields of :class:`AnnotationOptions`.

    Returns:
        What became of every object.

    Raises:
        MissingPackageError: pycocotools or shapely is not installed.
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
    settings = {'refiner': told, 'options': fixed, 'set': _fingerprint(source)}
    journal = Journal(out, settings, rank)
    _check_out(source, out, journal, options.overwrite)
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
        source.write(out, changes)
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
