"""One uvicorn for the commands that serve: it says where, and ends cleanly."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.synchronize import Semaphore

import uvicorn

from sse_asgi.asgi import ASGIApp
from sse_asgi.cli.errors import CommandError

LONGEST_END = 6.0
"""Seconds after which connections that are still open are dropped when the command is stopped:
a little more than `Shutdown` gives a stream by default."""


def run(app: ASGIApp, *, host: str, port: int, greet: Callable[[str], str]) -> int:
    """Serve an app until the command is stopped, and return the exit status.

    Args:
        app: The ASGI application.
        host: The name or address to listen on.
        port: The port; 0 takes a free one.
        greet: Makes the one line that is printed when the server answers, from its URL.

    Raises:
        CommandError: If the address cannot be listened on.
    """
    listener = listen(host, port)
    greeting = greet(url_of(listener))
    server = _Server(_configure(app), lambda: print(greeting, flush=True))
    try:
        with listener:
            server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn has ended cleanly, then says what ended it
        return 0
    return 0 if server.started else 1


def serve_on(listener: socket.socket, make_app: Callable[[], ASGIApp], started: Semaphore) -> None:
    """Serve an app in a process of its own, on a socket that others share.

    Args:
        listener: The socket.
        make_app: Makes the app.
        started: Released when the server answers.
    """
    with suppress(KeyboardInterrupt):  # uvicorn has ended cleanly, then says what ended it
        _Server(_configure(make_app()), started.release).run(sockets=[listener])


def _configure(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(app, log_level="warning")


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        CommandError: If that cannot be done.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server((str(address[0]), port), family=family)
    except (OSError, UnicodeError) as error:
        # socket.create_server adds "(while attempting to bind …)", which the message says already
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
        raise CommandError(f"cannot listen on {host} port {port}: {reason}", status=1) from error


def url_of(listener: socket.socket) -> str:
    """Give a URL for a browser on this machine, also where the server listens on every address."""
    bound, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, str(bound))  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Event streams end by their own `Shutdown`. For what does not, uvicorn's time limit would
        # cancel it, with a traceback for each; a connection that goes is an ordinary end.
        late = asyncio.get_running_loop().call_later(LONGEST_END, self._drop_connections)
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    def _drop_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
