"""A contestant's server: a process on its own core, and what it costs."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from .contestants import ROOT, Contestant, node_modules, server_command

START_DEADLINE = 30.0  # seconds
PAGE = os.sysconf("SC_PAGE_SIZE")


class ServerError(Exception):
    """A contestant's server did not start, died or answered wrongly."""


def cores() -> tuple[int, int]:
    """Return the core for servers and the core for the load (the same if there is one)."""
    allowed = sorted(os.sched_getaffinity(os.getpid()))
    return allowed[0], allowed[-1]


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let processes that are started within, and all that those start, run on `core` only."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def raise_file_limit() -> None:
    """Let this process and its children open as many sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Context manager: serves `contestant` on one core, from a fresh process.

    Args:
        contestant: Whom to serve.
        server: "uvicorn" or "granian"; Node contestants serve themselves.
        core: The core for all its processes and threads.
        environment: Further environment variables of the process.
    """

    def __init__(self, contestant: Contestant, server: str, *, core: int, **environment: str):
        self.contestant = contestant
        self.port = free_port()
        self.command = server_command(contestant, server, self.port)
        self.core = core
        self.environment = os.environ | {"NODE_ENV": "production"} | environment
        if contestant.npm:
            self.environment["BENCH_NODE_MODULES"] = str(node_modules())

    def __enter__(self) -> Self:
        self.log = tempfile.TemporaryFile()
        with on_core(self.core):
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while not answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{self.contestant.name} did not start: {self.output()}")
            time.sleep(0.05)

    def output(self) -> str:
        """Return the last line that the server printed."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")

    def cpu(self) -> float:
        """Return the CPU seconds, user and system, of all processes of this server."""
        return sum(cpu_clock(pid) for pid in family(self.process.pid))

    def rss(self) -> int:
        """Return the bytes of resident memory of all processes of this server."""
        return sum(resident(pid) for pid in family(self.process.pid))


def answers(port: int) -> bool:
    """Tell whether an HTTP server answers on `port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"GET /short HTTP/1.1\r\nHost: bench\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def family(pid: int) -> list[int]:
    """Return `pid` and its descendants: granian serves from a child process."""
    pids = [pid]
    for parent in pids:  # grows while it is walked
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            pids.extend(int(child) for child in children.read_text().split())
    return pids


def cpu_clock(pid: int) -> float:
    """Return the CPU seconds that `pid` has used, all threads, user and system.

    This is the sum of utime and stime in /proc/PID/stat, read from the POSIX CPU clock of the
    process: in nanoseconds, where stat has ticks of 10 ms.
    """
    process_clock = ~pid << 3 | 2  # what clock_getcpuclockid(3) returns on Linux
    return time.clock_gettime(process_clock)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
