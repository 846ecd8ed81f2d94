"""Fetching files whose checksum is known."""

import hashlib
import os
import urllib.request
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from mmseg_cascadepsp.errors import FileError
from mmseg_cascadepsp.files import atomic_open

from .checkpoint import digest_in


def download(
    url: str, path: str | os.PathLike, md5: str | None = None, progress: bool = True
) -> None:
    """Download a file. It is written only if it is complete and its checksum is right.

    Args:
        url: Address of the file.
        path: File to write.
        md5: Checksum, if known. A name such as ``NAME-1a2b3c4d.pth`` must also agree with the
            SHA-256 of the file.
        progress: Whether to show a progress bar.

    Raises:
        OSError: There is no network or the server refuses.
        FileError: The download is cut short, or its checksum is wrong.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     source = Path(folder, 'a.txt')
        ...     _ = source.write_text('weights')
        ...     download(source.as_uri(), Path(folder, 'b.txt'), progress=False)
        ...     Path(folder, 'b.txt').read_text()
        'weights'
    """
    path = Path(path)
    named = digest_in(path.name)
    digest, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with (
        urllib.request.urlopen(url, timeout=30) as answer,
        atomic_open(path) as file,
        Progress(*columns, disable=not progress) as bar,
    ):
        total = int(answer.headers.get('Content-Length') or 0)
        task = bar.add_task(f'fetching {url}', total=total or None)
        while block := answer.read(1 << 20):
            file.write(block)
            digest.update(block)
            sha256.update(block)
            bar.advance(task, len(block))
        if total and file.tell() != total:  # a lost connection looks like the end of the file
            raise FileError(f'only {file.tell()} of {total} bytes came')
        if md5 and digest.hexdigest() != md5:
            raise FileError(f'what came has the md5 {digest.hexdigest()}, expected {md5}')
        if named and not sha256.hexdigest().startswith(named):
            raise FileError(
                f'the SHA-256 of what came begins with {sha256.hexdigest()[:8]}, not with '
                f'{named} as its name says'
            )
