"""Followers, stops and leases."""

import asyncio
import math

from sse_asgi.errors import FencedError, LeaseLostError
from sse_asgi.live.log import INTERRUPTED, Ending, Log
from tests.live.conformance.expect import (
    DONE,
    KEEP,
    OpenLog,
    collect,
    expect,
    holds,
    numbered,
    refuses,
    until,
    with_logs,
)


async def wakes_followers(open_log: OpenLog) -> None:
    """Many followers, early and late, near and far, get the same events as they come."""

    async def body(one: Log, two: Log) -> None:
        await one.create("g", "t", "", keep=KEEP)
        wanted = numbered(1, 300)
        tasks: list[asyncio.Task[tuple[bytes, Ending]]] = []
        for number, event in enumerate(wanted):
            if number % 30 == 0:
                log = (one, two)[number // 30 % 2]
                tasks.append(asyncio.create_task(collect(log.follow("g", "t", 0))))
            await one.beat({"g": "t"})
            await one.append("g", "t", number, [event])
            await asyncio.sleep(0.001)
        await one.finish("g", "t", len(wanted), [], DONE)
        for task in tasks:
            expect(await task, (b"|".join(wanted), DONE))

    await with_logs(open_log, 2, body)


async def waits_beyond_the_tail(open_log: OpenLog) -> None:
    """A cursor ahead of the log gets nothing twice: it waits for its place."""

    async def body(log: Log) -> None:
        await log.create("g", "t", "", keep=KEEP)
        await log.append("g", "t", 0, numbered(1, 2))
        task = asyncio.create_task(collect(log.follow("g", "t", 4), 4))
        await asyncio.sleep(0.05)
        await log.append("g", "t", 2, numbered(3, 5))
        await log.finish("g", "t", 5, [], DONE)
        expect(await task, (b"e5", DONE))

    await with_logs(open_log, 1, body)


async def carries_a_stop(open_log: OpenLog) -> None:
    """A stop reaches the producer with the next answer."""

    async def body(one: Log, two: Log) -> None:
        await one.create("g", "t", "", keep=KEEP)
        holds(not (await one.append("g", "t", 0, [b"x"])).stop)
        holds(await two.stop("g"))
        holds(await two.stop("g"))
        holds((await one.beat({"g": "t"}))["g"].stop)
        holds((await one.append("g", "t", 1, [b"y"])).stop)
        await one.finish("g", "t", 2, [], DONE)
        holds(not await two.stop("g"))

    await with_logs(open_log, 2, body)


async def counts_followers(open_log: OpenLog) -> None:
    """The producer learns that somebody follows, and that nobody does any more."""

    async def body(one: Log, two: Log) -> None:
        async def followers() -> tuple[int, bool]:
            lease = (await one.beat({"g": "t"}))["g"]
            return lease.followers, lease.visited

        async def some() -> bool:
            return await followers() == (1, True)

        async def none() -> bool:
            return await followers() == (0, True)

        await one.create("g", "t", "", keep=KEEP)
        expect(await followers(), (0, False))
        await one.append("g", "t", 0, [b"x"])
        batches = two.follow("g", "t", 0)
        await anext(batches)
        waiting = asyncio.create_task(anext(batches))
        await until(some)
        waiting.cancel()
        await asyncio.wait([waiting])
        await batches.aclose()
        await until(none)

    await with_logs(open_log, 2, body)


async def buries_the_dead(open_log: OpenLog) -> None:
    """A producer that falls silent ends as interrupted, for all, and cannot come back."""

    async def body(one: Log, two: Log) -> None:
        if one.lease == math.inf:
            return
        await one.create("g", "t", "", keep=KEEP)
        await one.append("g", "t", 0, [b"x"])
        found = await asyncio.gather(*(collect(log.follow("g", "t", 0)) for log in (one, two, two)))
        expect(found, [(b"x", Ending(INTERRUPTED))] * 3)
        head = await two.look("g")
        expect(head and head.ending, Ending(INTERRUPTED))
        await refuses(LeaseLostError, one.append("g", "t", 1, [b"y"]))
        await refuses(FencedError, one.attach("g", "t", "", keep=KEEP))
        holds(not await two.stop("g"))

    await with_logs(open_log, 2, body)


async def beats_keep_alive(open_log: OpenLog) -> None:
    """A silent producer that beats is not buried, however long it is silent."""

    async def body(one: Log, two: Log) -> None:
        if one.lease == math.inf:
            return
        await one.create("g", "t", "", keep=KEEP)
        await one.create("h", "u", "", keep=KEEP)
        task = asyncio.create_task(collect(two.follow("g", "t", 0)))
        end = asyncio.get_running_loop().time() + one.lease * 2.5
        while asyncio.get_running_loop().time() < end:
            leases = await one.beat({"g": "t", "h": "u"})
            holds(all(lease.held for lease in leases.values()))
            await asyncio.sleep(one.lease / 6)
        holds(not task.done())
        await one.finish("g", "t", 0, [b"x"], DONE)
        expect(await task, (b"x", DONE))

    await with_logs(open_log, 2, body)


async def works_again_after_closing(open_log: OpenLog) -> None:
    """Closing leaves no task behind, and the log can be used again."""

    async def body(log: Log) -> None:
        before = asyncio.all_tasks()
        await log.create("g", "t", "", keep=KEEP)
        batches = log.follow("g", "t", 0)
        await log.append("g", "t", 0, [b"x"])
        expect((await anext(batches)).events[0], b"x")
        await batches.aclose()
        await log.aclose()
        holds(asyncio.all_tasks() <= before)
        expect((await log.append("g", "t", 1, [b"y"])).tail, 2)

    await with_logs(open_log, 1, body)
