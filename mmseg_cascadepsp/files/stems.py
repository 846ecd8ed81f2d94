"""Which files of folders belong together: those whose paths agree but for the suffix."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from mmseg_cascadepsp.errors import InvalidValueError

from .paths import files_below
from .reading import IMAGE_SUFFIXES


def is_hidden(path: Path) -> bool:
    """Whether a relative path is hidden, or one of the doubles that macOS adds to archives.

    Example:
        >>> is_hidden(Path('cats/.a.png')), is_hidden(Path('cats/a.png'))
        (True, False)
    """
    return any(part.startswith(('.', '__MACOSX')) for part in path.parts)


def files_by_stem(
    folder: str | os.PathLike,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    without: str | os.PathLike | None = None,
) -> dict[str, list[Path]]:
    """Find the files of a folder and its subfolders by their stems.

    Links to folders are followed. Hidden files are skipped.

    Args:
        folder: The folder.
        suffixes: What the names end in, in lower case. Files may have it in any case. The longest
            suffix that fits is cut, so ``_gt.png`` finds the stem ``a`` of ``a_gt.png``.
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
    folder, found = Path(folder), {}
    out = None if without is None else Path(without).resolve()
    if out is not None and folder.resolve() not in out.parents:
        out = None  # results around the folder or elsewhere
    longest_first = sorted(suffixes, key=len, reverse=True)
    for path in files_below(folder):
        inside = path.relative_to(folder)
        stem, lower = inside.as_posix(), path.name.lower()
        suffix = next((end for end in longest_first if lower.endswith(end)), None)
        if suffix is None or is_hidden(inside) or (out and out in path.resolve().parents):
            continue
        found.setdefault(stem[: len(stem) - len(suffix)], []).append(path)
    return dict(sorted(found.items()))


def one_by_stem(found: Mapping[str, list[Path]], name: str = '') -> dict[str, Path]:
    """Take the only file of each stem.

    Args:
        found: What :func:`files_by_stem` returned.
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
