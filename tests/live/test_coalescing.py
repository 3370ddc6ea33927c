"""Generations whose text is gathered: fewer events are stored, and every viewer has the text."""

import asyncio
import gc
import weakref

import pytest
from hypothesis import given

from sse_asgi import JSONFraming, Outcome, Reasoning, ServerSentEvent, Usage
from sse_asgi.live import Live, LogUnavailableError, MemoryLog
from sse_asgi.testing import collect_text, connect
from tests.coalesced import LONG, STREAMS, after_waits, turns
from tests.examples import examples
from tests.live.viewers import paced, until, watch, words

pytestmark = pytest.mark.anyio


def waiting(*chunks):
    """Return a source that waits before each chunk."""

    async def source():
        for chunk in chunks:
            await turns()
            yield chunk

    return source


async def events_of(live, generation, **options):
    return [(event.type, event.data) async for event in live.follow(generation.id, **options)]


def messages(*texts):
    return [("message", text) for text in texts]


async def test_text_that_comes_within_the_window_is_one_stored_event(live):
    generation = await live.start(waiting("a", "b", "c", "d"), coalesce=LONG)
    transcript = await generation.transcript()
    assert await events_of(live, generation) == messages("a", "bcd", "[DONE]")
    assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("abcd", 4, 4)
    generation = await live.start(waiting("a", "b", "c", "d"))
    await generation.transcript()
    assert await events_of(live, generation) == messages("a", "b", "c", "d", "[DONE]")


async def test_a_viewer_resumes_after_any_event(live):
    generation = await live.start(waiting("a", "b", Usage(1, 1), "c", "d"), coalesce=LONG)
    await generation.transcript()
    events = [event async for event in live.follow(generation.id)]
    assert [event.data for event in events if event.type == "message"] == ["a", "b", "cd", "[DONE]"]
    for number, event in enumerate(events):
        rest = [
            each async for each in live.follow(generation.id, last_event_id=event.last_event_id)
        ]
        assert rest == events[number + 1 :]


async def test_the_window_ends_by_its_time_and_the_first_chunk_never_waits(live):
    got = asyncio.Event()

    async def source():
        yield "a"
        await turns()
        for chunk in "bc":
            yield chunk
            await turns()
        await got.wait()

    generation = await live.start(source, coalesce=0.01)
    text = ""
    async with asyncio.timeout(10):
        async for event in live.follow(generation.id):
            text += event.data
            if text == "abc":  # the source says no more before it has come
                got.set()
    assert text == "abc[DONE]"


@pytest.mark.parametrize(
    ("other", "type_"),
    [
        (Reasoning("why"), "reasoning"),
        (Usage(1, 2), "usage"),
        (ServerSentEvent(event="progress", data="1"), "progress"),
    ],
)
async def test_what_is_no_text_is_stored_at_once_and_after_the_text_before_it(live, other, type_):
    async def source():
        for chunk in ("a", "b", "c", other):
            yield chunk
            await turns()
        await asyncio.Event().wait()

    generation = await live.start(source, coalesce=LONG)
    got = []
    async with asyncio.timeout(10):
        async for event in live.follow(generation.id):
            got.append((event.type, event.data))
            if event.type == type_:
                break
    assert got[:-1] == messages("a", "bc")


async def test_a_stop_within_the_window_loses_nothing(live):
    waits = asyncio.Event()

    async def source():
        for chunk in "abc":
            yield chunk
            await turns()
        waits.set()
        await asyncio.Event().wait()

    generation = await live.start(source, coalesce=LONG)
    await waits.wait()
    assert await live.stop(generation.id)
    transcript = await generation.transcript()
    assert (transcript.outcome, transcript.text) == (Outcome.STOPPED, "abc")
    assert await events_of(live, generation) == messages("a", "bc", "[DONE]")


async def test_a_failure_comes_after_the_text_that_waits(live, caplog):
    async def source():
        for chunk in "abc":
            yield chunk
            await turns()
        raise LookupError

    generation = await live.start(source, coalesce=LONG)
    await generation.transcript()
    events = await events_of(live, generation)
    assert events[:-1] == messages("a", "bc")
    assert events[-1][0] == "error"


async def test_viewers_that_come_and_go_see_the_whole_text(live):
    chunks = words(200)
    generation = await live.start(paced(chunks, 0.001), coalesce=0.005, framing=JSONFraming())
    seen = await watch(live, f"/{generation.id}", drops=8, framing=JSONFraming())
    transcript = await generation.transcript()
    assert seen.text == "".join(chunks) == transcript.text
    assert seen.connections > 1
    assert len(seen.positions) < transcript.chunks == len(chunks)


class Late(MemoryLog):
    """A log that is out of reach until it is let answer."""

    lease = 60.0

    def __init__(self):
        super().__init__()
        self.answers = asyncio.Event()

    async def append(self, key, token, prev, events):
        if not self.answers.is_set():
            await asyncio.sleep(0)
            raise LogUnavailableError("away")
        return await super().append(key, token, prev, events)


async def test_a_log_that_comes_back_gets_all_of_it():
    log = Late()
    live = Live(log)
    chunks = [f"{number} " for number in range(3_000)]

    async def source():
        for chunk in chunks:
            yield chunk
            await asyncio.sleep(0)
            yield Usage(1, 1)

    generation = await live.start(source, coalesce=LONG)
    writer = live._generations.producers[generation.id].writer
    await until(lambda: writer.is_full)  # so much that the source has to wait
    log.answers.set()
    transcript = await generation.transcript()
    async with connect(live, f"/{generation.id}") as connection:
        assert await collect_text(connection) == transcript.text == "".join(chunks)
    await live.aclose()


async def test_a_generation_that_has_ended_within_a_window_is_freed(live):
    generation = await live.start(waiting("a", "b", "c"), coalesce=LONG)
    producer = weakref.ref(live._generations.producers[generation.id])
    await generation.transcript()
    gc.disable()
    try:
        del generation
        await until(lambda: producer() is None)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("value", "error"), [(True, TypeError), ("1", TypeError), (0, ValueError), (-1.0, ValueError)]
)
async def test_a_window_that_cannot_be_is_refused_at_once(live, value, error):
    with pytest.raises(error, match="coalesce must be"):
        await live.start(waiting("a"), coalesce=value)


@examples(60)
@given(**STREAMS)
def test_the_viewers_text_is_equal(chunks, waits, window, framing):
    async def text(coalesce):
        live = Live()
        source = after_waits(chunks, waits)
        generation = await live.start(source, framing=framing, coalesce=coalesce)
        async with connect(live, f"/{generation.id}") as connection:
            received = await collect_text(connection, framing)
        transcript = await generation.transcript()
        await live.aclose()
        return received, transcript.text, transcript.parts, transcript.chunks

    async def both():
        assert await text(window) == await text(None)

    asyncio.run(both())
