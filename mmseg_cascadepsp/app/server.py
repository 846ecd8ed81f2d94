"""The refiner over HTTP: forms with pictures in, masks out, every error a problem document."""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from mmseg_cascadepsp.annotations.masks import run_lengths
from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.apis.inputs import read_inputs
from mmseg_cascadepsp.errors import (
    BusyError,
    DeviceMemoryError,
    InvalidValueError,
    TimeLimitError,
    UserError,
    one_line,
)
from mmseg_cascadepsp.files.masks import read_labels
from mmseg_cascadepsp.files.photos import read_image
from mmseg_cascadepsp.files.writing import encode_png
from mmseg_cascadepsp.version import __version__

from . import extra
from .batches import Kind
from .forms import ARGUMENTS, PhotoForm, RefineForm, SemanticForm
from .jobs import Job, JobQueue
from .limits import BodyLimit, Limits, TooLargeError, check_classes, keep

with extra():
    from fastapi import FastAPI, Form, Request, Response, UploadFile
    from fastapi.exceptions import RequestValidationError
    from fastapi_offline import FastAPIOffline
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException

PROBLEM = 'application/problem+json'
#: Seconds between looks at whether a client is still there.
LOOK = 0.1
#: Status of a request whose client has gone away, as nginx logs it.
CLIENT_GONE = 499


#: What both kinds of requests answer, for the documentation.
_ANSWERS: dict[str, Any] = {
    'response_class': Response,
    'responses': {
        200: {
            'description': 'The result.',
            'content': {'image/png': {}, 'application/json': {}},
        },
        **{
            status: {'description': text, 'content': {PROBLEM: {}}}
            for status, text in {
                413: 'More bytes, pixels or classes than the limit.',
                422: 'An argument cannot be used; `detail` says why, `argument` names it.',
                503: 'Too many requests wait; `Retry-After` says when to try again.',
                504: 'The refinement takes longer than the limit.',
            }.items()
        },
    },
}


def create_app(
    models: Mapping[str, Refiner], queue: JobQueue, limits: Limits | None = None
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        models: Refiners by the names that requests give. The first is the default.
        queue: Where refinements wait. It is closed when the server ends.
        limits: What a request may bring.

    Returns:
        The application. ``/docs`` describes what it takes.

    Raises:
        MissingPackageError: The extra ``app`` is not installed, when this module is imported.

    Example:
        >>> with JobQueue() as queue:
        ...     app = create_app({'lite': Refiner('lite')}, queue)
        >>> app.title
        'mmseg-cascadepsp'
    """
    limits = limits or Limits()
    told = [
        {'name': name, 'default': index == 0, 'settings': refiner.settings()}
        for index, (name, refiner) in enumerate(models.items())
    ]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(queue.close)

    app = FastAPIOffline(  # its documentation loads nothing from elsewhere
        title='mmseg-cascadepsp',
        description='Masks whose boundaries follow the photo.',
        version=__version__,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.queue = queue
    app.add_middleware(BodyLimit, max_bytes=limits.max_bytes)
    for kind in (
        UserError,
        RequestValidationError,
        HTTPException,
        MemoryError,
        OSError,
        Exception,
    ):
        app.add_exception_handler(kind, _problem)

    def chosen(form: PhotoForm) -> tuple[Refiner, Kind]:
        name = form.model if form.model is not None else next(iter(models))
        if name not in models:
            raise InvalidValueError(
                f'model must be one of {", ".join(map(repr, models))}, got {name!r}.'
            )
        refiner = models[name].with_settings(**form.changes())
        return refiner, Kind(name, refiner.cascade, refiner.network.device)

    async def answer(
        request: Request,
        uploads: Mapping[str, UploadFile],
        kind: Kind,
        call: Callable[..., Response],
    ) -> Response:
        with tempfile.TemporaryDirectory(prefix='mmseg-cascadepsp-') as folder:
            request.state.folder = folder + os.sep
            # Named by the server: what a client calls its file is not looked at.
            paths = {name: Path(folder, name) for name in uploads}
            await run_in_threadpool(keep, uploads, paths, limits)
            job = queue.submit(lambda job: call(job, **paths), kind)
            response = await _ended(request, job)
        if job.warnings:
            told = [_without_folder(text, request) for text in job.warnings]
            response.headers['Refiner-Warnings'] = json.dumps(told)
        return response

    @app.get('/healthz', summary='Whether the server works, and how many requests wait')
    async def healthz() -> dict[str, Any]:
        waiting = queue.waiting()
        return {'status': 'ok', 'version': __version__, 'waiting': waiting, 'room': queue.size}

    @app.get('/v1/models', summary='The refiners that requests may name')
    async def list_models() -> list[dict[str, Any]]:
        return told

    @app.post('/v1/refine', summary='Refine the mask of an object', **_ANSWERS)
    async def refine(
        request: Request, form: Annotated[RefineForm, Form(media_type='multipart/form-data')]
    ) -> Response:
        (refiner, kind), reading = chosen(form), form.reading()
        output = form.output or ('rle' if _wants_json(request) else 'mask')

        def call(job: Job, image: Path, mask: Path) -> Response:
            pixels, masks = read_inputs(image, mask, reading, resize_mask=form.resize_mask)
            refined = job.watch(refiner).refine(pixels, masks[0], threshold=form.threshold)
            if output == 'probability':
                return _png(refined)
            refined = refined > 255 * form.threshold
            return _json(_run_lengths(refined)) if output == 'rle' else _png(refined)

        return await answer(request, {'image': form.image, 'mask': form.mask}, kind, call)

    @app.post('/v1/refine_semantic', summary='Refine a label map', **_ANSWERS)
    async def refine_semantic(
        request: Request, form: Annotated[SemanticForm, Form(media_type='multipart/form-data')]
    ) -> Response:
        (refiner, kind), arguments = chosen(form), form.arguments()
        output = form.output or ('rle' if _wants_json(request) else 'labels')

        def call(job: Job, image: Path, labels: Path) -> Response:
            pixels, ids = read_image(image, form.exif), read_labels(labels)
            check_classes('labels', ids)
            refined = job.watch(refiner).refine_semantic(pixels, ids, **arguments)
            if output == 'labels':
                return _png(refined)
            parts = [{'id': int(i), **_run_lengths(refined == i)} for i in np.unique(refined)]
            return _json({'classes': parts})

        uploads = {'image': form.image, 'labels': form.labels}
        return await answer(request, uploads, kind, call)

    return app


async def _ended(request: Request, job: Job) -> Response:
    """What a job gives, unless its client goes away, which gives it up."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    job.future.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    try:
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), LOOK)
            except asyncio.TimeoutError:
                if await request.is_disconnected():
                    return Response(status_code=CLIENT_GONE)  # nobody gets it
        return job.result()
    except CancelledError:
        raise BusyError('the server is being shut down.', retry_after=10) from None
    finally:
        job.cancel()


async def _problem(request: Request, error: Exception) -> Response:
    """Any error as a problem document (RFC 9457), with the name of the argument in it."""
    status, headers, argument = HTTPStatus.INTERNAL_SERVER_ERROR, {}, None
    detail = told_fault(error)
    if isinstance(error, UserError):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        detail = _without_folder(str(error), request)
        named = re.findall(r'\w+', detail)
        argument = next((word for word in named if word in ARGUMENTS), None)
        if isinstance(error, TooLargeError):
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        elif isinstance(error, BusyError):
            status, argument = HTTPStatus.SERVICE_UNAVAILABLE, None
            headers['Retry-After'] = str(error.retry_after)
        elif isinstance(error, DeviceMemoryError):
            status, headers['Retry-After'] = HTTPStatus.SERVICE_UNAVAILABLE, '60'
        elif isinstance(error, TimeLimitError):
            status, argument = HTTPStatus.GATEWAY_TIMEOUT, None
    elif isinstance(error, RequestValidationError):
        status, first = HTTPStatus.UNPROCESSABLE_ENTITY, error.errors()[0]
        argument = str(first['loc'][-1])
        detail = f'{argument}: {first["msg"]}.'
        if first['type'] == 'extra_forbidden':
            detail = f'there is no argument {argument!r}; /docs lists those there are.'
    elif isinstance(error, HTTPException):
        status, detail = HTTPStatus(error.status_code), error.detail
        headers |= error.headers or {}
    elif isinstance(error, MemoryError | OSError):
        status = HTTPStatus.SERVICE_UNAVAILABLE
        headers['Retry-After'] = '60'
    problem = {'title': status.phrase, 'status': status.value, 'detail': detail}
    if argument is not None:
        problem['argument'] = argument
    return Response(json.dumps(problem), status, headers, PROBLEM)


def told_fault(error: Exception) -> str:
    """What clients are told of an error that they cannot mend.

    Example:
        >>> told_fault(ZeroDivisionError())
        'the server failed at this request, and its log says how.'
    """
    if isinstance(error, MemoryError | OSError):
        return f'the server lacks memory or room for this request: {one_line(error)}.'
    return 'the server failed at this request, and its log says how.'


def _without_folder(text: str, request: Request) -> str:
    """A sentence with the names of arguments in the place of the server's files."""
    folder = getattr(request.state, 'folder', '')
    if not folder or folder not in text:
        return text
    return re.sub(r'\b(\w+) \1\b', r'\1', text.replace(folder, ''))


def _png(pixels: np.ndarray) -> Response:
    return Response(encode_png(pixels), media_type='image/png')


def _json(content: Mapping[str, Any]) -> Response:
    return Response(json.dumps(content), media_type='application/json')


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths: down the columns, background first."""
    return {'size': list(mask.shape), 'counts': run_lengths(mask.ravel(order='F'))}


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get('accept', '')
    return 'application/json' in accepted and 'image/' not in accepted
