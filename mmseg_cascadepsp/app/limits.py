"""What a request may bring, and how long it may take to come."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.errors import InvalidValueError
from mmseg_cascadepsp.files.opening import open_header

from . import extra

with extra():
    from fastapi import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Seconds that the next piece of a request may take.
PATIENCE = 60
#: Pixels times classes of a label map. Each class is looked for in all pixels, and may be held as
#: a mask of its own.
MAX_CLASS_PIXELS = 4 * 10**9


@dataclass(frozen=True)
class Limits:
    """What a request may bring.

    Args:
        max_bytes: Of a whole request.
        max_pixels: Of a picture.

    Example:
        >>> Limits(max_pixels=12 * 10**6).max_bytes
        64000000
    """

    max_bytes: int = 64 * 10**6
    max_pixels: int = 50 * 10**6


class TooLargeError(InvalidValueError):
    """A request exceeds a limit."""


class BodyLimit:
    """ASGI: refuses requests to /v1 of more than ``max_bytes``, as soon as they are, and those
    that do not come.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope['type'] != 'http' or not path_of(scope).startswith('/v1/'):
            await self.app(scope, receive, send)
            return
        declared = dict(scope['headers']).get(b'content-length', b'')
        came, wanted = 0, int(declared) if declared.isdigit() else 0
        whole = False

        async def next_piece() -> Message:
            nonlocal whole
            if whole:  # what comes now is that the client goes away
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), PATIENCE)
            except asyncio.TimeoutError:
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f'nothing more of the request came for {PATIENCE} seconds.',
                    {'Connection': 'close'},
                ) from None
            whole = not message.get('more_body')
            return message

        async def counted() -> Message:
            nonlocal came
            too_large = wanted > self.max_bytes
            if not too_large:
                message = await next_piece()
                came += len(message.get('body', b''))
                too_large = came > self.max_bytes
            if not too_large:
                return message
            # A client that sends all before it listens gets its answer, too, within reason.
            while wanted <= 2 * self.max_bytes and came <= 2 * self.max_bytes:
                message = await next_piece()
                came += len(message.get('body', b''))
                if not message.get('more_body'):
                    break
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f'a request must have at most {self.max_bytes / 1e6:g} MB; send a smaller photo '
                'or a compressed one, or start the server with a larger --max-megabytes.',
            )

        await self.app(scope, counted, send)


def path_of(scope: Scope) -> str:
    """The path of a request, without the one below which a proxy shows the server.

    Example:
        >>> path_of({'path': '/refiner/v1/refine', 'root_path': '/refiner'})
        '/v1/refine'
    """
    return scope['path'].removeprefix(scope.get('root_path', ''))


def keep(uploads: Mapping[str, UploadFile], paths: Mapping[str, Path], limits: Limits) -> None:
    """Write pictures to files, and look at their sizes before anybody unpacks them.

    Args:
        uploads: Name of an argument -> what came.
        paths: Name of an argument -> file to write.
        limits: Those of the server.

    Raises:
        TooLargeError: One has too many pixels.
    """
    for name, path in paths.items():
        with open(path, 'wb') as file:
            shutil.copyfileobj(uploads[name].file, file)
        check_pixels(name, path, limits)


def check_pixels(name: str, path: Path, limits: Limits) -> None:
    """Look at the size of a picture before anybody unpacks it.

    Args:
        name: What it is, for the message.
        path: Its file.
        limits: Those of the server.

    Raises:
        TooLargeError: It has too many pixels.
    """
    try:
        with open_header(path) as picture:
            width, height = picture.size
    except Exception:  # whoever reads it will say what is wrong
        return
    if width * height > limits.max_pixels:
        raise TooLargeError(
            f'{name} has {width} x {height} pixels, and {limits.max_pixels / 1e6:g} megapixels '
            'are the limit; shrink it, or start the server with a larger --max-megapixels.'
        )


def check_classes(name: str, labels: np.ndarray) -> None:
    """Look at how many classes a label map has, which a small file may have in large numbers.

    Args:
        name: What it is, for the message.
        labels: ``(H, W)``, integers.

    Raises:
        TooLargeError: It has too many for its size.

    Example:
        >>> check_classes('labels', np.arange(100).reshape(10, 10))  # says nothing
    """
    most = MAX_CLASS_PIXELS // labels.size
    if int(labels.max()) - int(labels.min()) < most:
        return
    count = len(np.unique(labels))
    if count > most:
        raise TooLargeError(
            f'{name} holds {count} classes, and at its size {most} are the limit; is it a map of '
            'classes? Shrink photo and map, or take classes together.'
        )
