"""What `coalesce` saves: `python -m tests.bench.joined` gives CPU and bytes of 100 tokens a second.

Fifty clients of a real uvicorn read for some seconds. CPU is that of the server's process, in µs a
token; bytes are those of the response's body on its connection, a token.
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from .contestants import ROOT
from .server import free_port

STREAMS = 50
SECONDS = 4
RATE = 100
WINDOWS = (None, 0.03, 0.1)
TICK = os.sysconf("SC_CLK_TCK")
APP = """
import asyncio, sys
from sse_asgi import EventStream, JSONFraming, TextFraming
from sse_asgi.dialects import ChatCompletions
WORDS = "The quick brown fox jumps over the lazy dog and runs away from it at once ".split()

async def source(request):
    for number in range({tokens}):
        yield WORDS[number % len(WORDS)] + " "
        await asyncio.sleep(1 / {rate})

app = EventStream(source, framing={framing}, coalesce={window})
"""
FRAMINGS = {"TextFraming": "TextFraming()", "ChatCompletions": "ChatCompletions('bench')"}


def measure(framing: str, window: float | None) -> tuple[float, float]:
    """Return µs of CPU and bytes a token."""
    port, tokens = free_port(), SECONDS * RATE
    code = APP.format(tokens=tokens, rate=RATE, framing=framing, window=window)
    arguments = f"app, host='127.0.0.1', port={port}, log_level='error'"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}\nimport uvicorn\nuvicorn.run({arguments})"], cwd=ROOT
    )
    try:
        wait_for(port)
        before = cpu_of(process.pid)
        read = read_all(port)
        cpu = cpu_of(process.pid) - before
    finally:
        process.kill()
        process.wait()
    return cpu * 1e6 / STREAMS / tokens, read / STREAMS / tokens


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("uvicorn does not answer")


def read_all(port: int) -> int:
    """Read every stream to its end, and return the bytes of all."""
    request = b"GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n"
    with ExitStack() as stack:
        wires = []
        for _ in range(STREAMS):
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            wire.sendall(request)
            wires.append(wire)
        time.sleep(SECONDS + 0.5)
        return sum(map(read_one, wires))


def read_one(wire: socket.socket) -> int:
    size = 0
    while data := wire.recv(1 << 20):
        size += len(data)
    return size


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def main() -> None:
    print(f"{'':<18}{'coalesce':>9}{'µs/token':>10}{'bytes/token':>13}")
    for name, framing in FRAMINGS.items():
        for window in WINDOWS:
            cpu, size = measure(framing, window)
            print(f"{name:<18}{window!s:>9}{cpu:>10.1f}{size:>13.1f}")


if __name__ == "__main__":
    main()
