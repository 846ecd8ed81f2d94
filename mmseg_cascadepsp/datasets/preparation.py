"""From downloaded archives to the folders that training reads."""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import ImageOps
from prettytable import PrettyTable

from mmseg_cascadepsp.errors import MissingFileError
from mmseg_cascadepsp.files.opening import open_header
from mmseg_cascadepsp.files.paths import atomic_open, files_below
from mmseg_cascadepsp.files.stems import files_by_stem

from .paper_sets import TRAINING_SETS, TrainingSet

KINDS = {'.jpg': '.jpg', '.jpeg': '.jpg', '.png': '.png'}
"""Suffix of a file -> suffix that it gets: photos are JPEG and masks PNG in all sets."""
UNPACKED = '.unpacked'
"""Folder under the data root in which archives are unpacked. It is removed at the end."""

Pairs = dict[str, dict[str, Path]]
"""Path without suffix -> kind -> file."""

Progress = Callable[[str, int, int], None]
"""Called with the name of a set, files done, and files in all."""


@dataclass
class SetReport:
    """What is there of a set.

    Args:
        training_set: The set.
        pairs: Number of pairs that lie under the data root now.
        broken: One sentence for each pair that was left out or cannot be used.

    Example:
        >>> from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS
        >>> from mmseg_cascadepsp.datasets.preparation import SetReport
        >>> report = SetReport(TRAINING_SETS['ecssd'], pairs=998)
        >>> report.complete, report.remark
        (False, '2 missing')
    """

    training_set: TrainingSet
    pairs: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all published pairs are there and none is broken."""
        return self.pairs == self.training_set.count and not self.broken

    @property
    def remark(self) -> str:
        """What is wrong and what to do. Empty when the set is complete."""
        lack = self.training_set.count - self.pairs
        words = [f'{lack:,} missing' if lack > 0 else f'{-lack:,} too many' if lack else '']
        words.append(f'{len(self.broken):,} broken' if self.broken else '')
        words.append(f'download {self.training_set.how_to_get}' if not self.pairs else '')
        return '; '.join(word for word in words if word)


@dataclass
class Report:
    """What :func:`prepare` or :func:`check` found. ``str(report)`` is a table.

    Args:
        sets: One report for each set.
        archives: One sentence for each source or archive that could not be used.

    Example:
        >>> from mmseg_cascadepsp.datasets.preparation import check
        >>> print(check('nowhere').complete)
        False
    """

    sets: list[SetReport]
    archives: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all sets are complete."""
        return all(s.complete for s in self.sets)

    def __str__(self) -> str:
        table = PrettyTable(['set', 'pairs', 'published', ''], align='l')
        for s in self.sets:
            wanted = s.training_set
            table.add_row(
                [wanted.folder, f'{s.pairs:,}', f'{wanted.count:,}', s.remark or 'complete']
            )
        faults = [*self.archives, *(fault for s in self.sets for fault in s.broken)]
        pairs = sum(s.pairs for s in self.sets)
        published = sum(s.training_set.count for s in self.sets)
        return '\n'.join([*faults, str(table), f'{pairs:,} of {published:,} pairs'])


def prepare(
    sources: Sequence[str | os.PathLike],
    data_root: str | os.PathLike,
    progress: Progress | None = None,
) -> Report:
    """Lay out the paper's training sets from the archives of their authors, or from their folders.

    The names inside an archive say of which set a picture is, then the name of the archive, then
    the folders around it. A pair is written if both pictures can be read and have the same size.
    Pairs that lie there already are kept, so a run that was stopped can be repeated. Archives are
    unpacked under the data root, where what they hold is moved and not copied.

    Args:
        sources: zip and tar archives, and folders that are searched for archives and for pictures.
        data_root: Where the sets go, see :class:`~mmseg_cascadepsp.datasets.PaperTrainingSet`.
        progress: Called after each pair.

    Returns:
        What is there now, and what was wrong.

    Raises:
        MissingFileError: A source does not exist.
        OSError: The disk is full or cannot be written to.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.datasets.preparation import prepare
        >>> from mmseg_cascadepsp.files.writing import write_image, write_png
        >>> folder = tempfile.mkdtemp()
        >>> write_image(f'{folder}/DUTS-TR/DUTS-TR-Image/a.jpg', np.zeros((8, 8, 3), np.uint8))
        >>> write_png(f'{folder}/DUTS-TR/DUTS-TR-Mask/a.png', np.eye(8, dtype=np.uint8) * 255)
        >>> report = prepare([folder], f'{folder}/data')
        >>> [s.pairs for s in report.sets if s.training_set.folder == 'DUTS-TR']
        [1]
    """
    for source in sources:
        if not os.path.exists(source):
            raise MissingFileError(f'archives: there is no {source}')
    unpacked = Path(data_root, UNPACKED)
    shutil.rmtree(unpacked, ignore_errors=True)  # left by a run that was killed
    faults: list[str] = []
    found: dict[str, Pairs] = {name: {} for name in TRAINING_SETS}
    reports = []
    try:
        for name, folder, pictures in _unpack(sources, unpacked, faults):
            for path in pictures:
                place = _place(name, path.relative_to(folder).as_posix())
                if place:
                    of_set, stem, kind = place
                    found[of_set].setdefault(stem, {}).setdefault(kind, path)
        for training_set in TRAINING_SETS.values():
            report = SetReport(training_set)
            folder = Path(data_root, training_set.folder)
            for stem, pair in _each(training_set, found[training_set.folder], progress):
                fault = _lay_out(folder / stem, pair, unpacked)
                if fault:
                    report.broken.append(f'{training_set.folder}/{stem}: {fault}')
            report.pairs = sum(len(pair) == 2 for pair in _laid_out(folder).values())
            reports.append(report)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return Report(reports, faults)


def check(data_root: str | os.PathLike, progress: Progress | None = None) -> Report:
    """Read all pictures that were laid out, and count the pairs.

    Args:
        data_root: The folder of the sets.
        progress: Called after each pair.

    Returns:
        What is there.

    Example:
        >>> from mmseg_cascadepsp.datasets.preparation import check
        >>> [s.pairs for s in check('nowhere').sets]
        [0, 0, 0, 0, 0]
    """
    reports = []
    for training_set in TRAINING_SETS.values():
        report = SetReport(training_set)
        pairs = _laid_out(Path(data_root, training_set.folder))
        for stem, pair in _each(training_set, pairs, progress):
            fault = _fault(pair)
            report.pairs += not fault
            if fault:
                report.broken.append(f'{training_set.folder}/{stem}: {fault}')
        reports.append(report)
    return Report(reports)


def _each(
    training_set: TrainingSet, pairs: Pairs, progress: Progress | None
) -> Iterator[tuple[str, Mapping[str, Path]]]:
    """The pairs, sorted, with a call of ``progress`` after each."""
    for number, (stem, pair) in enumerate(sorted(pairs.items()), 1):
        yield stem, pair
        if progress:
            progress(training_set.folder, number, len(pairs))


def _laid_out(folder: Path) -> Pairs:
    """The pictures of a set that lie under the data root."""
    return {
        stem: {KINDS[path.suffix.lower()]: path for path in paths}
        for stem, paths in files_by_stem(folder, KINDS).items()
    }


def _pictures(folder: Path) -> list[Path]:
    """Those of a folder's files that may be of the sets."""
    return [path for paths in files_by_stem(folder, KINDS).values() for path in paths]


def _unpack(
    sources: Sequence[str | os.PathLike], unpacked: Path, faults: list[str]
) -> Iterator[tuple[str, Path, list[Path]]]:
    """Name, folder and pictures of every archive, and of the sources that are folders."""
    number = 0
    for source in map(Path, sources):
        files = files_below(source) if source.is_dir() else [source]
        around = source if source.is_dir() else source.parent
        archives = [path for path in files if _archive_format(path) or path == source]
        for path in archives:
            folder = unpacked / str(number)
            fault = _unpack_archive(path, folder)
            if fault:
                faults.append(fault)
                continue
            number += 1
            name = re.sub(r'(\.tar)?\.\w+$', '', path.relative_to(around).as_posix())
            # Of `...zip` dots would be left, which lead out of the folder.
            name = re.sub(r'(^|/)\.*$', r'\1archive', name)
            yield name, folder, _pictures(folder)
        if source.is_dir():
            pictures = _pictures(source)
            if not archives and not pictures:
                faults.append(f'{source} holds no zip or tar archive and no picture')
            yield source.resolve().name, source, pictures


def _archive_format(path: Path) -> str | None:
    """What :mod:`shutil` calls the format of an archive, by its suffix."""
    for name, suffixes, _ in shutil.get_unpack_formats():
        if path.name.lower().endswith(tuple(suffixes)):
            return name
    return None


def _unpack_archive(path: Path, folder: Path) -> str:
    """Unpack an archive. Returns what is wrong with it, or nothing."""
    kind = _archive_format(path)
    if kind is None:
        return (
            f'{path} is no zip or tar archive by its name; give it the suffix that it had where '
            'it was downloaded, or unpack it yourself and give the folder'
        )
    try:
        with open(path, 'rb'):
            pass
    except OSError as error:
        return f'{path} cannot be opened ({error})'
    try:
        # Members of a tar may lead out of the folder or be links unless they are filtered.
        shutil.unpack_archive(path, folder, kind, **({} if kind == 'zip' else {'filter': 'data'}))
    except Exception as error:  # each compression has errors of its own
        if isinstance(error, OSError) and error.errno:
            raise  # of the disk, not of the archive
        shutil.rmtree(folder, ignore_errors=True)
        return (
            f'{path} cannot be unpacked ({path.stat().st_size:,} bytes; {error}): the download '
            'may have been cut, or a web page been saved in its place; get it again'
        )
    return ''


def _place(archive: str, member: str) -> tuple[str, str, str] | None:
    """Set, path without suffix and kind of a picture in an archive or folder, or None."""
    path = f'/{archive}/{member}'
    training_set = _set_of(path.lower(), f'/{archive}'.rindex('/'))
    if training_set is None:
        return None
    *_, folder, name = path.split('/')
    stem, dot, suffix = name.rpartition('.')
    if training_set.per_class:
        stem = f'{folder}/{stem}'
    return training_set.folder, stem, KINDS[f'{dot}{suffix}'.lower()]


def _set_of(path: str, archive: int) -> TrainingSet | None:
    """The set that is named deepest in a path.

    ``archive`` is where the archive's own name begins. A set that does not name itself counts more
    than the names of folders around the archive, and less than names from there on.
    """
    places = []
    for training_set in TRAINING_SETS.values():
        start = -1
        while match := training_set.members.search(path, start + 1):
            start = match.start()
        if training_set.nameless and training_set.nameless.search(path):
            start = max(start, archive - 0.5)
        places.append((start, training_set))
    start, deepest = max(places, key=lambda place: place[0])
    return deepest if start > -1 else None


def _lay_out(target: Path, pair: Mapping[str, Path], unpacked: Path) -> str:
    """Put a pair in its place unless it is there. Returns what is wrong with it, or nothing."""
    files = {kind: target.with_name(target.name + kind) for kind in pair}
    if len(pair) == 2 and all(
        file.is_file() and file.stat().st_size == pair[kind].stat().st_size
        for kind, file in files.items()
    ):
        return ''
    fault = _fault(pair)
    if fault:
        return fault
    for kind in sorted(files, reverse=True):  # the photo last
        if unpacked in pair[kind].parents:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(pair[kind], files[kind])
        else:
            # A crash of the machine may leave it short. Then the next run writes it again.
            with atomic_open(files[kind], sync=False) as file:
                file.write(pair[kind].read_bytes())
    return ''


def _fault(pair: Mapping[str, Path]) -> str:
    """What is wrong with a pair of pictures, or nothing."""
    if len(pair) < 2:
        return 'a photo without a mask' if '.jpg' in pair else 'a mask without a photo'
    sizes = {}
    for kind, path in pair.items():
        name = 'photo' if kind == '.jpg' else 'mask'
        try:
            with open_header(path) as picture:
                picture.load()
                sizes[name] = ImageOps.exif_transpose(picture).size
        except Exception as error:  # decoders raise whatever they stumble over
            return f'the {name} cannot be read: {error}'
    if sizes['photo'] != sizes['mask']:
        return f'the photo is {sizes["photo"]} and the mask {sizes["mask"]} (width, height)'
    return ''
