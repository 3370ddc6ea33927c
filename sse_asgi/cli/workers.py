"""Several processes of one app behind one port, for the commands that serve."""

import signal
from collections.abc import Callable
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NoReturn

from sse_asgi.asgi import ASGIApp
from sse_asgi.cli import server

LONGEST_START = 60.0
"""Seconds that the workers may take to start."""


def run(
    make_app: Callable[[], ASGIApp],
    *,
    workers: int,
    host: str,
    port: int,
    greet: Callable[[str], str],
) -> int:
    """Serve an app from several processes until the command is stopped, and return the status.

    Args:
        make_app: Makes the app, once in each process; it is pickled on its way there.
        workers: How many processes.
        host: The name or address to listen on.
        port: The port; 0 takes a free one.
        greet: Makes the one line that is printed when all answer, from the URL.

    Raises:
        CommandError: If the address cannot be listened on.
    """
    spawning = get_context("spawn")  # a fork would copy threads' locks
    started = spawning.Semaphore(0)
    signal.signal(signal.SIGTERM, _interrupt)
    with server.listen(host, port) as listener:
        processes: list[BaseProcess] = [
            spawning.Process(
                target=server.serve_on, args=(listener, make_app, started), daemon=True
            )
            for _ in range(workers)
        ]
        try:
            for process in processes:
                process.start()
            if all(started.acquire(timeout=LONGEST_START) for _ in processes):
                print(greet(server.url_of(listener)), flush=True)
                connection.wait([process.sentinel for process in processes])
        except KeyboardInterrupt:
            return 0
        finally:
            _end(processes)
    return 1  # a worker has failed, and has said why


def _end(processes: list[BaseProcess]) -> None:
    """Tell every worker to stop, and wait for it as long as a single server would take."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        if process.pid is not None:
            process.join(2 * server.LONGEST_END)
        if process.is_alive():
            process.kill()


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
