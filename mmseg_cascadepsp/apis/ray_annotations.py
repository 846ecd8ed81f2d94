"""Refining a set of annotations on a cluster with Ray (the extra ``ray``)."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from mmseg_cascadepsp.annotations import (
    AnnotationOptions,
    AnnotationReport,
    AnnotationRun,
    ObjectResult,
    Photo,
    open_annotations,
    refined_photos,
)
from mmseg_cascadepsp.errors import FileError, one_line
from mmseg_cascadepsp.kernels import FEW_KERNELS

from .ray_data import absolute, everywhere, import_ray
from .refiner import Refiner


class _Annotator:
    """Lives in a process of the cluster and holds one refiner and the set."""

    def __init__(self, refiner: Mapping[str, Any], paths: tuple, options: AnnotationOptions):
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
    workers: int,
    gpus: float = 0,
    console: Console | None = None,
    **options: Any,
) -> AnnotationReport:
    """Refine a set of annotations on a Ray cluster, as
    :func:`~mmseg_cascadepsp.refine_annotations` does in one process.

    The cluster is that of :func:`~mmseg_cascadepsp.apis.refine_files_with_ray`.

    This process notes beside ``out`` what is done. A worker that dies is started anew.

    Args:
        refiner: Arguments of :class:`~mmseg_cascadepsp.Refiner`. Each worker makes its own.
        annotations, out, console, options: As of ``refine_annotations``.
        workers: Number of processes, with one core each.
        gpus: Share of a GPU for each process.

    Returns:
        What became of every object.

    Raises:
        MissingPackageError: Ray is not installed.
        FileError, InvalidTypeError, InvalidValueError: As ``refine_annotations``.

    Example:
        >>> from mmseg_cascadepsp.apis.ray_annotations import refine_annotations_with_ray
        >>> report = refine_annotations_with_ray(  # doctest: +SKIP
        ...     {'model': 'lite'}, 'coco.json', out='refined.json', workers=16
        ... )
    """
    ray = import_ray('refine_annotations_with_ray', workers)
    choices = AnnotationOptions.of(options)
    images = choices.images
    open_annotations(annotations, images)  # raises errors now, before work begins
    paths = absolute(annotations), None if images is None else absolute(images)
    limits = dict(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=2)
    make = ray.remote(**limits, runtime_env={'env_vars': FEW_KERNELS})(_Annotator)
    actors = [make.remote(everywhere(refiner), paths, choices) for _ in range(workers)]
    try:
        settings = ray.get(actors[0].settings.remote())
        run = AnnotationRun(settings, annotations, out, choices, console)
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
