"""Refining photos that are never whole in memory: read by rows, fused by rows, resumable."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.progress import Progress

from mmseg_cascadepsp import cascade
from mmseg_cascadepsp.apis.refiner import Refiner
from mmseg_cascadepsp.errors import FileError, InvalidValueError
from mmseg_cascadepsp.files import atomic_open
from mmseg_cascadepsp.files.paths import hidden_name
from mmseg_cascadepsp.files.row_writers import appended, find_writer, write_rows
from mmseg_cascadepsp.files.rows import (
    ImageRows,
    MaskRows,
    open_image_rows,
    open_mask_rows,
    row_ranges,
)

OUT_SUFFIXES = ('.png', '.tif', '.tiff', '.npy')
"""What results by rows can be written as."""

ROWS, LOCK = 'rows.bin', 'lock'


def refine_file(
    refiner: Refiner,
    image: str | os.PathLike,
    mask: str | os.PathLike,
    out: str | os.PathLike,
    *,
    fast: bool | None = None,
    L: int = 900,
    threshold: float = 0.5,
    probability: str | os.PathLike | None = None,
    note: str = '',
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Refine one photo by rows: memory depends on its width and on ``L``, not on its height.

    Photo and mask are read twice, from top to bottom; rows that no crop changes any more are
    written and forgotten. What is done lies in a hidden folder beside ``out`` until the end, and a
    run that was stopped, or killed, goes on there: the Global step and finished rows are kept.

    Args:
        refiner: Does the work. With ``crops='adaptive'`` the time goes with the length of the
            boundary, not with the pixels.
        image: Photo, ``.tif`` (tiled or in strips; georeferenced or not) or ``.npy`` ``(H, W, 3)``
            RGB; other formats are unpacked whole, in 3 bytes per pixel and more while it lasts.
        mask: Its coarse mask, of the same formats, one channel.
        out: ``.png``, ``.tif`` (with the photo's georeferencing) or ``.npy``: 0 and 255.
        fast: Global step alone, or never alone; by default as :meth:`Refiner.refine` with None.
        L: See :meth:`Refiner.refine`.
        threshold: Probability above which a pixel is object, from 0 to below 1.
        probability: Where 255 times the probability goes, too, of the same formats.
        note: Kept in ``out``; of ``.npy`` in a hidden file beside it.
        progress: Called with (crops done, crops to do). Without, a refiner made with
            ``progress=True`` shows a bar.

    Raises:
        OSError: a file cannot be read or written, or another run is writing ``out``; TIFF without
            the extra ``huge``.
        ValueError: photo and mask of other sizes, a bad setting, an output that is another of the
            files.
    """
    out = Path(out)
    for name, path in (('out', out), ('probability', Path(probability or out))):
        if path.suffix.lower() not in OUT_SUFFIXES:
            raise InvalidValueError(f'{name} must end in {", ".join(OUT_SUFFIXES)}, got {path}.')
        find_writer(path)  # before hours of work
    if not 0 <= threshold < 1:
        raise InvalidValueError(f'threshold must be at least 0 and below 1, got {threshold}.')
    paths = [Path(path).resolve() for path in (image, mask, out, probability) if path is not None]
    if len(set(paths)) < len(paths):
        raise InvalidValueError(
            f'image, mask, out {out} and probability {probability} must be different files.'
        )
    L = cascade.check_crop_size(L)
    folder = out.with_name(hidden_name(out.name, 'partial'))
    with _alone(folder, out), open_image_rows(image) as photo, open_mask_rows(mask) as coarse:
        if photo.shape != coarse.shape:
            raise InvalidValueError(
                f'mask {mask} must have the size of the image, {photo.shape[0]} x '
                f'{photo.shape[1]} (H x W), got {coarse.shape[0]} x {coarse.shape[1]}; resize the '
                'mask to the image.'
            )
        inputs = [[s.st_size, s.st_mtime_ns] for s in (Path(image).stat(), Path(mask).stat())]
        state = {**refiner.settings(), 'fast': fast, 'L': L, 'inputs': inputs}
        if not (coarse.is_empty or coarse.is_full):
            hidden = progress is not None or not refiner.progress
            with Progress(disable=hidden, transient=True) as bar:
                task = bar.add_task('crops', total=None)

                def show(done: int, total: int) -> None:
                    bar.update(task, completed=done, total=total)

                _refine_rows(refiner, photo, coarse, folder, state, progress or show)

        def finished(of: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
            width = photo.shape[1]
            if coarse.is_empty or coarse.is_full:
                for start, stop in row_ranges(photo.shape):
                    yield of(np.full((stop - start, width), 255 * coarse.is_full, np.uint8))
                return
            with open(folder / ROWS, 'rb') as file:
                for start, stop in row_ranges(photo.shape):
                    values = np.fromfile(file, np.uint8, (stop - start) * width)
                    if len(values) < (stop - start) * width:
                        raise FileError(f'{file.name} has been cut short; refine {image} again.')
                    yield of(values.reshape(-1, width))

        text = {'mmseg_cascadepsp': note} if note else None
        if probability is not None:
            write_rows(probability, finished(lambda values: values), photo.shape, geo=photo.geo)
        masks = finished(lambda values: (values > 255 * threshold).astype(np.uint8) * 255)
        write_rows(out, masks, photo.shape, text, photo.geo)
        for path in set(folder.iterdir()) - {folder / LOCK}:  # before another run may begin
            path.unlink()


@contextmanager
def _alone(folder: Path, out: Path) -> Iterator[None]:
    """Make the hidden folder, and keep other runs out of it; a run that is killed lets go."""
    folder.mkdir(parents=True, exist_ok=True)
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
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _refine_rows(
    refiner: Refiner,
    photo: ImageRows,
    coarse: MaskRows,
    folder: Path,
    state: dict,
    progress: Callable[[int, int], None],
) -> None:
    """Append the probabilities, uint8, to the folder's rows until all are there."""
    if _read_state(folder / 'state.json') != state:
        for path in set(folder.iterdir()) - {folder / LOCK}:  # of other settings
            path.unlink()
        with atomic_open(folder / 'state.json') as file:
            file.write(json.dumps(state).encode())
    height, width = photo.shape
    with torch.inference_mode(), appended(folder / ROWS, width) as (file, start):
        if start >= height:
            return
        job = refiner.refinement(photo.shape, state['fast'], state['L'], progress, whole=False)
        for _, values in job.last_step(photo, _first_steps(job, photo, coarse, folder), start):
            file.write((values * 255).to(torch.uint8).numpy().tobytes())
            file.flush()
            start += len(values)


def _read_state(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _first_steps(
    job: cascade.Refinement, photo: ImageRows, mask: MaskRows, folder: Path
) -> dict[int, torch.Tensor]:
    """Outputs of the Global step, of the run before where it came so far."""
    path = folder / 'global.npz'
    if path.exists():
        with np.load(path) as stored:
            return {int(key): torch.from_numpy(stored[key]) for key in stored.files}
    outputs = job.first_steps(photo, mask)
    with atomic_open(path) as file:
        np.savez(file, **{str(stride): value.numpy() for stride, value in outputs.items()})
    return outputs
