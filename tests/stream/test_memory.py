"""Nothing is kept that is neither waiting to be sent nor wanted."""

import gc
import tracemalloc
import weakref

import anyio
import pytest

from sse_asgi import EventStream, EventStreamMiddleware, Outcome
from tests.stream.peer import BODY, START, Peer, Record, soon

pytestmark = pytest.mark.anyio

BIG = 262_144


class Chunk(str):
    """Text that can be watched for being freed."""

    __slots__ = ("__weakref__",)


class Made(list):
    """Makes chunks, and counts how many of them are still alive."""

    def __call__(self, text):
        chunk = Chunk(text)
        self.append(weakref.ref(chunk))
        return chunk

    @property
    def alive(self):
        return sum(reference() is not None for reference in self)


class Forgetful(Peer):
    """A peer that keeps no body."""

    async def send(self, message):
        self.attempts += 1
        self.size = getattr(self, "size", 0) + len(message.get("body", b""))
        if self.on_send is not None:
            await self.on_send(message)
        self._notify()


async def after(pace):
    if pace == "in turns":
        await anyio.sleep(0)
    elif pace == "one by one":
        await anyio.sleep(0.001)


@pytest.mark.parametrize("pace", ["at once", "in turns", "one by one"])
@pytest.mark.parametrize("hook", [False, True])
@pytest.mark.matrix("anyio_backend")
async def test_record_false_keeps_no_big_chunk(pace, hook):
    most, seen = 0, 0

    async def source(request):
        nonlocal most
        for number in range(60):
            yield f"{number:02}" + "x" * BIG
            await after(pace)
            most = max(most, tracemalloc.get_traced_memory()[0])

    def on_chunk(chunk):
        nonlocal seen
        seen += 1

    record = Record()
    app = EventStream(source, record=False, on_complete=record, on_chunk=on_chunk if hook else None)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        async with Forgetful(app) as peer:
            pass
    finally:
        tracemalloc.stop()
    assert record.only.outcome is Outcome.COMPLETED
    assert (record.only.chunks, record.only.sent_chunks, record.only.text) == (60, 60, "")
    assert seen == (60 if hook else 0)
    assert peer.size > 60 * BIG
    assert most - before < 12 * BIG  # a few chunks, as text and framed


@pytest.mark.parametrize("pace", ["at once", "in turns", "one by one"])
@pytest.mark.matrix("anyio_backend")
async def test_record_false_frees_each_chunk_once_it_is_sent(pace):
    made, most = Made(), 0

    async def source(request):
        nonlocal most
        for _ in range(300):
            yield made("x" * 20_000)
            await after(pace)
            most = max(most, made.alive)

    async with Forgetful(EventStream(source, record=False)):
        pass
    assert len(made) == 300
    assert most <= 16  # of them all but one wait to be sent, or are being sent
    assert made.alive == 0


async def test_record_false_keeps_nothing_while_the_source_is_silent():
    made, silent = Made(), anyio.Event()

    async def source(request):
        for _ in range(100):
            yield made("word ")
        await anyio.sleep(0.005)
        silent.set()
        await anyio.sleep_forever()

    async with Forgetful(EventStream(source, record=False)) as peer:
        await soon(silent)
        assert made.alive <= 1  # the one at which the source stands may be held by whoever steps it
        peer.leave()


@pytest.mark.parametrize("record", [True, False])
async def test_client_that_does_not_read_holds_what_waits_for_it_and_no_more(record):
    """What was sent before is gone, and the source stands still."""
    made, blocked = Made(), anyio.Event()

    async def on_send(message):
        if peer.size > 100 * 10_000:
            blocked.set()
            await anyio.sleep_forever()

    async def source(request):
        while True:
            yield made("x" * 10_000)
            await anyio.sleep(0)

    transcripts = Record()
    app = EventStream(source, record=record, on_complete=transcripts)
    async with Forgetful(app, on_send=on_send) as peer:
        await soon(blocked)
        for _ in range(20):
            await anyio.sleep(0)
        alive, produced = made.alive, len(made)
        for _ in range(20):
            await anyio.sleep(0)
        assert len(made) == produced
        if not record:
            assert alive <= 16
        peer.leave()
    assert transcripts.only.chunks == produced
    assert len(transcripts.only.text) == (produced * 10_000 if record else 0)


async def test_the_middleware_keeps_no_text_with_record_false():
    most = 0

    async def endpoint(scope, receive, send):
        nonlocal most
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": START, "status": 200, "headers": headers})
        for number in range(60):
            body = b"data: %02d" % number + b"x" * BIG + b"\n\n"
            await send({"type": BODY, "body": body, "more_body": True})
            del body
            most = max(most, tracemalloc.get_traced_memory()[0])
        await send({"type": BODY, "body": b"", "more_body": False})

    record = Record()
    app = EventStreamMiddleware(endpoint, record=False, on_complete=record, shutdown=None)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        async with Forgetful(app):
            pass
    finally:
        tracemalloc.stop()
    assert (record.only.chunks, record.only.sent_chunks, record.only.text) == (60, 60, "")
    assert most - before < 12 * BIG


async def test_a_recorded_text_takes_little_more_than_itself():
    """Small strings weigh fifty bytes more than their text: they are not kept one by one."""
    grown = 0

    async def source(request):
        nonlocal grown
        for number in range(5_000):
            yield f"{number:05}"
        await anyio.sleep(0.001)
        grown = tracemalloc.get_traced_memory()[0] - before
        yield "end"

    record = Record()
    app = EventStream(source, on_complete=record)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        async with Forgetful(app):
            pass
    finally:
        tracemalloc.stop()
    assert record.only.chunks == 5_001
    assert grown < 8 * 5 * 5_000
