"""The refiner behind an address: a queue of requests, HTTP, and a page to try it on."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmseg_cascadepsp.errors import MissingPackageError

#: What the extra ``app`` brings, by the names that are imported.
BROUGHT = 'fastapi', 'fastapi_offline', 'gradio', 'pydantic', 'starlette', 'uvicorn'


@contextmanager
def extra() -> Iterator[None]:
    """Around imports of what the extra ``app`` brings: says how to get what is not installed.

    Raises:
        MissingPackageError: One of these is not installed. Any other fault of an import, such as
            of a version that does not fit, stays as it is.

    Example:
        >>> with extra():
        ...     import uvicorn
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in BROUGHT:
            raise
        raise MissingPackageError(
            f'{error}: the server needs the extra "app": pip install "mmseg_cascadepsp[app]" '
            'brings it.'
        ) from error
