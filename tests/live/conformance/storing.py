"""What a log stores, for whom, and for how long."""

import asyncio

from sse_asgi.errors import FencedError, LeaseLostError
from sse_asgi.live.log import LOST, Ack, Batch, Ending, Head, Log
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


async def creates_once(open_log: OpenLog) -> None:
    """Of many concurrent creates one wins, and the winner may ask again."""

    async def body(one: Log, two: Log) -> None:
        won = await asyncio.gather(
            *(log.create("g", f"t{n}", f"m{n}", keep=KEEP) for n, log in enumerate([one, two] * 10))
        )
        expect(sum(won), 1)
        winner = won.index(True)
        expect(await two.look("g"), Head(f"t{winner}", f"m{winner}", 0, None))
        holds(await one.create("g", f"t{winner}", f"m{winner}", keep=KEEP))
        holds(not await one.create("g", "other", "", keep=KEEP))

    await with_logs(open_log, 2, body)


async def knows_nothing_of_other_keys(open_log: OpenLog) -> None:
    """A key that nobody created is unknown to every call."""

    async def body(log: Log) -> None:
        await log.create("g", "t", "", keep=KEEP)
        expect(await log.look("h"), None)
        holds(not await log.stop("h"))
        expect(await log.read("h", "t", 0), Batch(0, (), Ending(LOST)))
        await refuses(LeaseLostError, log.append("h", "t", 0, [b"x"]))
        await refuses(LeaseLostError, log.finish("h", "t", 0, [], DONE))
        lease = (await log.beat({"h": "t"}))["h"]
        holds(not lease.held)

    await with_logs(open_log, 1, body)


async def replays_what_it_stored(open_log: OpenLog) -> None:
    """Every position resumes exactly, in the middle of an append as well."""

    async def body(one: Log, two: Log) -> None:
        await one.create("g", "t", "", keep=KEEP)
        odd = [b"", b"a\nb", b"\x00\xff 1 2\n", b"last"]
        expect((await one.append("g", "t", 0, odd[:1])).tail, 1)
        expect((await one.append("g", "t", 1, odd[1:3])).tail, 3)
        expect((await one.finish("g", "t", 3, odd[3:], DONE)).tail, 4)
        for after in range(5):
            for log in (one, two):
                found = await collect(log.follow("g", "t", after), after)
                expect(found, (b"|".join(odd[after:]), DONE))
        expect(await two.look("g"), Head("t", "", 4, DONE))

    await with_logs(open_log, 2, body)


async def reads_in_bounded_pieces(open_log: OpenLog) -> None:
    """Reading never waits, and many reads join to the whole."""

    async def body(log: Log) -> None:
        await log.create("g", "t", "", keep=KEEP)
        wanted = numbered(1, 3000)
        for start in range(0, 3000, 5):
            if start % 500 == 0:
                await log.beat({"g": "t"})
            await log.append("g", "t", start, wanted[start : start + 5])
        found: list[bytes] = []
        while (batch := await log.read("g", "t", len(found))).events:
            expect((batch.after, batch.ending), (len(found), None))
            found += batch.events
        expect(found, wanted)
        expect(await log.read("g", "t", 10**12), Batch(10**12, batch.events, None))

    await with_logs(open_log, 1, body)


async def repeats_change_nothing(open_log: OpenLog) -> None:
    """Appends and endings whose answers were lost can be sent again, longer than before."""

    async def body(log: Log) -> None:
        await log.create("g", "t", "", keep=KEEP)
        for events in (numbered(1, 2), numbered(1, 2), numbered(1, 4)):
            ack = await log.append("g", "t", 0, events)
            expect(ack.tail, len(events))
        expect((await log.append("g", "t", 1, numbered(2, 3))).tail, 4)
        for _ in range(2):
            expect((await log.finish("g", "t", 4, [b"end"], DONE)).tail, 5)
        found, ending = await collect(log.follow("g", "t", 0))
        expect((found, ending), (b"e1|e2|e3|e4|end", DONE))

    await with_logs(open_log, 1, body)


async def appends_together(open_log: OpenLog) -> None:
    """Many generations append at once, and each gets its own answer."""

    async def body(log: Log) -> None:
        for key in ("g", "h", "i"):
            await log.create(key, "t", "", keep=KEEP)
        answers = await asyncio.gather(
            log.append("g", "t", 0, numbered(1, 2)),
            log.append("h", "stranger", 0, [b"x"]),
            log.append("none", "t", 0, [b"x"]),
            log.append("i", "t", 7, [b"x"]),
            log.append("h", "t", 0, numbered(1, 1)),
            return_exceptions=True,
        )
        expect(
            [type(answer) for answer in answers], [Ack, LeaseLostError, LeaseLostError, Ack, Ack]
        )
        tails = [answer.tail for answer in answers if isinstance(answer, Ack)]
        expect(tails, [2, 0, 1])
        expect((await log.read("g", "t", 0)).events, numbered(1, 2))
        expect((await log.read("h", "t", 0)).events, numbered(1, 1))
        many = await asyncio.gather(*[log.append("g", "t", 2, numbered(3, 3)) for _ in range(600)])
        expect({each.tail for each in many}, {3})

    await with_logs(open_log, 1, body)


async def names_its_tail_at_a_gap(open_log: OpenLog) -> None:
    """Events that do not join are not stored; the producer learns where to go on."""

    async def body(log: Log) -> None:
        await log.create("g", "t", "", keep=KEEP)
        await log.append("g", "t", 0, numbered(1, 2))
        expect((await log.append("g", "t", 5, numbered(6, 7))).tail, 2)
        expect((await log.finish("g", "t", 5, numbered(6, 7), DONE)).tail, 2)
        expect(await log.look("g"), Head("t", "", 2, None))
        expect((await log.beat({"g": "t"}))["g"].tail, 2)

    await with_logs(open_log, 1, body)


async def fences_strangers(open_log: OpenLog) -> None:
    """Only the holder writes, and nobody after the ending."""

    async def body(one: Log, two: Log) -> None:
        await one.create("g", "t", "", keep=KEEP)
        await one.append("g", "t", 0, numbered(1, 1))
        await refuses(LeaseLostError, two.append("g", "u", 1, [b"x"]))
        await refuses(LeaseLostError, two.finish("g", "u", 1, [], DONE))
        await refuses(FencedError, two.attach("g", "u", "", keep=KEEP))
        expect(await one.attach("g", "t", "", keep=KEEP), 1)
        await one.finish("g", "t", 1, [], DONE)
        await refuses(LeaseLostError, one.append("g", "t", 1, [b"x"]))
        await refuses(FencedError, one.attach("g", "t", "", keep=KEEP))
        expect((await one.read("g", "u", 0)).ending, Ending(LOST))
        expect(await collect(one.follow("g", "u", 0)), (b"", Ending(LOST)))

    await with_logs(open_log, 2, body)


async def begins_anew_when_nothing_is_left(open_log: OpenLog) -> None:
    """A producer whose generation the log does not know brings it back from the start."""

    async def body(log: Log) -> None:
        expect(await log.attach("g", "t", "m", keep=KEEP), 0)
        await log.append("g", "t", 0, numbered(1, 2))
        expect(await log.look("g"), Head("t", "m", 2, None))

    await with_logs(open_log, 1, body)


async def finds_by_label(open_log: OpenLog) -> None:
    """A label names the generation that it was given last, in every process."""

    async def body(one: Log, two: Log) -> None:
        for key in ("g", "h"):
            await one.create(key, "t", "", keep=KEEP)
        expect(await two.labelled("chat"), None)
        await one.label("chat", "g", keep=KEEP)
        await one.label("other", "g", keep=KEEP)
        expect(await two.labelled("chat"), "g")
        await two.label("chat", "h", keep=KEEP)
        expect([await one.labelled(label) for label in ("chat", "other")], ["h", "g"])
        await one.finish("h", "t", 0, [b"x"], DONE)
        expect(await two.labelled("chat"), "h")
        expect(await one.labelled("h"), None)

    await with_logs(open_log, 2, body)


async def forgets_after_keep(open_log: OpenLog) -> None:
    """What has ended is readable for `keep` seconds, and then unknown."""

    async def body(log: Log) -> None:
        await log.create("g", "t", "", keep=1.0)
        await log.finish("g", "t", 0, [b"x"], DONE)
        expect(await collect(log.follow("g", "t", 0)), (b"x", DONE))

        async def gone() -> bool:
            return await log.look("g") is None

        await until(gone)
        holds(await log.create("g", "new", "", keep=KEEP))

    await with_logs(open_log, 1, body)
