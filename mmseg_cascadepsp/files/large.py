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
import torch.nn.functional as F
from filelock import FileLock, Timeout
from rich.progress import Progress as Bar
from torch import Tensor

from mmseg_cascadepsp.cascade import (
    Box,
    CascadeSettings,
    Crop,
    Network,
    Progress,
    average,
    global_step,
    local_crops,
    refine,
    refine_crops,
    resize_window,
    resized_sides,
    run_global,
)
from mmseg_cascadepsp.cascade.geometry import STRIP_PIXELS, strips
from mmseg_cascadepsp.errors import FileError, InvalidValueError

from .arrays import check_size, check_turned
from .mask_values import Reading
from .paths import atomic_open, hidden_name
from .reading import check_pair
from .refiner_protocol import MaskRefiner
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
        threshold: Probability above which a pixel is object, from 0 to below 1.
        probability: Where 255 times the probability goes, too, of the same formats.
        note: Kept in ``out``; of ``.npy`` in a hidden file beside it.
        progress: Called with (crops done, crops to do). Without, a refiner made with
            ``progress=True`` shows a bar.
        reading: How to read photo and mask where they do not say it: fields of
            :class:`~mmseg_cascadepsp.files.Reading`. ``resize_mask=True`` brings a smaller mask,
            which is read whole, to the size of the photo.

    Raises:
        OSError: a file cannot be read or written, or another run is writing ``out``; TIFF without
            the extra ``huge``.
        ValueError: photo and mask of other sizes, a bad setting, an output that is another of the
            files.
    """
    out = Path(out)
    check_format('out', out)  # before hours of work
    check_format('probability', probability or out)
    if not 0 <= threshold < 1:
        raise InvalidValueError(f'threshold must be at least 0 and below 1, got {threshold}.')
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
            coarse = _EnlargedMask(coarse, photo.shape)
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
        if probability is not None:
            write_result(probability, values, geo=photo.geo)
        cut = np.memmap(folder / MASK, np.uint8, 'w+', shape=photo.shape)
        for start, stop in row_ranges(photo.shape):
            cut[start:stop] = (values[start:stop] > 255 * threshold) * np.uint8(255)
        write_result(out, cut, {'mmseg_cascadepsp': note} if note else None, photo.geo)
        del values, cut  # some systems keep files that are mapped
        _clear(folder)  # before another run may begin


@contextmanager
def _alone(folder: Path, out: Path) -> Iterator[None]:
    """Make the hidden folder, and keep other runs out of it; a run that is killed lets go."""
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
    """Delete what a run made, and nothing else; the lock stays."""
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
                outputs = _global_outputs(network, photo, coarse, settings, strides)
                with atomic_open(folder / GLOBAL) as stored:
                    np.savez(stored, **{str(key): value for key, value in outputs.items()})
            if settings.with_local_step(photo.shape):
                rows = _local_rows(network, photo, outputs, settings, start, progress)
            else:
                rows = _enlarged_rows(outputs[network.strides[-1]], photo.shape, settings, start)
        for values in rows:
            file.write((values * 255).to(torch.uint8).numpy().tobytes())
            file.flush()


def _read_state(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _read_outputs(path: Path, strides: Sequence[int]) -> dict[int, Tensor] | None:
    """What :func:`_global_outputs` gave the run before; None where the file is damaged."""
    try:
        with np.load(path) as stored:
            outputs = {stride: torch.from_numpy(stored[str(stride)]) for stride in strides}
    except Exception:  # of a damaged archive: BadZipFile, EOFError, KeyError, zlib.error and more
        return None
    return outputs if all(value.ndim == 4 for value in outputs.values()) else None


def _global_outputs(
    network: Network,
    photo: ImageRows,
    mask: MaskRows,
    settings: CascadeSettings,
    strides: Sequence[int],
) -> dict[int, Tensor]:
    """Outputs of the Global step, stride -> (1, 1, h, w), of the ``strides`` wanted. Without a
    Local step the finest one has its final values, at the size the network saw or at the photo's
    if that is smaller.
    """
    last = not settings.with_local_step(photo.shape)
    if max(photo.shape) <= settings.L:  # small enough for the core
        image, whole = _whole(photo), _whole(mask)
        if last:
            probability = refine(network, image, whole, settings)
            return {network.strides[-1]: probability[None, None]}
        return global_step(network, image, whole, settings, final=strides)
    if settings.steps == 'local':
        raise InvalidValueError(
            "steps must not be 'local' for a photo refined by rows: its Local step starts "
            'from what the Global step found.'
        )
    image, whole = shrink(photo, settings.L), shrink(mask, settings.L) * 2 - 1
    return run_global(network, image, whole, settings, final=strides, last=last)


def _enlarged_rows(
    probability: Tensor, shape: tuple[int, int], settings: CascadeSettings, start: int
) -> Iterator[Tensor]:
    """The Global step's probability at the photo's size, from row ``start`` on."""
    if tuple(probability.shape[-2:]) == tuple(shape):
        yield probability[0, 0, start:]
        return
    corners = settings.compat == 'release'
    for top, bottom in row_ranges(shape, 4):
        if bottom > start:
            box = Box(max(top, start), 0, bottom, shape[1])
            yield resize_window(probability, shape, box, corners)


def _local_rows(
    network: Network,
    photo: ImageRows,
    coarse: dict[int, Tensor],
    settings: CascadeSettings,
    start: int,
    progress: Progress,
) -> Iterator[Tensor]:
    """The Local step from top to bottom: rows, (n, W), from ``start`` on, as soon as no crop
    changes them.
    """
    size = height, width = photo.shape
    finest = network.strides[-1]
    crops = local_crops(coarse, size, settings)
    todo = [crop for crop in crops if crop.inner.bottom > start]
    sums, window = _Sums(start, width), _Window(photo)

    def finished(bottom: int) -> Iterator[Tensor]:
        for top, stop in strips(sums.first, bottom, width):
            values, weight = sums.pop(stop)
            average(values, weight, coarse[finest], size, Box(top, 0, stop, width), True)
            yield values

    refined = refine_crops(network, window.cut, coarse, size, settings, todo, last=True)
    for done, (crop, outputs) in enumerate(refined, len(crops) - len(todo) + 1):
        # Few rows at a time would be copied often.
        if crop.inner.top - sums.first >= settings.L // 8:
            yield from finished(crop.inner.top)
        sums.add(crop, outputs[finest])
        progress(done, len(crops))
    yield from finished(height)


class _Sums:
    """Sums over the crops, of the rows that are not finished: a window that moves down."""

    def __init__(self, first: int, width: int) -> None:
        self.first = first
        self.values = torch.zeros(0, width)
        self.weight = torch.zeros(0, width, dtype=torch.int16)

    def _grow(self, bottom: int) -> None:
        more = (0, 0, 0, bottom - self.first - len(self.weight))
        if more[-1] > 0:
            self.values, self.weight = F.pad(self.values, more), F.pad(self.weight, more)

    def add(self, crop: Crop, output: Tensor) -> None:
        """Add the output of a crop's inner box; rows that are finished are left out."""
        top, left, bottom, right = crop.inner
        kept = max(top, self.first)
        if kept >= bottom:
            return
        self._grow(bottom)
        where = slice(kept - self.first, bottom - self.first), slice(left, right)
        self.values[where] += output[kept - top :]
        self.weight[where] += 1

    def pop(self, bottom: int) -> tuple[Tensor, Tensor]:
        """Sums and weights of the rows up to ``bottom``, which are then finished."""
        self._grow(bottom)
        rows = bottom - self.first
        done = self.values[:rows], self.weight[:rows]
        self.values, self.weight = self.values[rows:].clone(), self.weight[rows:].clone()
        self.first = bottom
        return done


class _EnlargedMask:
    """A mask at the size of its photo, as
    :func:`~mmseg_cascadepsp.files.arrays.resized_mask` gives it, by rows.
    """

    def __init__(self, mask: MaskRows, shape: tuple[int, int]) -> None:
        name = f'mask {mask.path}'
        check_turned(name, mask.shape, shape)
        if mask.shape[0] > shape[0] or mask.shape[1] > shape[1]:
            raise InvalidValueError(
                f'{name} of {mask.shape[0]} x {mask.shape[1]} (H x W) is larger than its photo of '
                f'{shape[0]} x {shape[1]}, which is refined by rows: shrink it first.'
            )
        self.shape, self.is_empty, self.is_full = shape, mask.is_empty, mask.is_full
        self._values = torch.from_numpy(mask.soft()).float()[None, None]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows, bool ``(n, W)``."""
        box = Box(start, 0, stop, self.shape[1])
        return (resize_window(self._values, self.shape, box) > 127.5).numpy()


class _Window:
    """The rows of a photo that the last cut needed: cuts from top to bottom read each row once."""

    def __init__(self, photo: ImageRows) -> None:
        self.photo = photo
        self.first, self.rows = 0, np.empty((0, *photo.read(0, 1).shape[1:]), np.uint8)

    def cut(self, box: Box) -> Tensor:
        """(3, h, w) uint8."""
        end = self.first + len(self.rows)
        if not self.first <= box.top <= end:
            self.first, self.rows, end = box.top, self.rows[:0], box.top
        if box.bottom > end:
            new = self.photo.read(end, box.bottom)
            self.rows = np.concatenate([self.rows[box.top - self.first :], new])
            self.first = box.top
        part = self.rows[box.top - self.first : box.bottom - self.first, box.left : box.right]
        return torch.from_numpy(part).permute(2, 0, 1)


def _whole(rows: ImageRows | MaskRows) -> Tensor:
    values = torch.from_numpy(np.require(rows.read(0, rows.shape[0]), None, ['C', 'W']))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def shrink(rows: ImageRows | MaskRows, side: int) -> Tensor:
    """Shrink a photo or mask that is read by rows, by the means of areas.

    Args:
        rows: ``read(start, stop)`` gives rows, (n, W, 3) or (n, W); ``shape`` is (H, W).
        side: Longer side wanted, at most that of ``rows``.

    Returns:
        (C, h, w) float32, equal to
        :func:`~mmseg_cascadepsp.cascade.resize_longer_side` with ``area`` but for rounding.
    """
    (height, width), (new_height, new_width) = rows.shape, resized_sides(*rows.shape, side)
    # Output row i averages the rows from floor(i H / h) to ceil((i + 1) H / h).
    ends = [
        (i * height // new_height, -(-(i + 1) * height // new_height)) for i in range(new_height)
    ]
    parts = []
    per_read = max(1, STRIP_PIXELS * new_height // (width * height))
    for first in range(0, new_height, per_read):
        group = ends[first : first + per_read]
        values = torch.from_numpy(np.require(rows.read(group[0][0], group[-1][1]), None, 'W'))
        values = values[None] if values.ndim == 2 else values.permute(2, 0, 1)
        means = [
            values[:, start - group[0][0] : stop - group[0][0]].float().mean(1)
            for start, stop in group
        ]
        parts.append(F.adaptive_avg_pool2d(torch.stack(means, dim=1), (len(group), new_width)))
    return torch.cat(parts, dim=1)
