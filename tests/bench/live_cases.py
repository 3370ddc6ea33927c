"""The cases of `--live`, each run in a process of its own: `python -m tests.bench.live_cases`.

Viewers are ASGI requests made in process, whose `send` takes everything at once: what is
measured is live's own work, and the event loop's. Redis is a real server over loopback.
"""

import asyncio
import contextlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis

from sse_asgi.live import Ending, Live
from sse_asgi.live.redis import RedisLog

from .contestants import ROOT
from .live import command
from .measures import percentiles
from .server import cpu_clock, on_core

STAMP = re.compile(rb"data: (\d+)")
WARM_UP = 2.0  # seconds
META = '{"owner": null, "started_at": "2026-01-01T00:00:00+00:00"}'
MEMORY_GENERATIONS, MEMORY_CHUNKS = 100, 300
MEMORY_PAUSE = 0.000_5  # seconds: too short to keep, so the loop is never idle
GENERATIONS, RATE = 500, 20
FEW = 50  # generations
REPLAYS, REPLAYED = 100, 20_000_000  # viewers, and bytes that each is sent
SATURATED, BURST = 100, 400  # generations, and the chunks of each
VIEWERS, WATCHED = 1_000, 20


class Meter:
    """Counts the chunks of all sources, and on demand how long they were under way."""

    def __init__(self) -> None:
        self.chunks = 0
        self.seen = 0
        self.delays: list[int] = []
        self.noting = False

    def source(self, rate: float, phase: float) -> Callable[[], AsyncIterator[str]]:
        """Return a source that yields for ever, at a rate; each chunk carries its moment.

        It keeps to its schedule. Were it to wait from chunk to chunk, all sources would soon
        yield at the same moments: those that were late together would stay together.
        """

        async def paced() -> AsyncIterator[str]:
            due = time.monotonic() + phase
            while True:
                await asyncio.sleep(due - time.monotonic())
                due += 1 / rate
                self.chunks += 1
                yield str(time.monotonic_ns())

        return paced

    async def send(self, message: dict[str, Any]) -> None:
        """Take what a viewer is sent."""
        if self.noting:
            now = time.monotonic_ns()
            self.delays += [now - int(stamp) for stamp in STAMP.findall(message.get("body", b""))]

    async def yielding(self, message: dict[str, Any]) -> None:
        """Take what a viewer is sent as a socket does that has room: others have their turn."""
        await asyncio.sleep(0)

    async def count(self, message: dict[str, Any]) -> None:
        """Take what a viewer is sent, and count its events."""
        self.seen += message.get("body", b"").count(b"data: ")


async def never() -> dict[str, Any]:
    """Be the `receive` of a client that stays."""
    return await asyncio.get_running_loop().create_future()


async def look_on(live: Live, key: str, send: Callable[[Any], Awaitable[None]]) -> None:
    scope = {"type": "http", "method": "GET", "path": f"/{key}", "query_string": b"", "headers": []}
    await live(scope, never, send)


async def consume(source: Callable[[], AsyncIterator[str]]) -> None:
    """Do what nobody can do without: step the source."""
    async for _ in source():
        pass


def phase(number: int) -> float:
    """Spread sources evenly over the interval, in no order."""
    return number * 0.618034 % 1


@contextlib.asynccontextmanager
async def bare(generations: int, rate: float) -> AsyncIterator[Meter]:
    meter = Meter()
    tasks = [
        asyncio.create_task(consume(meter.source(rate, phase(number) / rate)))
        for number in range(generations)
    ]
    try:
        yield meter
    finally:
        await end(tasks)


@contextlib.asynccontextmanager
async def running(
    live: Live, generations: int, rate: float, *, viewers: int
) -> AsyncIterator[Meter]:
    """Start generations one after the other, with viewers each."""
    meter = Meter()
    tasks = []
    try:
        for number in range(generations):
            key = f"g{number}"
            await live.start(meter.source(rate, phase(number) / rate), id=key)
            tasks += [asyncio.create_task(look_on(live, key, meter.send)) for _ in range(viewers)]
            await asyncio.sleep(1 / generations)
        yield meter
    finally:
        await end(tasks)
        await live.aclose(drain=0)


async def end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def cost(meter: Meter, seconds: float, *clocks: Callable[[], float]) -> list[float]:
    """Return the µs a chunk that each clock counts."""
    chunks, before = meter.chunks, [clock() for clock in clocks]
    await asyncio.sleep(seconds)
    made = meter.chunks - chunks
    return [(clock() - start) / made * 1e6 for clock, start in zip(clocks, before, strict=True)]


async def delays(meter: Meter, seconds: float) -> dict[str, float]:
    """Return percentiles of the time from a source's `yield` to a viewer's `send`, in ms."""
    meter.noting = True
    await asyncio.sleep(seconds)
    meter.noting = False
    return percentiles(meter.delays)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a case runs.

    Attributes:
        url: The Redis server.
        pid: Its process.
        core: The core for other processes: that of the Redis server.
        seconds: How long to measure.
    """

    url: str
    pid: int
    core: int
    seconds: float

    def log(self) -> RedisLog:
        return RedisLog(self.url, prefix="bench")

    def server_cpu(self) -> float:
        return cpu_clock(self.pid)


# Cases


async def memory(stage: Stage) -> dict[str, float]:
    """What `MemoryLog` adds to the bare source, by the number of viewers.

    In process nothing else is measured, so the least of many short runs is steady.
    """
    least: dict[int | None, float] = {}
    until = time.monotonic() + 4 * stage.seconds
    while time.monotonic() < until:
        for viewers in (None, 0, 1, 3):
            before = time.process_time()
            await one_run(viewers)
            used = (time.process_time() - before) / (MEMORY_GENERATIONS * MEMORY_CHUNKS) * 1e6
            least[viewers] = min(used, least.get(viewers, used))
    floor = least.pop(None)
    return {f"memory_{viewers}": used - floor for viewers, used in least.items()}


async def one_run(viewers: int | None) -> None:
    """Run generations with so many viewers each to their end; without live if it is None."""

    async def source() -> AsyncIterator[str]:
        for number in range(MEMORY_CHUNKS):
            yield f"token {number}"
            await asyncio.sleep(MEMORY_PAUSE)

    if viewers is None:
        await asyncio.gather(*(consume(source) for _ in range(MEMORY_GENERATIONS)))
        return
    live, meter = Live(), Meter()
    started = [await live.start(source) for _ in range(MEMORY_GENERATIONS)]
    await asyncio.gather(
        *(look_on(live, each.id, meter.send) for each in started for _ in range(viewers)),
        *(each.transcript() for each in started),
    )
    await live.aclose()


async def here(stage: Stage) -> dict[str, float]:
    """`RedisLog` with a viewer of each generation in its producer's process."""
    floor = await floor_of(GENERATIONS, RATE, stage.seconds)
    async with running(Live(stage.log()), GENERATIONS, RATE, viewers=1) as meter:
        await asyncio.sleep(WARM_UP)
        chunks, wall = meter.chunks, time.monotonic()
        used, server = await cost(meter, stage.seconds, time.process_time, stage.server_cpu)
        rate = (meter.chunks - chunks) / (time.monotonic() - wall)
        late = await delays(meter, stage.seconds)
    return {"floor": floor, "here": used - floor, "here_redis": server, "here_rate": rate,
            "here_p50": late["p50"], "here_p99": late["p99"]}  # fmt: skip


async def few(stage: Stage) -> dict[str, float]:
    """`RedisLog` with so few generations that hardly two of them share an exchange."""
    floor = await floor_of(FEW, RATE, stage.seconds)
    async with running(Live(stage.log()), FEW, RATE, viewers=1) as meter:
        await asyncio.sleep(WARM_UP)
        (used,) = await cost(meter, stage.seconds, time.process_time)
        late = await delays(meter, stage.seconds)
    return {"few": used - floor, "few_p50": late["p50"], "few_p99": late["p99"]}


async def elsewhere(stage: Stage) -> dict[str, float]:
    """`RedisLog` with a viewer of each generation in another process."""
    floor = await floor_of(GENERATIONS, RATE, stage.seconds)
    async with (
        running(Live(stage.log()), GENERATIONS, RATE, viewers=0) as meter,
        Other("follow", stage) as other,
    ):
        await asyncio.sleep(WARM_UP)
        other.begin()
        used, server = await cost(meter, stage.seconds, time.process_time, stage.server_cpu)
        theirs = await other.figures()
    return {"elsewhere": used - floor, "elsewhere_redis": server, **theirs}


async def follow(stage: Stage) -> dict[str, float]:
    """Be the other process: follow what `elsewhere` starts."""
    live, meter = Live(stage.log()), Meter()
    tasks = [
        asyncio.create_task(look_on(live, f"g{number}", meter.send))
        for number in range(GENERATIONS)
    ]
    await told()
    before, wall = time.process_time(), time.monotonic()
    await asyncio.sleep(stage.seconds)
    used = (time.process_time() - before) / (time.monotonic() - wall) / (GENERATIONS * RATE)
    late = await delays(meter, stage.seconds)
    await end(tasks)
    await live.aclose(drain=0)
    return {"follower": used * 1e6, "elsewhere_p50": late["p50"], "elsewhere_p99": late["p99"]}


async def saturated(stage: Stage) -> dict[str, float]:
    """Sources that only let others run: how much one process stores, and another one follows."""
    live = Live(stage.log())
    rates, server = [], []
    for turn in range(3):
        before, began = stage.server_cpu(), time.monotonic()
        await produce(live, f"{turn}-")
        rates.append(SATURATED * BURST / (time.monotonic() - began))
        server.append((stage.server_cpu() - before) / (SATURATED * BURST) * 1e6)
    async with Other("follow_saturated", stage) as other:
        other.begin()
        before = stage.server_cpu()
        await produce(live, "f-")
        theirs = await other.figures()
        theirs["follow_redis"] = (stage.server_cpu() - before) / (SATURATED * BURST) * 1e6
    await live.aclose()
    return {"append_rate": statistics.median(rates),
            "append_redis": statistics.median(server), **theirs}  # fmt: skip


async def produce(live: Live, prefix: str) -> None:
    """Run generations that yield as fast as they are let."""

    async def source() -> AsyncIterator[str]:
        for number in range(BURST):
            yield f"token {number}"
            await asyncio.sleep(0)

    started = [await live.start(source, id=f"{prefix}{number}") for number in range(SATURATED)]
    for generation in started:
        await generation.transcript()


async def follow_saturated(stage: Stage) -> dict[str, float]:
    """Be the other process: follow what `saturated` starts, from its beginning to its end."""
    live, meter = Live(stage.log()), Meter()
    await told()
    began = time.monotonic()
    await asyncio.gather(*(until_found(live, f"f-{number}", meter) for number in range(SATURATED)))
    rate = meter.seen / (time.monotonic() - began)
    await live.aclose(drain=0)
    return {"follow_rate": rate}


async def until_found(live: Live, key: str, meter: Meter) -> None:
    """View a generation, as soon as there is one."""
    while await live._generations.log.look(key) is None:
        await asyncio.sleep(0.01)
    await look_on(live, key, meter.count)


async def connections(stage: Stage) -> dict[str, float]:
    """How many connections a process needs for a thousand viewers."""
    async with running(Live(stage.log()), WATCHED, RATE, viewers=VIEWERS // WATCHED) as meter:
        await asyncio.sleep(WARM_UP / 2)
        meter.noting = True
        await asyncio.sleep(WARM_UP / 4)
        client = redis.Redis.from_url(stage.url)
        ours = [each for each in client.client_list() if each["name"] == "sse_asgi"]
        client.close()
        (used,) = await cost(meter, stage.seconds / 2, time.process_time)
    return {"connections": len(ours), "crowd": used / (VIEWERS // WATCHED)}


async def replay(stage: Stage) -> dict[str, float]:
    """What other viewers feel of a hundred that replay one large generation in their process."""
    event = b"data: " + b"x" * 992 + b"\n\n"
    log, last = stage.log(), 0
    await log.create("large", "token", META, keep=600.0)
    while last * len(event) < REPLAYED:
        last = (await log.append("large", "token", last, [event] * 60)).tail
    await log.finish("large", "token", last, [], Ending("completed"))
    live = Live(log)
    async with running(live, WATCHED, RATE, viewers=1) as meter:
        await asyncio.sleep(WARM_UP)
        other, before, wall = Meter(), resident(), time.monotonic()
        meter.noting = True
        replays = [
            asyncio.create_task(look_on(live, "large", other.yielding)) for _ in range(REPLAYS)
        ]
        most = before
        while not all(task.done() for task in replays):
            most = max(most, resident())
            await asyncio.sleep(0.05)
        took = time.monotonic() - wall
    return {"replay_p99": percentiles(meter.delays)["p99"],
            "replay_memory": (most - before) / 1e6,
            "replay_rate": REPLAYS * REPLAYED / took / 1e6}  # fmt: skip


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


CASES = {
    case.__name__: case
    for case in (
        memory, few, here, elsewhere, follow, saturated, follow_saturated, connections, replay,
    )
}  # fmt: skip


async def floor_of(generations: int, rate: float, seconds: float) -> float:
    """Return the µs of CPU that a chunk of bare sources costs."""
    async with bare(generations, rate) as meter:
        await asyncio.sleep(WARM_UP / 4)
        (floor,) = await cost(meter, seconds, time.process_time)
    return floor


class Other:
    """Context manager: runs a case in another process, which waits for its `begin`."""

    def __init__(self, case: str, stage: Stage) -> None:
        self.command = command(case, stage.url, stage.pid, stage.core, stage.seconds)
        self.core = stage.core

    async def __aenter__(self) -> Self:
        with on_core(self.core):
            self.process = await asyncio.create_subprocess_exec(
                *self.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        await self.process.stdout.readline()  # it is there
        return self

    async def __aexit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    def begin(self) -> None:
        self.process.stdin.write(b"begin\n")

    async def figures(self) -> dict[str, float]:
        return json.loads(await self.process.stdout.readline())


async def told() -> None:
    """Say that this process is there, and wait until it is to begin."""
    print("there", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    name, url, pid, core, seconds = sys.argv[1:]
    chosen = CASES[name](Stage(url, int(pid), int(core), float(seconds)))
    print(json.dumps(asyncio.run(chosen)), flush=True)
