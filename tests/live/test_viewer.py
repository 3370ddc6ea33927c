"""What viewers of one process share, and how much of it a slow one may hold."""

import asyncio
import gc
import math
import tracemalloc

import pytest

from sse_asgi.live import INTERRUPTED, LOST, Batch, Ending, Live, MemoryLog
from sse_asgi.live.log import BATCH_BYTES
from sse_asgi.live.outage import Outage
from sse_asgi.live.viewer import Tail
from sse_asgi.testing import connect
from tests.live.viewers import until, watch

pytestmark = pytest.mark.anyio
SCOPE = {"type": "http", "method": "GET", "query_string": b"", "headers": []}


async def never():
    await asyncio.get_running_loop().create_future()


class Reader:
    """A client that takes so many bodies, and then reads no more."""

    def __init__(self, patience=None):
        self.bodies = []
        self.size = 0
        self.patience = patience

    async def send(self, message):
        if body := message.get("body"):
            self.size += len(body)
            if self.patience is not None:
                self.bodies.append(body)
        if self.patience is not None and len(self.bodies) >= self.patience:
            await never()

    def look_on(self, app, key):
        return asyncio.create_task(app({**SCOPE, "path": f"/{key}"}, never, self.send))


async def end(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("running", [True, False])
async def test_viewers_at_one_position_are_sent_the_same_bytes(where, running):
    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)
    release = asyncio.Event()

    async def source():
        for _ in range(300):
            yield "x" * 1000
        await release.wait()

    generation = await here.start(source, id="g")
    await until(lambda: generation._ended.done() or _last(here, "g") == 300)
    if not running:
        release.set()
        await generation.transcript()
    app = here if where == "here" else elsewhere
    readers = [Reader(patience=2) for _ in range(5)]
    tasks = [reader.look_on(app, "g") for reader in readers]
    await until(lambda: all(len(reader.bodies) == 2 for reader in readers))
    first = readers[0].bodies
    assert all(len(body) <= BATCH_BYTES * 1.1 for body in first)
    assert len(first[1]) > BATCH_BYTES * 0.9
    for reader in readers[1:]:
        assert [one is other for one, other in zip(reader.bodies, first, strict=True)] == [True] * 2
    await end(tasks)
    release.set()
    await here.aclose()
    await elsewhere.aclose()


def _last(live, key):
    return live._generations.producers[key].writer.last


async def test_a_live_chunk_is_encoded_once_for_all_who_wait_for_it():
    live = Live()
    step = asyncio.Event()

    async def source():
        yield "first"
        await step.wait()
        yield "x" * 500
        await never()

    await live.start(source, id="g")
    readers = [Reader(patience=2) for _ in range(4)]
    tasks = [reader.look_on(live, "g") for reader in readers]
    await until(lambda: all(len(reader.bodies) == 1 for reader in readers))
    await asyncio.sleep(0)
    step.set()
    await until(lambda: all(len(reader.bodies) == 2 for reader in readers))
    assert len({id(reader.bodies[1]) for reader in readers}) == 1
    await end(tasks)
    await live.aclose(drain=0)


async def test_a_replay_to_a_client_that_takes_everything_at_once_lets_others_run():
    live = Live()

    async def source():
        for _ in range(1000):
            yield "x" * 8000
        await never()

    await live.start(source, id="g")
    await until(lambda: _last(live, "g") == 1000)
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    reader = Reader()
    tasks = [asyncio.create_task(other()), reader.look_on(live, "g")]
    await until(lambda: reader.size > 0)
    before = turns
    await until(lambda: reader.size > 1000 * 8000)
    assert turns - before > 50  # of 140 blocks each, or nearly
    await end(tasks)
    await live.aclose(drain=0)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_viewers_that_do_not_read_cost_no_more_than_what_one_of_them_is_sent(where):
    """A block for each viewer would be 13 MB here, and all that they have not read 800 MB."""
    log = MemoryLog()
    here, elsewhere = Live(log, send_timeout=None), Live(log, send_timeout=None)
    app = here if where == "here" else elsewhere

    async def source():
        for _ in range(512):
            yield "x" * 8000
        await never()

    await here.start(source, id="g")
    await until(lambda: _last(here, "g") == 512)
    tracemalloc.start()
    stuck = [Reader(patience=1) for _ in range(200)]
    reading = [Reader() for _ in range(20)]
    tasks = [reader.look_on(app, "g") for reader in (*stuck, *reading)]
    await until(lambda: all(reader.size > 512 * 8000 for reader in reading))
    await until(lambda: all(reader.bodies for reader in stuck))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 6 * 1024 * 1024
    await end(tasks)
    await here.aclose(drain=0)
    await elsewhere.aclose()


async def test_a_tail_holds_a_bounded_number_of_bytes():
    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)
    release = asyncio.Event()

    async def source():
        for _ in range(2000):
            yield "x" * 3000
            await asyncio.sleep(0)
        await release.wait()

    await here.start(source, id="g")
    reader = Reader()
    task = reader.look_on(elsewhere, "g")
    await until(lambda: reader.size > 2000 * 3000)
    (tail,) = elsewhere._generations.tails
    await until(lambda: tail.last == 2000)
    assert 4 * BATCH_BYTES - 3100 <= sum(map(len, tail.events)) <= 8 * BATCH_BYTES + 3100
    assert tail.first + len(tail.events) == tail.last == 2000
    release.set()
    await task
    await here.aclose()
    await elsewhere.aclose()


@pytest.mark.parametrize("bound", ["bytes", "events"])
async def test_a_tail_that_has_twice_what_it_keeps_drops_the_rest(bound, monkeypatch):
    monkeypatch.setattr("sse_asgi.live.viewer.KEPT_BYTES", 50 if bound == "bytes" else 1000)
    monkeypatch.setattr("sse_asgi.live.viewer.KEPT_EVENTS", 5 if bound == "events" else 1000)
    held = []

    class Fed(MemoryLog):
        async def follow(self, key, token, after):
            for number in range(17):
                held.append((tail.first, len(tail.events)))
                yield Batch(number, [b"x" * 10])
            yield Batch(17, [b"x" * 200])  # larger than all that is kept, but the newest
            held.append((tail.first, len(tail.events)))
            yield Batch(18, [], Ending("completed"))

    tail = Tail(Fed(), Outage(), "g", "t", 0)
    tail.enter()
    await tail.task
    first = {"bytes": (17, 1), "events": (10, 8)}[bound]
    assert held == [(0, n) for n in range(10)] + [(5, n) for n in range(5, 10)] + [
        (10, 5), (10, 6), first,
    ]  # fmt: skip


async def test_a_tail_keeps_four_batches_when_it_has_eight():
    class Fed(MemoryLog):
        async def follow(self, key, token, after):
            for number in range(15):
                yield Batch(number, [b"x" * (BATCH_BYTES // 2)])
            assert (tail.first, len(tail.events)) == (0, 15)
            yield Batch(15, [b"x" * (BATCH_BYTES // 2)])
            assert (tail.first, len(tail.events)) == (8, 8)
            yield Batch(16, [], Ending("completed"))

    tail = Tail(Fed(), Outage(), "g", "t", 0)
    tail.enter()
    await tail.task
    assert tail.ending == Ending("completed")


@pytest.mark.parametrize("why", ["lost", "closed", "lease"])
async def test_who_is_behind_a_tail_is_let_go_when_nothing_can_bring_it_back(why, monkeypatch):
    monkeypatch.setattr("sse_asgi.live.viewer.PAUSE", 0.01)
    reads = []

    class Gone(MemoryLog):
        lease = 0.0 if why == "lease" else math.inf

        async def read(self, key, token, after):
            reads.append(after)
            if len(reads) == 3 and why == "lost":
                tail.end(Ending(LOST))
            if len(reads) == 3 and why == "closed":
                tail.close()
            return Batch(after, (), Ending(LOST))

    tail = Tail(Gone(), Outage(), "g", "t", 5)
    async with asyncio.timeout(10):
        block = await tail.fetch(2)
    assert (block.data, block.last, block.ending) == (b"", 2, Ending(LOST))
    assert reads == [2] * (3 if why != "lease" else len(reads))
    assert len(reads) > 1, "its producer may bring it back"


async def test_who_is_behind_a_tail_hears_at_once_that_the_log_has_ended_before_it():
    class Ended(MemoryLog):
        async def read(self, key, token, after):
            return Batch(after, (), Ending(INTERRUPTED))

    block = await asyncio.wait_for(Tail(Ended(), Outage(), "g", "t", 5).fetch(2), 10)
    assert (block.last, block.ending) == (2, Ending(INTERRUPTED))


async def test_who_comes_after_the_last_viewer_has_left_gets_a_tail_of_their_own():
    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)
    step = asyncio.Event()

    async def source():
        await step.wait()
        yield "ab"

    await here.start(source, id="g")
    async with connect(elsewhere, "/g"):
        await until(lambda: list(elsewhere._generations.tails))
        (closing,) = elsewhere._generations.tails  # it stays open for a moment, to be noticed
    assert closing.closed
    watching = asyncio.create_task(watch(elsewhere, "/g"))
    await until(lambda: any(tail.viewers for tail in elsewhere._generations.tails))
    step.set()
    seen = await watching
    assert (seen.text, seen.errors, seen.connections) == ("ab", [], 2)
    await here.aclose()
    await elsewhere.aclose()


async def test_a_tail_that_nobody_watches_is_freed_without_the_cycle_collector():
    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)

    async def source():
        yield "a"
        await never()

    await here.start(source, id="g")
    gc.collect()
    gc.disable()
    try:
        async with connect(elsewhere, "/g") as viewer:
            await anext(viewer)
            assert len(list(elsewhere._generations.tails)) == 1
        await until(lambda: not list(elsewhere._generations.tails))
    finally:
        gc.enable()
    await here.aclose(drain=0)
    await elsewhere.aclose()


async def test_a_tail_of_an_earlier_generation_serves_nobody_of_a_later_one():
    """Somebody still reads the old one, so that its tail is open when the id begins anew."""
    log = MemoryLog(max_bytes=6_000)
    here, elsewhere = Live(log), Live(log)
    await (await here.start(["old"] * 40, id="g")).transcript()
    old = elsewhere.follow("g")
    assert (await anext(old)).data == "old"
    await (await here.start(["x"] * 40, id="other")).transcript()  # and the log lets the old one go
    assert (await here.start(["new"], id="g")).started
    assert (await watch(elsewhere, "/g")).text == "new"
    await old.aclose()
    await here.aclose()
    await elsewhere.aclose()
