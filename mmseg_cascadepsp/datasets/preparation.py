"""From downloaded archives to the folders that training reads."""

import errno
import io
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

from PIL import Image, ImageOps
from prettytable import PrettyTable

from mmseg_cascadepsp.datasets.archives import KINDS, Member, archive_members, find_archives
from mmseg_cascadepsp.datasets.paper_sets import TRAINING_SETS, TrainingSet
from mmseg_cascadepsp.errors import FileError, InvalidValueError
from mmseg_cascadepsp.files import atomic_open

FULL = {errno.ENOSPC, errno.EDQUOT}
"""Faults of the disk of temporary files, not of an archive."""
MAX_BYTES = 2**26
"""No picture of these sets comes near: what claims more is not unpacked into memory."""

#: Name of a set, files done, files in all.
Progress = Callable[[str, int, int], None]

#: Kind -> the member of each archive that holds it; the first that is sound counts.
Copies = dict[str, list[Member]]


@dataclass
class SetReport:
    """What is there of a set.

    Args:
        training_set: The set.
        pairs: Pairs that lie under the data root now.
        broken: One sentence for each pair that was left out or cannot be used.
    """

    training_set: TrainingSet
    pairs: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """All pairs, nothing broken."""
        return self.pairs == self.training_set.count and not self.broken

    @property
    def remark(self) -> str:
        """What to do, in words; empty when complete."""
        if self.complete:
            return ''
        lack = self.training_set.count - self.pairs
        words = [f'{lack:,} missing' if lack > 0 else f'{-lack:,} too many' if lack else '']
        words.append(f'{len(self.broken):,} broken' if self.broken else '')
        words.append(f'download {self.training_set.how_to_get}' if not self.pairs else '')
        return '; '.join(word for word in words if word)


@dataclass
class Report:
    """What a run of :func:`prepare` or :func:`check` found.

    Args:
        sets: One for each set.
        archives: One sentence for each source or archive, or file in one, that could not be used.
    """

    sets: list[SetReport]
    archives: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """All sets are."""
        return all(s.complete for s in self.sets)

    def __str__(self) -> str:
        table = PrettyTable(['set', 'pairs', 'published', ''], align='l')
        for s in self.sets:
            wanted = s.training_set
            table.add_row(
                [wanted.folder, f'{s.pairs:,}', f'{wanted.count:,}', s.remark or 'complete']
            )
        faults = [*self.archives, *(fault for s in self.sets for fault in s.broken)]
        total, wanted = (
            sum(s.pairs for s in self.sets),
            sum(s.training_set.count for s in self.sets),
        )
        return '\n'.join([*faults, str(table), f'{total:,} of {wanted:,} pairs'])


def prepare(
    sources: Sequence[str | os.PathLike],
    data_root: str | os.PathLike,
    progress: Progress | None = None,
) -> Report:
    """Lay out the paper's training sets from the archives of their authors.

    Archives are told by what is in them, so their names and the folders they lie in do not matter;
    where sets name themselves, the innermost name counts. Of several copies of a picture the first
    sound one is taken.
    A pair is written when both pictures can be read and have the same size, each file under a
    hidden name first; what is there already with the size it has in the archive is kept, so a run
    that was stopped goes on. Nothing is written outside of the sets' folders.

    Args:
        sources: zip and tar archives, or folders that are searched for them, through links too.
        data_root: Where the sets go, see :class:`~mmseg_cascadepsp.datasets.PaperTrainingSet`.
        progress: Called as files are done.

    Raises:
        OSError: A source is missing, or the disk, also that of temporary files, cannot be written
            to.
    """
    data_root = Path(data_root)
    archives: list[str] = []
    with ExitStack() as stack:
        found = _index(sources, archives, stack)
        reports = []
        for training_set in TRAINING_SETS.values():
            report = SetReport(training_set)
            folder = data_root / training_set.folder
            stems = found[training_set.folder]
            for number, (stem, pair) in enumerate(sorted(stems.items()), 1):
                fault = _lay_out(folder / stem, pair)
                if fault:
                    report.broken.append(f'{training_set.folder}/{stem}: {fault}')
                if progress:
                    progress(training_set.folder, number, len(stems))
            report.pairs = sum(len(kinds) == 2 for kinds in _laid_out(folder).values())
            reports.append(report)
    return Report(reports, archives)


def check(data_root: str | os.PathLike, progress: Progress | None = None) -> Report:
    """Read all pictures that were laid out, and count."""
    reports = []
    for training_set in TRAINING_SETS.values():
        report = SetReport(training_set)
        folder = Path(data_root) / training_set.folder
        stems = _laid_out(folder)
        for number, (stem, kinds) in enumerate(sorted(stems.items()), 1):
            fault = _fault({kind: path.read_bytes for kind, path in kinds.items()})
            report.pairs += not fault
            if fault:
                report.broken.append(f'{training_set.folder}/{stem}: {fault}')
            if progress:
                progress(training_set.folder, number, len(stems))
        reports.append(report)
    return Report(reports)


def _laid_out(folder: Path) -> dict[str, dict[str, Path]]:
    """Path without suffix, relative -> kind -> file, of what lies there."""
    found: dict[str, dict[str, Path]] = {}
    for path in folder.rglob('[!.]*') if folder.is_dir() else ():
        kind = KINDS.get(path.suffix.lower())
        if kind:
            stem = path.relative_to(folder).with_suffix('').as_posix()
            found.setdefault(stem, {})[kind] = path
    return found


def _index(
    sources: Sequence[str | os.PathLike], faults: list[str], stack: ExitStack
) -> dict[str, dict[str, Copies]]:
    """Set -> path without suffix -> kind -> members, of all archives."""
    found: dict[str, dict[str, Copies]] = {name: {} for name in TRAINING_SETS}
    for path, name in find_archives(sources, faults):
        try:
            for member, size, read in archive_members(path, stack):
                place = _place(name, member)
                if place is None:
                    continue
                if place == UNSAFE:
                    faults.append(f'{path}: left out {member!r}, which leads out of its folder')
                    continue
                folder, stem, kind = place
                copies = found[folder].setdefault(stem, {}).setdefault(kind, [])
                copies.append(Member(f'{path.name}/{member}', size, read))
        except (PermissionError, FileNotFoundError) as error:  # the file is not to blame
            faults.append(f'{path} cannot be opened ({error})')
        except Exception as error:  # each compression has errors of its own
            if getattr(error, 'errno', None) in FULL:
                raise FileError(
                    error.errno,
                    f'the disk of temporary files is full: {path} is unpacked there; set TMPDIR '
                    'to a folder with more room',
                ) from error
            faults.append(
                f'{path} cannot be read as a zip or tar archive ({path.stat().st_size:,} bytes; '
                f'{error}): the download may have been cut, or a web page been saved in its '
                'place; get it again'
            )
    return found


UNSAFE = ('', '', '')


def _place(archive: str, member: str) -> tuple[str, str, str] | None:
    """Set, path without suffix and kind of an archive's member; None for what is no picture of
    these sets, ``UNSAFE`` for one that would leave its folder.

    Only the last parts of a member's path are used, each one checked, so an archive cannot choose
    where its files go.
    """
    parts = member.replace('\\', '/').split('/')
    stem, dot, suffix = parts[-1].rpartition('.')
    kind = KINDS.get(f'{dot}{suffix}'.lower())
    if kind is None or parts[-1].startswith('.') or '__MACOSX' in parts:
        return None
    path = f'/{archive}/{"/".join(parts)}'
    training_set = _set_of(path.lower(), f'/{archive}'.rindex('/'))
    if training_set is None:
        return None
    if '..' in parts or parts[0] == '' or ':' in parts[0]:
        return UNSAFE
    if training_set.per_class:
        stem = f'{path.split("/")[-2]}/{stem}'
    return training_set.folder, stem, kind


def _set_of(path: str, archive: int) -> TrainingSet | None:
    """The set that is named deepest in a member's path; ``archive`` is where the archive's own
    name begins. Of a path that names none from there on, the folders around count last."""
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


def _lay_out(target: Path, pair: Copies) -> str:
    """Write a pair unless it is there; what is wrong with it, or nothing."""
    files = {kind: target.with_name(target.name + kind) for kind in pair}
    if len(pair) == 2 and all(
        file.is_file() and file.stat().st_size in {copy.size for copy in pair[kind]}
        for kind, file in files.items()
    ):
        return ''
    faults = []
    for copies in product(*pair.values()):
        contents: dict[str, bytes] = {}
        chosen = dict(zip(pair, copies, strict=True))
        fault = _fault({kind: partial(_read, chosen, kind, contents) for kind in pair})
        if not fault:
            break
        faults.append(f'{fault} ({", ".join(member.where for member in copies)})')
    else:
        return faults[0]
    for kind in sorted(files, reverse=True):  # the photo last
        # What a crash of the machine may lose has another size, and the next run writes it again.
        with atomic_open(files[kind], sync=False) as file:
            file.write(contents[kind])
    return ''


def _read(pair: dict[str, Member], kind: str, contents: dict[str, bytes]) -> bytes:
    """Bytes of a picture, kept in ``contents``."""
    if pair[kind].size > MAX_BYTES:
        raise InvalidValueError(
            f'{pair[kind].size:,} bytes are too many for a picture of this set'
        )
    contents[kind] = pair[kind].read()
    return contents[kind]


def _fault(pair: dict[str, Callable[[], bytes]]) -> str:
    """What is wrong with a pair of pictures, or nothing."""
    if len(pair) < 2:
        return 'a photo without a mask' if '.jpg' in pair else 'a mask without a photo'
    sizes = {}
    for kind, read in pair.items():
        name = 'photo' if kind == '.jpg' else 'mask'
        try:
            with Image.open(io.BytesIO(read())) as picture:
                picture.load()
                sizes[name] = ImageOps.exif_transpose(picture).size
        except Exception as error:  # decoders and archives raise whatever they stumble over
            return f'the {name} cannot be read: {error}'
    if sizes['photo'] != sizes['mask']:
        return f'the photo is {sizes["photo"]} and the mask {sizes["mask"]} (width, height)'
    return ''
