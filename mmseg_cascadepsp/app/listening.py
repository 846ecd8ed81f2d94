"""Where the server listens, how long it waits for requests, and how it ends."""

import asyncio
import socket

from mmseg_cascadepsp.errors import FileError, one_line

from . import extra
from .limits import PATIENCE

with extra():
    import h11
    import uvicorn
    from fastapi import FastAPI
    from starlette.concurrency import run_in_threadpool
    from uvicorn.protocols.http.h11_impl import H11Protocol

#: More connections at once are refused.
MAX_CONNECTIONS = 512


def listen(host: str, port: int) -> socket.socket:
    """Take an address before the work of starting begins.

    Args:
        host: Name or address, IPv4 or IPv6.
        port: 0: any that is free.

    Raises:
        FileError: It is in use, or not of this machine.

    Example:
        >>> with listen('127.0.0.1', 0) as listener:
        ...     listener.getsockname()[0]
        '127.0.0.1'
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise FileError(
            f'{host}:{port} cannot be listened at: {one_line(error)}; choose another --host or '
            '--port, 0 for any that is free.'
        ) from error


def serve(app: FastAPI, listener: socket.socket, root_path: str = '') -> None:
    """Answer requests until the process is asked to end. Those that wait or run then are given up:
    their clients are asked to come back.

    Args:
        app: What :func:`~mmseg_cascadepsp.app.server.create_app` made.
        listener: What :func:`listen` took.
        root_path: Path below which a proxy shows the server.

    Example:
        ``serve(create_app({'lite': Refiner('lite')}, JobQueue()), listen('127.0.0.1', 8000))``
    """
    host, port = listener.getsockname()[:2]
    shown = f'[{host}]' if ':' in host else host
    print(f'http://{shown}:{port} answers; /docs says what. Ctrl-C ends it.', flush=True)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws='none',
        root_path=root_path,
        log_level='warning',
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=2,  # seconds, for answers and open pages
    )
    _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Gives up all refinements before it waits for the answers."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await run_in_threadpool(self.config.app.state.queue.close)
        await super().shutdown(sockets)


class PatientProtocol(H11Protocol):
    """Ends connections on which the head of a request does not come whole in :data:`PATIENCE`
    seconds, which uvicorn keeps for ever.
    """

    _head_is_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client has come."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A piece of a request has come."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone."""
        super().connection_lost(error)
        self._unwatch()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._head_is_due is None:
            self._head_is_due = self.loop.call_later(PATIENCE, self.transport.close)

    def _unwatch(self) -> None:
        if self._head_is_due is not None:
            self._head_is_due.cancel()
            self._head_is_due = None
