"""A real redis-server for tests: on a free port, in a temporary directory, nothing on disk."""

import signal
import socket
import subprocess
import tempfile
import time
from typing import Self

from redis.asyncio import Redis


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _required() -> str:
    from tests.conftest import require  # needs pytest, which the benchmarks do without

    return require("redis-server")


class RedisServer:
    """A server that can be killed, paused and started again on the same port.

    Args:
        program: Its path; by default that of this machine.
        options: More of its command line.
    """

    def __init__(self, program: str | None = None, *options: str) -> None:
        self.program = program or _required()
        self.options = options
        self.port = free_port()
        self.directory = tempfile.TemporaryDirectory(prefix="sse_asgi-redis-")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """Return a client for a test's own questions; it waits for as long as a busy loop does."""
        return Redis.from_url(self.url, socket_timeout=None, socket_connect_timeout=None)

    @property
    def socket(self) -> str:
        return f"{self.directory.name}/socket"

    def start(self, *configuration: str) -> None:
        self.process = subprocess.Popen(
            [
                self.program, *configuration, "--port", str(self.port), "--bind", "127.0.0.1",
                "--save", "",
                "--appendonly", "no", "--dir", self.directory.name, "--unixsocket", self.socket,
                *self.options,
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError("redis-server does not answer")
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.kill()
        self.directory.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
