"""Refining two folders, or a set of annotations, on a cluster with Ray (the extra ``ray``)."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from mmseg_cascadepsp.annotations import (
    AnnotationOptions,
    AnnotationReport,
    AnnotationRun,
    ObjectResult,
    Photo,
    open_annotations,
    refined_photos,
)
from mmseg_cascadepsp.cascade import CascadeSettings
from mmseg_cascadepsp.compat.memory import keep_few_kernels
from mmseg_cascadepsp.errors import FileError, InvalidValueError, MissingPackageError, one_line
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
    ray = _import_ray('refine_files_with_ray', workers)
    choices = RunOptions(**options)
    names = {field.name for field in fields(CascadeSettings)} - {'guided_filter'}
    CascadeSettings(**{name: refiner[name] for name in names & refiner.keys()})  # told now
    pairs, faults, lone = find_pairs(*(_absolute(path) for path in (images, masks, out)))
    # What the refiner's own settings are, its workers know alone.
    known = {name: str(refiner[name]) for name in ('L', 'steps') if name in refiner}
    check_run(pairs, {**known, 'threshold': choices.threshold}, choices, partial=True)
    # Many small blocks: a worker that is done takes the next one.
    rows = ray.data.range(len(pairs), override_num_blocks=min(len(pairs), 16 * workers))
    rows = rows.map(
        _Worker,
        fn_constructor_args=(_everywhere(refiner), pairs, choices),
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


def _import_ray(name: str, workers: int):
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


class _Annotator:
    """Lives in a process of the cluster and holds one refiner and the set."""

    def __init__(self, refiner: Mapping[str, Any], paths: tuple, options: AnnotationOptions):
        keep_few_kernels()
        self.refiner, self.options = Refiner(**refiner), options
        self.source = open_annotations(*paths)
        self.photos = {photo.key: photo for photo in self.source.photos()}

    def settings(self) -> dict:
        """Those of its refiner."""
        return self.refiner.settings()

    def refine(self, key: str) -> list[ObjectResult] | str:
        """What became of the objects of a photo, or a sentence that says why it failed."""
        photos = [self.photos[key]]
        [(_, found)] = refined_photos(self.refiner, self.source, photos, self.options)
        return one_line(found) if isinstance(found, Exception) else found


def refine_annotations_with_ray(
    refiner: Mapping[str, Any],
    annotations: str | os.PathLike,
    *,
    out: str | os.PathLike,
    images: str | os.PathLike | None = None,
    workers: int,
    gpus: float = 0,
    **options: Any,
) -> AnnotationReport:
    """:func:`~mmseg_cascadepsp.apis.refine_annotations` by the workers of a Ray cluster, which is
    that of :func:`refine_files_with_ray`. This process notes beside ``out`` what is done. A worker
    that dies is started anew.

    Args:
        refiner: Arguments of :class:`~mmseg_cascadepsp.Refiner`. Each worker makes its own.
        annotations, out, images: As of ``refine_annotations``.
        workers: How many processes, of a core each.
        gpus: Share of a GPU of each.
        options: All else that ``refine_annotations`` takes.

    Returns:
        What became of every object.

    Raises:
        ImportError: Ray is not installed.
        OSError, TypeError, ValueError: as ``refine_annotations``.
    """
    ray = _import_ray('refine_annotations_with_ray', workers)
    open_annotations(annotations, images)  # told now
    names = {field.name for field in fields(AnnotationOptions)} & options.keys()
    choices = AnnotationOptions(**{name: options[name] for name in names})
    paths = _absolute(annotations), None if images is None else _absolute(images)
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=2)(_Annotator)
    actors = [make.remote(_everywhere(refiner), paths, choices) for _ in range(workers)]
    try:
        settings = ray.get(actors[0].settings.remote())
        run = AnnotationRun(settings, annotations, out=out, images=images, **options)
        run.take(_by_actors(ray, actors, run.todo))
    finally:
        for actor in actors:
            ray.kill(actor)
    return run.finish()


def _by_actors(ray, actors: list, photos: list[Photo]) -> Iterator[tuple[Photo, Any]]:
    """Give photos to workers one by one, and what became of them as it comes."""
    left, running = iter(photos), {}

    def start(actor) -> None:
        photo = next(left, None)
        if photo is not None:
            running[actor.refine.remote(photo.key)] = actor, photo

    for actor in actors:
        start(actor)
    while running:
        [ready], _ = ray.wait(list(running))
        actor, photo = running.pop(ready)
        try:
            found = ray.get(ready)
        except ray.exceptions.RayError as error:  # it dies of this photo again and again
            found = one_line(error)
        yield photo, FileError(found) if isinstance(found, str) else found
        start(actor)


def _everywhere(refiner: Mapping) -> dict:
    """Arguments of a Refiner whose files are found from any folder."""
    found = dict(refiner)
    for key in ('model', 'checkpoint'):
        path = found.get(key)
        if isinstance(path, (str, os.PathLike)) and not is_name(path) and os.path.isfile(path):
            found[key] = _absolute(path)
    return found


def _absolute(path: str | os.PathLike) -> str:
    """Of this process's folder, which is not that of the workers; an ending slash stays."""
    ending = os.sep if str(path).endswith(('/', os.sep)) else ''
    return os.path.abspath(path) + ending
