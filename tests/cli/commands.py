"""The command line as a user runs it: in a process of its own."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.servers import ROOT, Running, launch

SSE_ASGI = [sys.executable, "-m", "sse_asgi"]
URL = re.compile(r"http://127\.0\.0\.1:(\d+)\b")


def run(
    *arguments: str, directory: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*SSE_ASGI, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def serving(
    *arguments: str,
    directory: Path,
    environment: dict[str, str] | None = None,
    program: Sequence[str] = SSE_ASGI,
) -> Iterator[Running]:
    """Run a command that serves, on a port that it chooses, for the length of the block."""
    running = launch(
        lambda _: [*program, *arguments, "--port", "0"],
        directory=directory,
        name=arguments[0],
        environment=environment,
        ready=_is_reached,
    )
    try:
        yield running
    finally:
        running.stop()


def _is_reached(running: Running) -> bool:
    """Tell whether the server says its URL and can be reached: workers listen a moment later."""
    said = URL.search(running.log)
    if said is None:
        return False
    running.port = int(said[1])
    try:
        socket.create_connection(("127.0.0.1", running.port)).close()
    except ConnectionRefusedError:
        return False
    return True
