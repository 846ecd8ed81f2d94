"""Measuring refiners on folders of photos, true masks and coarse masks.

Layout of a set: ``images/``, ``masks/`` and one ``coarse_*/`` per source of coarse masks, whose
files belong together when their stems agree. A root holds one folder per set, or ``val/`` with
them.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingFileError
from mmseg_cascadepsp.evaluation.functional.scores import (
    MASK_SCORES,
    mask_scores_compute,
    mask_scores_update,
)
from mmseg_cascadepsp.files.reading import IMAGE_SUFFIXES, read_image, read_mask

ROOT_VARIABLE = 'MMSEG_CASCADEPSP_DATA'
THRESHOLD = 127
POOLED = 'all'

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(RGB uint8 ``(H, W, 3)``, coarse mask bool ``(H, W)``) -> bool ``(H, W)``."""


@dataclass(frozen=True)
class Example:
    """One coarse mask with its photo and its truth; ``kind`` says where coarse masks come from."""

    set: str
    kind: str
    image: Path
    mask: Path
    coarse: Path


@dataclass(frozen=True)
class Record:
    """What a method did to an example: counts ``(2, 14)`` of before and after, and seconds."""

    set: str
    kind: str
    method: str
    counts: np.ndarray
    seconds: float


def kind_of(folder: str | os.PathLike) -> str:
    """``'simulated'`` for folders called so, ``'networks'`` for every other ``coarse_*`` folder.

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
    """Match the files of one set by stem; each coarse mask is an example. Those without photo or
    truth are left out, with a warning.

    Args:
        images: Folder of photos.
        masks: Folder of true masks.
        coarse: Folders of coarse masks; they need not hold one of every photo.
        name: Of the set; by default that of the folder around ``images``.
        kinds: One for each coarse folder, by default the folder's name, or its path where
            several have the same name.

    Raises:
        OSError: a folder does not exist, or holds no coarse mask with a photo and a truth.
        ValueError: two files of a folder have the same stem.
    """
    photos, truths = _by_stem(images), _by_stem(masks)
    name = name or Path(images).resolve().parent.name
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
        lone = sorted(set(paths) - {example.coarse.stem for example in found})
        if lone:
            warnings.warn(
                f'{folder}: {len(lone)} of {len(paths)} coarse masks have no photo in '
                f'{images} or no mask in {masks} of the same stem and are left out, '
                f'first {paths[lone[0]].name}.',
                stacklevel=2,
            )
        examples += found
    return examples


def find_sets(root: str | os.PathLike | None = None) -> list[Example]:
    """All examples of all sets under a root, by default ``MMSEG_CASCADEPSP_DATA``.

    Raises:
        OSError: no root is given, it does not exist, or no set lies in it.
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
        if coarse and (folder / 'images').is_dir() and (folder / 'masks').is_dir():
            examples += find_examples(
                folder / 'images',
                folder / 'masks',
                coarse,
                folder.name,
                [kind_of(path) for path in coarse],
            )
    if not examples:
        raise FileError(
            f'No set lies in {root}; expected <set>/images, <set>/masks and <set>/coarse_* in it.'
        )
    return examples


def _by_stem(folder: str | os.PathLike) -> dict[str, Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f'{folder} is no folder.')
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in paths:
                raise InvalidValueError(
                    f'{paths[path.stem]} and {path} have the same stem; which one is '
                    'meant cannot be told.'
                )
            paths[path.stem] = path
    return paths


def load_example(example: Example) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photo RGB uint8 ``(H, W, 3)``, true mask and coarse mask bool ``(H, W)``.

    Raises:
        OSError: a file cannot be read.
        ValueError: the three differ in size.
    """
    image = read_image(example.image)
    masks = []
    for path in (example.mask, example.coarse):
        masks.append(read_mask(path) > THRESHOLD)
        if masks[-1].shape != image.shape[:2]:
            raise InvalidValueError(
                f'{path} is of (height, width) {masks[-1].shape}, its photo '
                f'{example.image} of {image.shape[:2]}; they have to be equal.'
            )
    return image, *masks


def measure(example: Example, methods: Mapping[str, Method], r0: int = 1) -> list[Record]:
    """Run every method on an example, timed, and count before and after.

    Raises:
        OSError, ValueError: see :func:`load_example`; also what a method raises.
    """
    image, truth, coarse = load_example(example)
    records = []
    for name, method in methods.items():
        start = time.perf_counter()
        refined = method(image, coarse)
        seconds = time.perf_counter() - start
        counts = mask_scores_update(np.stack([coarse, refined]), truth, r0)
        records.append(Record(example.set, example.kind, name, counts, seconds))
    return records


def summarise(records: Iterable[Record]) -> list[dict]:
    """One row per kind, method and set, with the row of all sets together (``'all'``) first.

    Returns:
        Rows of ``kind``, ``method``, ``set``, ``n`` (coarse masks), ``seconds`` (mean of each)
        and, in per cent, every score of :func:`mask_scores` as ``KEY_before``, ``KEY`` and
        ``KEY_gain``.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        for name in dict.fromkeys((POOLED, record.set)):  # a set may be called so
            groups.setdefault((record.kind, record.method, name), []).append(record)
    order = {key[:2]: index for index, key in reversed(list(enumerate(groups)))}
    rows = []
    for key in sorted(groups, key=lambda key: (order[key[:2]], key[2] != POOLED, key[2])):
        group = groups[key]
        before, after = (
            mask_scores_compute([record.counts[i] for record in group]) for i in (0, 1)
        )
        row = dict(
            zip(('kind', 'method', 'set'), key, strict=True),
            n=len(group),
            seconds=float(np.mean([record.seconds for record in group])),
        )
        for score in MASK_SCORES:
            row[f'{score}_before'], row[score] = 100 * before[score], 100 * after[score]
            row[f'{score}_gain'] = row[score] - row[f'{score}_before']
        rows.append(row)
    return rows


def worst_set(
    rows: Sequence[Mapping], kind: str, method: str, minimum: int = 10
) -> Mapping | None:
    """The row of the set of at least ``minimum`` coarse masks whose IoU gained least, or None."""
    rows = [
        row
        for row in rows
        if (row['kind'], row['method']) == (kind, method)
        and row['set'] != POOLED
        and row['n'] >= minimum
    ]
    return min(rows, key=lambda row: row['IoU_gain'], default=None)


def to_markdown(rows: Sequence[Mapping], minimum: int = 10) -> str:
    """The rows as a Markdown table for each kind and method, each with its worst set."""
    lines = []
    for kind, method in dict.fromkeys((row['kind'], row['method']) for row in rows):
        lines += [
            f'{kind}, {method}',
            '',
            '| set | n | IoU | mBA | Boundary IoU | IoU per image | s per mask |',
            '|---|---:|---|---|---|---|---:|',
        ]
        for row in rows:
            if (row['kind'], row['method']) == (kind, method):
                scores = (
                    '{:.2f} -> {:.2f} ({:+.2f})'.format(
                        *(row[f'{key}{state}'] for state in ('_before', '', '_gain'))
                    )
                    for key in MASK_SCORES[:4]
                )
                lines.append(
                    f'| {row["set"]} | {row["n"]} | {" | ".join(scores)} | {row["seconds"]:.2f} |'
                )
        worst = worst_set(rows, kind, method, minimum)
        if worst:
            lines += [
                '',
                f'Least IoU gain of a set of {minimum} masks or more: '
                f'{worst["IoU_gain"]:+.2f} ({worst["set"]}).',
            ]
        lines.append('')
    return '\n'.join(lines)


def to_json(rows: Sequence[Mapping]) -> str:
    """The rows as JSON; what has no value is null."""
    return json.dumps(
        [{key: None if value != value else value for key, value in row.items()} for row in rows],
        indent=1,
    )
