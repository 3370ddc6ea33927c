"""Real ASGI servers in subprocesses, each with its log and a report of what its apps saw.

A test asks for a running server, talks to it through `tests.raw_clients`, and reads what
happened inside from two places: `Running.report`, the lines that `tests.apps` writes to a
file, and `Running.get`, which asks one of its side endpoints.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import require
from tests.raw_clients import Client, Http1, Http2
from tests.report import PATIENCE, Report, wait_for

ROOT = Path(__file__).resolve().parent.parent
STARTS = 5
IN_USE = re.compile(r"in use|EADDRINUSE|\[Errno 98\]|error while attempting to bind", re.IGNORECASE)
NOISE = re.compile(
    r"Traceback \(most recent call last\)|ExceptionGroup|never retrieved|was never awaited"
    r"|Exception ignored|Task was destroyed|Unhandled|took too long to shut down",
)


@dataclass(frozen=True)
class Server:
    """How one server is started, and what of its behaviour the tests must know."""

    name: str
    module: str
    arguments: str  # with {app} and {port}
    http2: bool = False
    blocks: bool = True  # `send` waits for a client that does not read
    cancellable: bool = True  # a blocked `send` can be cancelled
    lingering: frozenset[str] = frozenset()  # its own tasks, kept a while for closed connections

    def command(self, app: str, port: int) -> list[str]:
        """Return the command line that serves `app` on `port`."""
        arguments = self.arguments.format(app=app, port=port)
        return [sys.executable, "-m", self.module, *arguments.split()]


UVICORN = "{app} --host 127.0.0.1 --port {port} --no-access-log"
# One process, no child: the default child gets no signal when only its parent is signalled.
HYPERCORN = "{app} --bind 127.0.0.1:{port} --workers 0"
HYPERCORN_IDLE = frozenset(  # `keep_alive_timeout` outlives the connection that it was for
    {
        "TCPServer._idle_timeout",
        "EventWrapper.wait",
        "worker_serve.<locals>._server_callback",
        "hypercorn.trio.tcp_server.TCPServer._idle_timeout",
        "trio._highlevel_serve_listeners._run_handler",
    }
)
GRANIAN = "{app} --host 127.0.0.1 --port {port} --interface asgi --workers 1"

SERVERS = {
    server.name: server
    for server in (
        Server("uvicorn-h11", "uvicorn", UVICORN + " --http h11 --loop asyncio"),
        Server("uvicorn-httptools", "uvicorn", UVICORN + " --http httptools --loop uvloop"),
        Server(
            "hypercorn-asyncio",
            "hypercorn",
            HYPERCORN + " --worker-class asyncio",
            lingering=HYPERCORN_IDLE,
        ),
        Server(
            "hypercorn-trio",
            "hypercorn",
            HYPERCORN + " --worker-class trio",
            cancellable=False,
            lingering=HYPERCORN_IDLE,
        ),
        Server(
            "hypercorn-h2c",
            "hypercorn",
            HYPERCORN + " --worker-class asyncio",
            http2=True,
            blocks=False,
            lingering=HYPERCORN_IDLE,
        ),
        Server("granian", "granian", GRANIAN + " --http 1 --loop uvloop"),
        Server("granian-h2c", "granian", GRANIAN + " --http 2 --loop asyncio", http2=True),
        Server("daphne", "daphne", "{app} -b 127.0.0.1 -p {port}", blocks=False),
    )
}


@dataclass
class Running:
    """A server that answers, until it is stopped."""

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path
    report: Report
    name: str
    http2: bool = False
    token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def noise(self, since: int = 0) -> list[str]:
        """Return the lines of the log, from offset `since`, that no good server writes."""
        return [line for line in self.log[since:].splitlines() if NOISE.search(line)]

    def connect(self, *, receive_buffer: int | None = None) -> Client:
        """Open a connection that speaks this server's version of HTTP."""
        return (Http2 if self.http2 else Http1)(self.port, receive_buffer=receive_buffer)

    def open(self, path: str, *, receive_buffer: int | None = None, **request: Any) -> Client:
        """Send a request on a connection of its own."""
        client = self.connect(receive_buffer=receive_buffer)
        client.request(path, **request)
        return client

    def get(self, path: str, *, within: float = PATIENCE) -> Any:
        """Return the JSON that a side endpoint answers on a connection of its own."""
        with self.open(path) as client:
            assert client.read_status(within=within) == 200, client.body
            return json.loads(client.read_all(within=within))

    def signal(self, number: int, *, group: bool = False) -> None:
        """Signal the server's first process, or all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)

    def stop(self, *, within: float = 3.0, by_force: bool = False) -> None:
        """End all of the server's processes, by force after `within` seconds or at once."""
        if not by_force:
            self.signal(signal.SIGTERM, group=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(within)
        self.signal(signal.SIGKILL, group=True)
        self.process.wait()


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def says_its_token(running: Running) -> bool:
    """Tell whether our own process answers, not another that took the port."""
    with running.open("/ready") as client:
        return client.read_all(within=1.0) == running.token.encode()


def launch(
    command: Callable[[int], list[str]],
    *,
    directory: Path,
    name: str = "server",
    http2: bool = False,
    environment: dict[str, str] | None = None,
    ready: Callable[[Running], bool] = says_its_token,
    within: float = 20.0,
) -> Running:
    """Start a server and wait until it answers.

    A port that another process took between our look and the server's `bind` is no failure:
    the server starts again on another one.
    """
    for _ in range(STARTS):
        running = _start(command, directory, name, http2, environment or {})
        try:
            wait_for(lambda: _answers(running, ready), within=within, what=f"{name} answers")  # noqa: B023 - called at once
        except BaseException as error:
            running.stop()
            if isinstance(error, _ExitedError) and IN_USE.search(running.log):
                continue
            raise AssertionError(f"{name} did not start:\n{running.log}") from error
        return running
    raise AssertionError(f"{name} found no free port in {STARTS} starts")


class _ExitedError(Exception):
    """The server's process ended before it answered."""


def _answers(running: Running, ready: Callable[[Running], bool]) -> bool:
    if running.process.poll() is not None:
        raise _ExitedError(running.process.returncode)
    try:
        return ready(running)
    except (OSError, AssertionError):
        return False


def _start(
    command: Callable[[int], list[str]],
    directory: Path,
    name: str,
    http2: bool,
    environment: dict[str, str],
) -> Running:
    port, token = free_port(), secrets.token_hex(8)
    stem = directory / f"{name}-{port}"
    log, report = stem.with_suffix(".log"), stem.with_suffix(".jsonl")
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(directory)]),
        "PYTHONUNBUFFERED": "1",
        "SSE_TEST_REPORT": str(report),
        "SSE_TEST_TOKEN": token,
        **environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(port),
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(process, port, log, Report(report), name, http2, token)


@contextlib.contextmanager
def serve(
    server: Server,
    *,
    directory: Path,
    app: str = "tests.apps:app",
    ready: Callable[[Running], bool] = says_its_token,
    environment: dict[str, str] | None = None,
) -> Iterator[Running]:
    """Serve an app by one of `SERVERS` for the length of the block."""
    require(server.module)
    running = launch(
        lambda port: server.command(app, port),
        directory=directory,
        name=server.name,
        http2=server.http2,
        environment=environment,
        ready=ready,
    )
    try:
        yield running
    finally:
        # uvicorn takes a fifth of a second to end well, which nobody looks at here.
        running.stop(by_force=server.module == "uvicorn")
