"""`MemoryLog` keeps what has ended for as long as it says, and no more than it says."""

import asyncio
import math
import time

import pytest

from sse_asgi.live import Ending, MemoryLog
from sse_asgi.live.log import BATCH_BYTES

pytestmark = pytest.mark.anyio
DONE = Ending("completed")


async def finished(log, key, events=(), *, keep=60.0):
    await log.create(key, "t", "", keep=keep)
    await log.finish(key, "t", 0, list(events), DONE)


async def test_what_has_ended_is_dropped_on_time_though_nobody_calls():
    log = MemoryLog()
    gone = asyncio.Event()

    class Text(bytes):
        def __del__(self):
            gone.set()

    await finished(log, "g", [Text(b"text")], keep=0.2)
    await finished(log, "h", [b"other"], keep=60.0)
    async with asyncio.timeout(10):
        await gone.wait()
    assert await log.look("h") is not None


def test_what_has_ended_is_dropped_on_time_though_its_event_loop_is_closed():
    log = MemoryLog()
    asyncio.run(finished(log, "g", keep=0.05))
    until = time.monotonic() + 10
    while asyncio.run(log.look("g")) is not None:
        assert time.monotonic() < until
    assert asyncio.run(log.create("g", "new", "", keep=60.0))


async def test_the_first_to_end_need_not_be_the_first_to_go():
    log = MemoryLog()
    await finished(log, "long", keep=60.0)
    await finished(log, "ever", keep=math.inf)
    await finished(log, "short", keep=0.2)
    async with asyncio.timeout(10):
        while await log.look("short") is not None:
            await asyncio.sleep(0.02)
    assert await log.look("long") is not None
    assert await log.look("ever") is not None


async def test_empty_generations_count_and_leave_nothing_behind():
    log = MemoryLog(max_bytes=50_000)
    for number in range(1_000):
        await finished(log, f"g{number}")
    kept = [number for number in range(1_000) if await log.look(f"g{number}") is not None]
    assert kept == list(range(950, 1_000))
    sizes = {name: len(value) for name, value in vars(log).items() if hasattr(value, "__len__")}
    assert max(sizes.values()) == 50, sizes


async def test_a_batch_is_bounded_in_bytes_and_never_empty():
    log = MemoryLog()
    await log.create("g", "t", "", keep=60.0)
    events = [b"x" * 30_000, b"y" * 30_000, b"z" * 30_000, b"w" * (3 * BATCH_BYTES), b"v"]
    await log.append("g", "t", 0, events)
    after, sizes = 0, []
    while (batch := await log.read("g", "t", after)).events:
        sizes.append(len(batch.events))
        after = batch.last
    assert sizes == [2, 1, 1, 1]
