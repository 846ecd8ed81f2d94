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
    """:func:`~mmseg_cascadepsp.apis.refine_files` by the workers of a Ray cluster: that of
    ``RAY_ADDRESS`` or of ``ray.init``, or one on this machine. All see the folders under the same
    paths.

    Args:
        refiner: Arguments of :class:`~mmseg_cascadepsp.Refiner`, settings such as ``L`` among
            them; each worker makes its own.
        images, masks, out: As of ``refine_files``. An output of another refiner is a failure of
            its pair.
        workers: How many processes.
        cpus: Cores of each; its threads, too.
        gpus: Share of a GPU of each.
        options: Fields of :class:`~mmseg_cascadepsp.files.run_options.RunOptions`.

    Returns:
        Names of what was refined, skipped, and what failed.

    Raises:
        ImportError: Ray is not installed.
        OSError, TypeError, ValueError: as ``refine_files``.
    """
    ray = import_ray('refine_files_with_ray', workers)
    choices = RunOptions(**options)
    names = {field.name for field in fields(CascadeSettings)} - {'guided_filter'}
    CascadeSettings(**{name: refiner[name] for name in names & refiner.keys()})  # told now
    pairs, faults, lone = find_pairs(*(absolute(path) for path in (images, masks, out)))
    # What the refiner's own settings are, its workers know alone.
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
    """Ray, for a function of so many workers."""
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
    """Arguments of a Refiner whose files are found from any folder."""
    found = dict(refiner)
    for key in ('model', 'checkpoint'):
        path = found.get(key)
        if isinstance(path, (str, os.PathLike)) and not is_name(path) and os.path.isfile(path):
            found[key] = absolute(path)
    return found


def absolute(path: str | os.PathLike) -> str:
    """Of this process's folder, which is not that of the workers; an ending slash stays."""
    ending = os.sep if str(path).endswith(('/', os.sep)) else ''
    return os.path.abspath(path) + ending
