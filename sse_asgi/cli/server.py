"""One uvicorn for the commands that serve: it says where, and ends cleanly."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from sse_asgi.cli.errors import CommandError
from sse_asgi.stream.asgi import ASGIApp

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
    listener = _listen(host, port)
    server = _Server(uvicorn.Config(app, log_level="warning"), greet(_url(listener)))
    try:
        with listener:
            server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn has ended cleanly, then says what ended it
        return 0
    return 0 if server.started else 1


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server((str(address[0]), port), family=family)
    except (OSError, UnicodeError) as error:
        # socket.create_server adds "(while attempting to bind …)", which the message says already
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
        raise CommandError(f"cannot listen on {host} port {port}: {reason}", status=1) from error


def _url(listener: socket.socket) -> str:
    """A URL for a browser on this machine, also where the server listens on every address."""
    bound, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, str(bound))  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._greeting, flush=True)

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
