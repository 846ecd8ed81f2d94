"""Refining photos that are never whole in memory: read by rows, fused by rows, resumable."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.progress import Progress as Bar
from torch import Tensor

from mmseg_cascadepsp.cascade import Progress
from mmseg_cascadepsp.cascade.changes import FEW_PIXELS, lost_object
from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .arrays import check_size, check_threshold
from .mask_values import Reading
from .paths import atomic_open, hidden_name
from .reading import check_pair
from .refiner_protocol import MaskRefiner
from .row_steps import EnlargedMask, enlarged_rows, global_outputs, local_rows
from .row_writers import appended, check_format, write_result
from .rows import ImageRows, MaskRows, row_ranges

ROWS, MASK, LOCK, GLOBAL, STATE = 'rows.bin', 'mask.bin', 'lock', 'global.npz', 'state.json'
OWN = re.compile(r'rows\.bin|mask\.bin|(\.)?(global\.npz|state\.json)(?(1)\.[0-9a-f]{12}\.tmp)')
"""Names of what a run leaves in its hidden folder, besides the lock."""


def refine_file(
    refiner: MaskRefiner,
    image: str | os.PathLike,
    mask: str | os.PathLike,
    out: str | os.PathLike,
    *,
    threshold: float = 0.5,
    probability: str | os.PathLike | None = None,
    note: str = '',
    progress: Progress | None = None,
    **reading: Any,
) -> str:
    """Refine one photo by rows: memory depends on its width and on ``L``, not on its height.

    Photo and mask are read twice, from top to bottom. Rows that no crop changes any more are
    written and forgotten. What is done lies in a hidden folder beside ``out`` until the end. A run
    that was stopped or killed goes on there, with the Global step and the finished rows.

    Args:
        refiner: Does the work. With ``crops='adaptive'`` the time goes with the length of the
            boundary, not with the pixels.
        image: Photo, ``.tif`` (in tiles or strips, georeferenced or not) or ``.npy``
            ``(H, W, 3)`` RGB. Other formats are unpacked whole, in 3 bytes per pixel or more.
        mask: Its coarse mask, of the same formats, one channel.
        out: ``.png``, ``.tif`` (with the photo's georeferencing) or ``.npy``: 0 and 255.
        threshold: Probability above which a pixel is object, from 0 to below 1.
        probability: Where 255 times the probability goes, too, of the same formats.
        note: Kept in ``out``, or in a hidden file beside it if that is ``.npy``.
        progress: Called with (crops done, crops to do). None: a refiner made with
            ``progress=True`` shows a bar.
        reading: How to read photo and mask where they do not say it: fields of
            :class:`~mmseg_cascadepsp.files.Reading`. ``resize_mask=True`` brings a smaller mask,
            which is read whole, to the size of the photo.

    Returns:
        Why the mask stays as it was: it would lose its object. Nothing where it was refined.

    Raises:
        FileError: A file cannot be read or written, another run is writing ``out``, or a TIFF is
            given without the extra ``huge``.
        InvalidValueError: Photo and mask have different sizes, a setting is bad, or an output is
            another one of the files.

    Example:
        >>> import tempfile
        >>> from mmseg_cascadepsp import Refiner
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.save(folder / 'photo.npy', np.full((70, 90, 3), 40, np.uint8))
        >>> np.save(folder / 'mask.npy', np.zeros((70, 90), bool))
        >>> paths = [folder / f'{name}.npy' for name in ('photo', 'mask', 'out')]
        >>> refine_file(Refiner('lite'), *paths)
        ''
        >>> np.load(folder / 'out.npy').max()  # an empty mask stays empty
        np.uint8(0)
    """
    out = Path(out)
    check_format('out', out)  # before hours of work
    check_format('probability', probability or out)
    check_threshold(threshold)
    paths = [Path(path).resolve() for path in (image, mask, out, probability) if path is not None]
    if len(set(paths)) < len(paths):
        raise InvalidValueError(
            f'image, mask, out {out} and probability {probability} must be different files.'
        )
    if refiner.cascade.max_change is not None:
        raise InvalidValueError(
            f'max_change is not looked at where photos are refined by rows, as {image} is: leave '
            'it out.'
        )
    folder = out.with_name(hidden_name(out.name, 'partial'))
    resize_mask = reading.pop('resize_mask', False)
    reading = Reading(**reading)
    check_pair(image, mask, reading, same_size=not resize_mask)
    with (
        _alone(folder, out),
        ImageRows(image, reading) as photo,
        MaskRows(mask, reading) as coarse,
    ):
        if resize_mask and coarse.shape != photo.shape:
            coarse = EnlargedMask(coarse, photo.shape)
        check_size(f'mask {mask}', coarse.shape, f'image {image}', photo.shape)
        inputs = [[s.st_size, s.st_mtime_ns] for s in (Path(image).stat(), Path(mask).stat())]
        state = {**refiner.settings(), **reading.told(), 'inputs': inputs}
        hidden = progress is not None or not refiner.progress
        with Bar(disable=hidden, transient=True) as bar:
            task = bar.add_task('crops', total=None)

            def show(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            _refine_rows(refiner, photo, coarse, folder, state, progress or show)
        if (folder / ROWS).stat().st_size < photo.shape[0] * photo.shape[1]:
            raise FileError(f'{folder / ROWS} has been cut short; refine {image} again.')
        values = np.memmap(folder / ROWS, np.uint8, 'r', shape=photo.shape)
        cut = np.memmap(folder / MASK, np.uint8, 'w+', shape=photo.shape)
        count, kept = 0, ''
        for start, stop in row_ranges(photo.shape):
            rows = values[start:stop] > 255 * threshold
            cut[start:stop] = rows * np.uint8(255)
            count += np.count_nonzero(rows)
        if count < FEW_PIXELS and not coarse.is_empty and refiner.cascade.compat is None:
            parts = [coarse.read(start, stop).sum() for start, stop in row_ranges(photo.shape)]
            kept = lost_object(sum(map(int, parts)), count)
        if kept:
            for start, stop in row_ranges(photo.shape):
                cut[start:stop] = coarse.read(start, stop) * np.uint8(255)
        if probability is not None:
            write_result(probability, cut if kept else values, geo=photo.geo)
        write_result(out, cut, {'mmseg_cascadepsp': note} if note else None, photo.geo)
        del values, cut  # some systems keep files that are mapped
        _clear(folder)  # before another run may begin
    return kept


@contextmanager
def _alone(folder: Path, out: Path) -> Iterator[None]:
    """Make the hidden folder, and keep other runs out of it. One that is killed lets go of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *_own(folder)):
        if path.is_symlink():  # what is written or deleted would lie elsewhere
            raise FileError(f'{path} is a link, which no run by rows made: remove it.')
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise FileError(
            f'out {out} is being written by another run; wait for it, or give another name.'
        ) from error
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        if {path.name for path in folder.iterdir()} <= {LOCK}:  # nothing was begun, or all is done
            with suppress(OSError):  # another run has come, or the system keeps an open file
                (folder / LOCK).unlink(missing_ok=True)
                folder.rmdir()
        lock.release()


def _own(folder: Path) -> list[Path]:
    """What a run made in its hidden folder."""
    return [path for path in folder.iterdir() if path.name == LOCK or OWN.fullmatch(path.name)]


def _clear(folder: Path) -> None:
    """Delete what a run made, except the lock, and nothing else."""
    for path in _own(folder):
        if path.name != LOCK:
            path.unlink()


def _refine_rows(
    refiner: MaskRefiner,
    photo: ImageRows,
    coarse: MaskRows,
    folder: Path,
    state: dict,
    progress: Progress,
) -> None:
    """Append the probabilities, uint8, to the folder's rows until all are there."""
    settings, network = refiner.cascade, refiner.network
    wanted = 2 if settings.with_local_step(photo.shape) else 1
    strides = network.strides[: -wanted - 1 : -1]
    is_known = _read_state(folder / STATE) == state
    outputs = None
    if is_known and (folder / GLOBAL).exists():
        outputs = _read_outputs(folder / GLOBAL, strides)
        is_known = outputs is not None
    if not is_known:
        _clear(folder)  # of other settings, or damaged
        with atomic_open(folder / STATE) as file:
            file.write(json.dumps(state).encode())
    height, width = photo.shape
    with torch.inference_mode(), appended(folder / ROWS, width) as (file, start):
        if start >= height:
            return
        if coarse.is_empty or coarse.is_full:
            rows = [torch.full((1, width), float(coarse.is_full))] * (height - start)
        else:
            if outputs is None:
                outputs = global_outputs(network, photo, coarse, settings, strides)
                with atomic_open(folder / GLOBAL) as stored:
                    np.savez(stored, **{str(key): value for key, value in outputs.items()})
            if settings.with_local_step(photo.shape):
                rows = local_rows(network, photo, outputs, settings, start, progress)
            else:
                rows = enlarged_rows(outputs[network.strides[-1]], photo.shape, settings, start)
        for values in rows:
            file.write((values * 255).to(torch.uint8).numpy().tobytes())
            file.flush()


def _read_state(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _read_outputs(path: Path, strides: Sequence[int]) -> dict[int, Tensor] | None:
    """What :func:`global_outputs` gave the run before, or None if the file is damaged."""
    try:
        with path.open('rb') as file, np.load(file) as stored:
            outputs = {stride: torch.from_numpy(stored[str(stride)]) for stride in strides}
    except Exception:  # of a damaged archive: BadZipFile, EOFError, KeyError, zlib.error and more
        return None
    return outputs if all(value.ndim == 4 for value in outputs.values()) else None
