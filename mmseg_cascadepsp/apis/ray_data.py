"""Refining two folders on a cluster with Ray (the extra ``ray``)."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mmseg_cascadepsp.cascade import CascadeSettings
from mmseg_cascadepsp.errors import InvalidValueError, MissingPackageError
from mmseg_cascadepsp.files.folder_run import Report, check_run, process_pair, run_settings
from mmseg_cascadepsp.files.pairs import Pair, find_pairs
from mmseg_cascadepsp.files.run_options import RunOptions
from mmseg_cascadepsp.models.refiner.zoo import is_name

from .refiner import Refiner


class _Worker:
    """Lives in a process of the cluster and holds one refiner."""

    def __init__(self, refiner: Mapping[str, Any], pairs: list[Pair], options: RunOptions) -> None:
        self.refiner, self.pairs, self.options = Refiner(**refiner), pairs, options
        self.settings = run_settings(self.refiner, options)

    def __call__(self, row: dict) -> dict:
        pair = self.pairs[int(row['id'])]
        state, sentence = process_pair(self.refiner, self.settings, pair, self.options)
        return {'name': pair.name, 'state': state, 'sentence': sentence}


def refine_files_with_ray(
    refiner: Mapping[str, Any],
    images: str | os.PathLike,
    masks: str | os.PathLike,
    out: str | os.PathLike,
    *,
    workers: int,
    cpus: float = 1,
    gpus: float = 0,
    **options: Any,
) -> Report:
    """Refine the pairs of two folders on a Ray cluster, as
    :func:`~mmseg_cascadepsp.apis.refine_files` does in one process.

    The cluster is that of ``RAY_ADDRESS`` or of ``ray.init``, or else one on this machine. All its
    machines must see the folders under the same paths.

    Args:
        refiner: Arguments of :class:`~mmseg_cascadepsp.Refiner`, and settings such as ``L``. Each
            worker makes its own refiner.
        images, masks, out: As of ``refine_files``. A pair fails if its output was made by another
            refiner.
        workers: Number of processes.
        cpus: Cores of each process, which is also the number of its threads.
        gpus: Share of a GPU for each process.
        options: Fields of :class:`~mmseg_cascadepsp.files.run_options.RunOptions`.

    Returns:
        Names of what was refined, skipped, and what failed.

    Raises:
        MissingPackageError: Ray is not installed.
        FileError, InvalidTypeError, InvalidValueError: As ``refine_files``.

    Example:
        >>> from mmseg_cascadepsp.apis import refine_files_with_ray
        >>> paths = 'photos', 'masks', 'out'
        >>> report = refine_files_with_ray({'model': 'lite'}, *paths, workers=16)  # doctest: +SKIP
    """
    ray = import_ray('refine_files_with_ray', workers)
    choices = RunOptions(**options)
    names = {field.name for field in fields(CascadeSettings)} - {'guided_filter'}
    CascadeSettings(
        **{name: refiner[name] for name in names & refiner.keys()}
    )  # raises errors now, before work begins
    pairs, faults, lone = find_pairs(*(absolute(path) for path in (images, masks, out)))
    # Only the workers know the refiner's other settings.
    known = {name: str(refiner[name]) for name in ('L', 'steps') if name in refiner}
    check_run(pairs, {**known, 'threshold': choices.threshold}, choices, partial=True)
    # Many small blocks: a worker that is done takes the next one.
    rows = ray.data.range(len(pairs), override_num_blocks=min(len(pairs), 16 * workers))
    rows = rows.map(
        _Worker,
        fn_constructor_args=(everywhere(refiner), pairs, choices),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    report = Report(failed=faults, without_mask=lone)
    for row in sorted(rows.take_all(), key=lambda row: row['name']):
        if row['state'] in ('failed', 'kept'):
            getattr(report, row['state'])[row['name']] = row['sentence']
        else:
            getattr(report, row['state']).append(row['name'])
    return report


def import_ray(name: str, workers: int):
    """Import Ray.

    Args:
        name: The function that needs it, for the message.
        workers: Its number of workers, which is checked.

    Returns:
        The module.

    Raises:
        MissingPackageError: Ray is not installed.
        InvalidValueError: There are no workers.

    Example:
        >>> ray = import_ray('refine_files_with_ray', 4)  # doctest: +SKIP
    """
    try:
        import ray.data
    except ImportError as error:
        raise MissingPackageError(
            f'{name} needs Ray: pip install "ray[data]" (the extra "ray").'
        ) from error
    if workers < 1:
        raise InvalidValueError(f'workers must be at least 1, got {workers}.')
    return ray


def everywhere(refiner: Mapping) -> dict:
    """Arguments of a Refiner, with absolute paths.

    Args:
        refiner: The arguments.

    Example:
        >>> everywhere({'model': 'lite', 'L': 500})
        {'model': 'lite', 'L': 500}
    """
    found = dict(refiner)
    for key in ('model', 'checkpoint'):
        path = found.get(key)
        if isinstance(path, (str, os.PathLike)) and not is_name(path) and os.path.isfile(path):
            found[key] = absolute(path)
    return found


def absolute(path: str | os.PathLike) -> str:
    """An absolute path: workers run in another folder. An ending slash stays.

    Example:
        >>> absolute('out/') == os.path.abspath('out') + '/'
        True
    """
    ending = os.sep if str(path).endswith(('/', os.sep)) else ''
    return os.path.abspath(path) + ending
