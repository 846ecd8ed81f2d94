"""Measuring refiners on folders of photos, true masks and coarse masks.

A set has the folders ``images/`` and ``masks/``, and one ``coarse_*/`` for each source of coarse
masks. Files belong together if their names agree but for the suffix. A root holds one folder per
set, or ``val/`` with these.
"""

import os
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.errors import FileError, MissingFileError
from mmseg_cascadepsp.files import Reading, read_mask, read_pair
from mmseg_cascadepsp.files.arrays import check_size
from mmseg_cascadepsp.files.reading import check_pair
from mmseg_cascadepsp.files.stems import files_by_stem, one_by_stem

from .functional.scores import (
    mask_report,
    mask_scores_update,
)

ROOT_VARIABLE = 'MMSEG_CASCADEPSP_DATA'
THRESHOLD = 127
POOLED = 'all'
#: Names of folders of photos that tell nothing of their set.
USUAL = ('images', 'image', 'imgs', 'img', 'photos', 'jpegimages')

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(RGB uint8 ``(H, W, 3)``, coarse mask bool ``(H, W)``) -> bool ``(H, W)``."""

Simulation = Callable[[np.ndarray, str], np.ndarray]
"""(true mask bool ``(H, W)``, name of the photo) -> coarse mask bool ``(H, W)``."""


@dataclass(frozen=True)
class Example:
    """A coarse mask with its photo and its true mask.

    Args:
        set: Name of the set.
        kind: Where the coarse mask comes from.
        image: Path of the photo.
        mask: Path of the true mask.
        coarse: Path of the coarse mask.

    Example:
        >>> from pathlib import Path
        >>> from mmseg_cascadepsp.evaluation.folders import Example
        >>> paths = [Path(f'cats/{folder}/a.png') for folder in ('images', 'masks', 'coarse_net')]
        >>> Example('cats', 'networks', *paths).coarse.name
        'a.png'
    """

    set: str
    kind: str
    image: Path
    mask: Path
    coarse: Path


@dataclass(frozen=True)
class Record:
    """What a method did to an example.

    Args:
        set: Name of the set.
        kind: Where the coarse mask comes from.
        method: Name of the method.
        counts: int64 ``(2, 15)``, see :func:`~mmseg_cascadepsp.evaluation.mask_scores_update`: the
            coarse mask and the refined one.
        seconds: Time that the method took.
        photo: Name of the photo.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.folders import Record
        >>> Record('cats', 'networks', 'lite', np.zeros((2, 15), np.int64), 0.5).seconds
        0.5
    """

    set: str
    kind: str
    method: str
    counts: np.ndarray
    seconds: float
    photo: str = ''


def kind_of(folder: str | os.PathLike) -> str:
    """Tell from the name of a folder where its coarse masks come from.

    Args:
        folder: A ``coarse_*`` folder.

    Returns:
        ``'simulated'`` if its name contains this word, else ``'networks'``.

    Example:
        >>> from mmseg_cascadepsp.evaluation.folders import kind_of
        >>> kind_of('val/cats/coarse_simulated'), kind_of('val/cats/coarse_dicenet')
        ('simulated', 'networks')
    """
    return 'simulated' if 'simulated' in Path(folder).name else 'networks'


def find_examples(
    images: str | os.PathLike,
    masks: str | os.PathLike,
    coarse: Sequence[str | os.PathLike],
    name: str | None = None,
    kinds: Sequence[str] | None = None,
) -> list[Example]:
    """Find the examples of one set: every coarse mask that has a photo and a true mask.

    Coarse masks without photo or true mask are left out, with a warning. So are photos without
    true mask and true masks without photo.

    Args:
        images: Folder of photos.
        masks: Folder of true masks.
        coarse: Folders of coarse masks. They need not hold one for every photo.
        name: Name of the set. By default that of the folder of photos, or of the one around it
            where it is called ``images`` or alike.
        kinds: One for each coarse folder. By default the folder's name, or its path where
            several have the same name.

    Returns:
        The examples, sorted by name within each coarse folder.

    Raises:
        FileError: A folder does not exist, or no coarse mask has a photo and a true mask.
        InvalidValueError: Two files of a folder have the same stem.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import folders
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> for name in ('images', 'masks', 'coarse_simulated'):
        ...     write_png(f'{root}/cats/{name}/a.png', np.eye(20, dtype=np.uint8) * 255)
        >>> folder = f'{root}/cats'
        >>> (example,) = folders.find_examples(
        ...     f'{folder}/images', f'{folder}/masks', [f'{folder}/coarse_simulated']
        ... )
        >>> example.set, example.kind, example.coarse.name
        ('cats', 'coarse_simulated', 'a.png')
    """
    photos, truths = _by_stem(images), _by_stem(masks)
    for folder, files, other, others in (
        (images, photos, masks, truths),
        (masks, truths, images, photos),
    ):
        _warn_of_lone(folder, files, others, f'no partner of the same stem in {other}')
    name = name or set_name(images)
    same = len({Path(folder).name for folder in coarse}) < len(coarse)
    kinds = kinds or [str(folder) if same else Path(folder).name for folder in coarse]
    examples = []
    for folder, kind in zip(coarse, kinds, strict=True):
        paths = _by_stem(folder)
        found = [
            Example(name, kind, photos[stem], truths[stem], path)
            for stem, path in sorted(paths.items())
            if stem in photos and stem in truths
        ]
        if not found:
            raise FileError(
                f'No coarse mask in {folder} has the name of a photo in {images} and of '
                f'a mask in {masks}; files that belong together need the same stem.'
            )
        _warn_of_lone(
            folder,
            paths,
            photos.keys() & truths.keys(),
            f'no photo in {images} or no mask in {masks} of the same stem',
        )
        examples += found
    return examples


def set_name(images: str | os.PathLike) -> str:
    """Name a set by its folder of photos.

    Example:
        >>> set_name('data/cats/images'), set_name('data/my_cats')
        ('cats', 'my_cats')
    """
    folder = Path(images).resolve()
    usual = folder.name.lower() in USUAL and folder.parent.name
    return folder.parent.name if usual else folder.name


def find_sets(
    root: str | os.PathLike | None = None, simulated: Sequence[str] = ()
) -> list[Example]:
    """Find the examples of all sets under a root.

    Args:
        root: The folder that holds the sets, or ``val/`` with them. By default that of the
            environment variable ``MMSEG_CASCADEPSP_DATA``.
        simulated: Kinds of coarse masks that :func:`measure` makes from the true ones. Then coarse
            masks on disk are not looked for.

    Returns:
        The examples, set by set.

    Raises:
        FileError: No root is given, it does not exist, or no set lies in it.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import folders
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> for name in ('images', 'masks', 'coarse_simulated'):
        ...     write_png(f'{root}/cats/{name}/a.png', np.eye(20, dtype=np.uint8) * 255)
        >>> (example,) = folders.find_sets(root)
        >>> example.set, example.kind, example.coarse.name
        ('cats', 'simulated', 'a.png')
    """
    root = root or os.environ.get(ROOT_VARIABLE)
    if not root:
        raise FileError(
            f'No data root: give --root, or set {ROOT_VARIABLE} to the folder that '
            'holds val/<set>/{images,masks,coarse_*}.'
        )
    root = Path(root)
    root = root / 'val' if (root / 'val').is_dir() else root
    if not root.is_dir():
        raise MissingFileError(f'The data root {root} does not exist.')
    examples = []
    for folder in (root, *sorted(root.iterdir())):
        coarse = sorted(path for path in folder.glob('coarse*') if path.is_dir())
        kinds = simulated or [kind_of(path) for path in coarse]
        coarse = [folder / 'masks'] * len(simulated) or coarse
        if coarse and (folder / 'images').is_dir() and (folder / 'masks').is_dir():
            examples += find_examples(
                folder / 'images',
                folder / 'masks',
                coarse,
                folder.name,
                kinds,
            )
    if not examples:
        raise FileError(
            f'No set lies in {root}; expected <set>/images, <set>/masks and <set>/coarse_* in it.'
        )
    return examples


def _by_stem(folder: str | os.PathLike) -> dict[str, Path]:
    if not Path(folder).is_dir():
        raise FileError(f'{folder} is no folder.')
    return one_by_stem(files_by_stem(folder))


def _warn_of_lone(
    folder: str | os.PathLike, files: Mapping[str, Path], others: Collection[str], lacks: str
) -> None:
    lone = [path.name for stem, path in files.items() if stem not in others]
    if lone:
        warnings.warn(
            f'{folder}: {len(lone)} of {len(files)} files have {lacks} and are left out, '
            f'first {lone[0]}.',
            stacklevel=3,
        )


def load_example(
    example: Example, reading: Reading | None = None, coarse_reading: Reading | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the three files of an example.

    Args:
        example: The example.
        reading: How masks and photos are read where they do not say it themselves.
        coarse_reading: The same of the coarse masks where it is another one.

    Returns:
        The photo, RGB uint8 ``(H, W, 3)``, the true mask and the coarse mask, bool ``(H, W)``.

    Raises:
        FileError: A file cannot be read, or the values of a mask can be read in two ways.
        InvalidValueError: The three differ in size.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import folders
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> for name in ('images', 'masks', 'coarse_simulated'):
        ...     write_png(f'{root}/cats/{name}/a.png', np.eye(20, dtype=np.uint8) * 255)
        >>> image, truth, coarse = folders.load_example(folders.find_sets(root)[0])
        >>> image.shape, truth.dtype, int((truth != coarse).sum())
        ((20, 20, 3), dtype('bool'), 0)
    """
    reading = reading or Reading()
    image, truth = read_pair(example.image, example.mask, reading)
    own = replace(coarse_reading or reading, exif=reading.exif or 'apply')  # said once
    check_pair(example.image, example.coarse, own)
    coarse = read_mask(example.coarse, own)
    check_size(f'mask {example.coarse}', coarse.shape, f'image {example.image}', image.shape[:2])
    return image, truth > THRESHOLD, coarse > THRESHOLD


def _void(path: Path, reading: Reading | None) -> np.ndarray | None:
    """Where the true mask says nothing, bool ``(H, W)``."""
    if reading is None or reading.ignore is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # there may be none
        return read_mask(path, Reading(reading.ignore, exif=reading.exif)) > THRESHOLD


def measure(
    example: Example,
    methods: Mapping[str, Method],
    r0: int = 1,
    reading: Reading | None = None,
    coarse_reading: Reading | None = None,
    simulations: Mapping[str, Simulation] | None = None,
) -> list[Record]:
    """Run every method on an example, and count before and after.

    Args:
        example: The example.
        methods: Name -> method.
        r0: Smallest radius of mBA, see :func:`~mmseg_cascadepsp.evaluation.boundary_radii`.
        reading, coarse_reading: See :func:`load_example`. Pixels of the true mask that have the
            value ``ignore`` do not count.
        simulations: Kind -> how coarse masks of this kind are made from the true one. The file of
            the coarse mask of such an example does not count.

    Returns:
        A record for each method.

    Raises:
        FileError: A file cannot be read.
        InvalidValueError: Photo and masks differ in size.
        Exception: What a method raises.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation import folders
        >>> from mmseg_cascadepsp.files import write_png
        >>> root = tempfile.mkdtemp()
        >>> for name in ('images', 'masks', 'coarse_simulated'):
        ...     write_png(f'{root}/cats/{name}/a.png', np.eye(20, dtype=np.uint8) * 255)
        >>> (record,) = folders.measure(folders.find_sets(root)[0], {'none': lambda _, m: m})
        >>> record.method, record.counts[:, :2].tolist()  # intersection and union
        ('none', [[20, 20], [20, 20]])
    """
    image, truth, coarse = load_example(example, reading, coarse_reading)
    if simulations and example.kind in simulations:
        coarse = simulations[example.kind](truth, example.image.name)
    void, records = _void(example.mask, reading), []
    for name, method in methods.items():
        start = time.perf_counter()
        refined = method(image, coarse)
        seconds = time.perf_counter() - start
        counts = mask_scores_update(np.stack([coarse, refined]), truth, r0, void=void)
        record = Record(example.set, example.kind, name, counts, seconds, example.image.stem)
        records.append(record)
    return records


def summarise(records: Iterable[Record]) -> list[dict]:
    """Add the records up: one row for each kind, method and set.

    Args:
        records: What :func:`measure` returned, of all examples.

    Returns:
        Rows of ``kind``, ``method``, ``set``, ``n`` (number of coarse masks), ``seconds`` (mean),
        and what :func:`~mmseg_cascadepsp.evaluation.mask_report` says of gains and harm. The first
        row of each kind and method is that of all sets together (``'all'``).

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.folders import Record, summarise
        >>> counts = np.zeros((2, 15), np.int64)
        >>> counts[:, :2] = (80, 100), (90, 100)  # intersection and union before and after
        >>> row, _ = summarise([Record('cats', 'networks', 'lite', counts, 0.5)])
        >>> row['set'], row['n'], row['IoU_before'], row['IoU'], row['harmed_2']
        ('all', 1, 80.0, 90.0, 0.0)
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        for name in dict.fromkeys((POOLED, record.set)):  # a set may be called so
            groups.setdefault((record.kind, record.method, name), []).append(record)
    order = {key[:2]: index for index, key in reversed(list(enumerate(groups)))}
    rows = []
    for key in sorted(groups, key=lambda key: (order[key[:2]], key[2] != POOLED, key[2])):
        group = groups[key]
        before, after = np.stack([record.counts for record in group], axis=1)
        rows.append(
            dict(
                zip(('kind', 'method', 'set'), key, strict=True),
                n=len(group),
                seconds=float(np.mean([record.seconds for record in group])),
                **mask_report(before, after),
            )
        )
    return rows


def per_photo(records: Iterable[Record]) -> list[dict]:
    """Make a row of each record, by kind and method, the largest loss of IoU first.

    Args:
        records: What :func:`measure` returned.

    Returns:
        Rows as of :func:`summarise`, with the name of the ``photo``.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.folders import Record, per_photo
        >>> counts = np.zeros((2, 15), np.int64)
        >>> counts[:, :2] = (80, 100), (90, 100)  # intersection and union before and after
        >>> (row,) = per_photo([Record('cats', 'networks', 'lite', counts, 0.5, 'tom')])
        >>> row['photo'], round(row['IoU_gain'])
        ('tom', 10)
    """
    rows = []
    for record in records:
        before, after = record.counts[:, None]
        row = {'kind': record.kind, 'method': record.method, 'set': record.set, 'n': 1}
        row |= {'photo': record.photo, 'seconds': record.seconds, **mask_report(before, after)}
        rows.append(row)
    order = {key: i for i, key in enumerate(dict.fromkeys((r['kind'], r['method']) for r in rows))}
    return sorted(rows, key=lambda row: (order[row['kind'], row['method']], row['IoU_gain']))
