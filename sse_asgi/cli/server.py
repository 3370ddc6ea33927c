"""uvicorn for the commands that serve: it says where, and ends cleanly."""

import asyncio
import inspect
import socket
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Semaphore
from threading import Thread
from typing import Any, Final, TypeAlias, cast

import uvicorn
from uvicorn.supervisors import Multiprocess

from sse_asgi.asgi import ASGIApp
from sse_asgi.cli.options import CommandError

Greet: TypeAlias = Callable[[str], str]
LONGEST_END = 6.0
"""Seconds after which connections that are still open are dropped when the command is stopped:
a little more than `Shutdown` gives a stream by default."""

_LONGEST_START: Final = 60  # seconds until a worker answers its supervisor
_FAILED_START: Final = 3  # the exit status of a worker that uvicorn could not start


def run(app: ASGIApp, *, host: str, port: int, greet: Greet) -> int:
    """Serve an app until the command is stopped, and return the exit status.

    `greet` makes the one line that is printed when the server answers, from its URL. Port 0 takes
    a free one. A `CommandError` says that the address cannot be listened on.
    """
    with _listen(host, port) as listener:
        server = _Server(uvicorn.Config(app, log_level="warning"), greet(_url_of(listener)))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn has ended cleanly, then says what ended it
            return 0
    return 0 if server.started else 1


def run_workers(
    make_app: Callable[[], ASGIApp], workers: int, *, host: str, port: int, greet: Greet
) -> int:
    """Serve an app from several processes, as `run` does; uvicorn replaces one that dies.

    `make_app` makes it in each process, and is pickled on its way there. The line is printed when
    all have made it.
    """
    end = int(LONGEST_END)
    started = get_context("spawn").Semaphore(0)
    app = cast("Any", partial(_make, make_app, started))
    config = uvicorn.Config(app, factory=True, log_level="warning", timeout_graceful_shutdown=end)
    config.workers = workers
    config.timeout_worker_healthcheck = _LONGEST_START
    options: dict[str, Any] = {}
    if "target" in inspect.signature(Multiprocess).parameters:  # an older uvicorn
        options["target"] = uvicorn.Server(config).run
    with _listen(host, port) as listener:
        greeting = greet(_url_of(listener))
        Thread(target=_greet, args=(greeting, started, workers), daemon=True).start()
        supervisor = Multiprocess(config, sockets=[listener], **options)
        supervisor.run()
    return int(any(each.process.exitcode == _FAILED_START for each in supervisor.processes))


def _make(make_app: Callable[[], ASGIApp], started: Semaphore) -> ASGIApp:
    app = make_app()
    started.release()
    return app


def _greet(greeting: str, started: Semaphore, workers: int) -> None:
    for _ in range(workers):
        started.acquire()
    print(greeting, flush=True)


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


def _url_of(listener: socket.socket) -> str:
    """Give a URL for a browser on this machine, also where the server listens on every address."""
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
