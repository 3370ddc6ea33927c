"""The program whose instructions `tests.bench.instructions` counts: one app, one load, no sockets.

Run it as `python -m tests.bench.counted APP LOAD NUMBER`; callgrind reports on the whole process.
So that two runs execute the same instructions, nothing in it depends on how fast the machine is:

- Paced chunks come one by one: a single timer wakes one stream after the other. The next chunk
  comes only when the loop has finished with the last one, however slow callgrind makes it.
- Where chunks are ready at once, each reading of the clock is a microsecond after the one before.
  Otherwise callgrind, some 50 times slower than the machine, would look like a slow source.
"""

import asyncio
import gc
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop

STREAMS = 20
RATE = 50  # chunks a second and stream: the timer of uvloop has a resolution of 1 ms
BURST = 500  # chunks that are ready at once
TOKENS = tuple(f"token {number}" for number in range(BURST))


class Pacer:
    """Wakes its waiting sources in turn, one in each turn of the loop."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._waiting: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._loop.call_later(interval, self._wake)

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.pop(0).set_result(None)
        self._loop.call_later(self._interval, self._wake)

    def turn(self) -> asyncio.Future[None]:
        """Return what is done when the caller's turn has come."""
        self._waiting.append(self._loop.create_future())
        return self._waiting[-1]


async def paced(app_of: Callable[..., Any], serve: Callable[..., Any], number: int) -> None:
    """Serve 20 streams at once, each of `number` chunks."""
    pacer = Pacer(1 / RATE / STREAMS)

    async def source() -> AsyncIterator[str]:
        for token in itertools.islice(itertools.cycle(TOKENS), number):
            await pacer.turn()
            yield token

    await serve(app_of(source), streams=STREAMS, together=True)


async def burst(app_of: Callable[..., Any], serve: Callable[..., Any], number: int) -> None:
    """Serve `number` streams, one after the other, each of 500 chunks that are ready at once."""

    async def source() -> AsyncIterator[str]:
        for token in TOKENS:
            yield token

    await serve(app_of(source), streams=number, together=False)


async def opening(app_of: Callable[..., Any], serve: Callable[..., Any], number: int) -> None:
    """Serve `number` streams, one after the other, each of a single chunk."""

    async def source() -> AsyncIterator[str]:
        yield "token"

    await serve(app_of(source), streams=number, together=False)


LOADS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "paced": paced,
    "burst": burst,
    "opening": opening,
}


def count_the_clocks() -> None:
    """Let every reading of a clock be a microsecond after the one before."""
    time.monotonic = time.perf_counter = itertools.count(1.0, 1e-6).__next__
    time.monotonic_ns = time.perf_counter_ns = itertools.count(10**9, 1_000).__next__


def main(app: str, load: str, number: int) -> None:
    serve_load = LOADS[load]
    if load != "paced":
        count_the_clocks()  # before anything has imported them
    from .guard import ours, raw
    from .stub import serve

    app_of = {"raw": raw, "sse_asgi": ours}[app]
    gc.collect()
    gc.freeze()
    uvloop.run(serve_load(app_of, serve, number))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
