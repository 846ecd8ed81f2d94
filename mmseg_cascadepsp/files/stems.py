"""Which files of folders belong together: those whose paths agree but for the suffix."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from mmseg_cascadepsp.errors import InvalidValueError

from .opening import IMAGE_SUFFIXES
from .paths import files_below

Name = TypeVar('Name', str, Path)


def is_hidden(path: PurePath) -> bool:
    """Whether a relative path is hidden, or one of the doubles that macOS adds to archives.

    Example:
        >>> is_hidden(Path('cats/.a.png')), is_hidden(Path('cats/a.png'))
        (True, False)
    """
    return any(part.startswith(('.', '__MACOSX')) for part in path.parts)


def names_by_stem(
    names: Iterable[str], suffixes: Collection[str] = IMAGE_SUFFIXES
) -> dict[str, list[str]]:
    """Group the paths of files by their stems. Hidden files are left out.

    Args:
        names: Paths relative to a folder, with ``/`` between their parts.
        suffixes: What the names end in, in lower case. Names may have it in any case. The longest
            suffix that fits is cut, so ``_gt.png`` finds the stem ``a`` of ``a_gt.png``.

    Returns:
        Stem -> names, both sorted. A stem is the path without the suffix.

    Example:
        >>> names = ['b.JPG', 'a_gt.png', 'cats/.a.png']
        >>> names_by_stem(names), names_by_stem(names, ['_gt.png', '.png'])
        ({'a_gt': ['a_gt.png'], 'b': ['b.JPG']}, {'a': ['a_gt.png']})
    """
    found = {}
    longest_first = sorted(suffixes, key=len, reverse=True)
    for name in sorted(names):
        suffix = next((end for end in longest_first if name.lower().endswith(end)), None)
        if suffix is not None and not is_hidden(PurePosixPath(name)):
            found.setdefault(name[: len(name) - len(suffix)], []).append(name)
    return dict(sorted(found.items()))


def files_by_stem(
    folder: str | os.PathLike,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    without: str | os.PathLike | None = None,
) -> dict[str, list[Path]]:
    """Find the files of a folder and its subfolders by their stems.

    Links to folders are followed. Hidden files are skipped.

    Args:
        folder: The folder.
        suffixes: See :func:`names_by_stem`.
        without: A folder of results. Where it lies in ``folder``, its files are left out.

    Returns:
        Stem -> files, sorted by stem. A stem is the path in the folder without the suffix, with
        ``/`` between its parts.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / 'cats').mkdir()
        >>> for name in ('a_im.jpg', 'a_gt.png', 'cats/b_im.JPG', '.c_im.jpg'):
        ...     (folder / name).touch()
        >>> list(files_by_stem(folder, ['_im.jpg'])), list(files_by_stem(folder, ['_gt.png']))
        (['a', 'cats/b'], ['a'])
    """
    folder = Path(folder)
    out = None if without is None else Path(without).resolve()
    if out is not None and folder.resolve() not in out.parents:
        out = None  # results around the folder or elsewhere
    names = [path.relative_to(folder).as_posix() for path in files_below(folder)]
    found = {
        stem: [folder / name for name in same]
        for stem, same in names_by_stem(names, suffixes).items()
    }
    if out is None:
        return found
    kept = {
        stem: [path for path in paths if out not in path.resolve().parents]
        for stem, paths in found.items()
    }
    return {stem: paths for stem, paths in kept.items() if paths}


def one_by_stem(found: Mapping[str, list[Name]], name: str = '') -> dict[str, Name]:
    """Take the only file of each stem.

    Args:
        found: What :func:`files_by_stem` or :func:`names_by_stem` returned.
        name: Of the argument that named the folder, for the message.

    Returns:
        Stem -> file.

    Raises:
        InvalidValueError: Two files have the same stem.

    Example:
        >>> one_by_stem({'a': [Path('a.png')]})['a'].name
        'a.png'
    """
    for paths in found.values():
        if len(paths) > 1:
            raise InvalidValueError(
                f'{name and f"{name}: "}{paths[0]} and {paths[1]} have the same stem; which one '
                'is meant cannot be told.'
            )
    return {stem: paths[0] for stem, paths in found.items() if paths}
