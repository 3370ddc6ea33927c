"""What every Python contestant streams: the same chunks at the same pace.

Settings come from the environment, because the server process is started from outside.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable

BURST_CHUNKS = 500
INTERVAL = float(os.environ.get("BENCH_INTERVAL", "0.02"))  # seconds between paced chunks
ENDINGS = os.environ.get("BENCH_ENDINGS")  # file that learns when a source was ended

TOKENS = tuple(f"token {number}" for number in range(BURST_CHUNKS))


async def burst() -> AsyncIterator[str]:
    """All chunks are ready at once."""
    for token in TOKENS:
        yield token


async def paced() -> AsyncIterator[str]:
    """A chunk each interval, for ever; it carries the moment of its `yield` in nanoseconds."""
    await asyncio.sleep(random.random() * INTERVAL)  # spreads streams that open together
    while True:
        yield str(time.monotonic_ns())
        await asyncio.sleep(INTERVAL)


async def idle() -> AsyncIterator[str]:
    """One chunk, then silence; the moment of its end goes to the file of endings."""
    try:
        yield "open"
        await asyncio.Event().wait()
    finally:
        if ENDINGS:
            note_ending(ENDINGS)


async def short() -> AsyncIterator[str]:
    """One chunk and the end."""
    yield "token"


def note_ending(path: str) -> None:
    """Append the present moment (CLOCK_MONOTONIC, ns) to `path`."""
    with open(path, "a", encoding="ascii") as endings:  # noqa: PTH123 - nothing slower here
        endings.write(f"{time.monotonic_ns()}\n")


SOURCES: dict[str, Callable[[], AsyncIterator[str]]] = {
    "/burst": burst,
    "/paced": paced,
    "/idle": idle,
    "/short": short,
}
