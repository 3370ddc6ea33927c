"""Text that comes within the window is one event, and nothing else waits or changes."""

import asyncio
import math

import anyio
import pytest
from hypothesis import given

from sse_asgi import (
    EventStream,
    Finish,
    Outcome,
    Reasoning,
    ServerSentEvent,
    Usage,
)
from sse_asgi.chat import ChatApp
from sse_asgi.live import Live
from sse_asgi.starlette import EventStreamResponse
from sse_asgi.testing import collect_text, connect
from tests.chat.asking import AG_UI, AI_SDK, BODIES, CHAT, RESPONSES, ask
from tests.coalesced import LONG, STREAMS, after_waits, turns
from tests.examples import examples

pytestmark = pytest.mark.anyio


def waiting(*chunks, before=anyio.lowlevel.checkpoint):
    """Return a source that waits before each chunk."""

    async def source(request):
        for chunk in chunks:
            await before()
            yield chunk

    return source


async def events_of(source, **options):
    async with connect(EventStream(source, **{"coalesce": LONG, **options})) as connection:
        return [(event.type, event.data) async for event in connection]


def messages(*texts):
    return [("message", text) for text in texts]


async def test_text_that_comes_within_the_window_is_one_event():
    source = waiting("a", "b", "c", "d", before=turns)
    assert await events_of(source) == messages("a", "bcd", "[DONE]")
    assert await events_of(source, coalesce=None) == messages("a", "b", "c", "d", "[DONE]")


async def test_the_window_ends_by_its_time():
    got = anyio.Event()

    async def source(request):
        yield "a"
        await turns()
        for chunk in "bc":
            yield chunk
            await turns()
        await got.wait()

    async with connect(EventStream(source, coalesce=0.01)) as connection:
        with anyio.fail_after(10):
            text = ""
            while text != "abc":  # the source says no more before it has come
                text += (await anext(connection)).data
            got.set()
            assert (await anext(connection)).data == "[DONE]"


async def test_the_first_chunk_never_waits():
    async def source(request):
        await turns()
        yield "a"
        await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with connect(EventStream(source, coalesce=LONG)) as connection:
            assert (await anext(connection)).data == "a"


@pytest.mark.parametrize(
    ("other", "type_"),
    [
        (Reasoning("why"), "reasoning"),
        (Usage(1, 2), "usage"),
        (Finish("stop"), "finish"),
        (ServerSentEvent(event="progress", data="1"), "progress"),
    ],
)
async def test_what_is_no_text_leaves_at_once_and_after_the_text_before_it(other, type_):
    async def source(request):
        for chunk in ("a", "b", "c", other):
            yield chunk
            await turns()
        await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with connect(EventStream(source, coalesce=LONG)) as connection:
            got = [await anext(connection) for _ in range(3)]
    assert [(event.type, event.data) for event in got[:2]] == messages("a", "bc")
    assert got[2].type == type_


async def test_text_after_a_part_is_not_joined_with_text_before_it():
    source = waiting("a", "b", Reasoning("why"), "c", "d", None, "e", before=turns)
    events = await events_of(source)
    texts = [data for type_, data in events if type_ == "message"]
    assert texts == ["a", "b", "cde", "[DONE]"]
    assert [type_ for type_, _ in events].index("reasoning") == 2


async def test_much_text_does_not_wait():
    got = anyio.Event()

    async def source(request):
        yield "a"
        await turns()
        yield "b" * 20_000
        await got.wait()
        yield "c"

    async with connect(EventStream(source, coalesce=LONG)) as connection:
        with anyio.fail_after(10):
            assert (await anext(connection)).data == "a"
            assert len((await anext(connection)).data) == 20_000
            got.set()
            assert [event.data async for event in connection] == ["c", "[DONE]"]


async def test_a_failure_comes_after_the_text_that_waits(caplog):
    async def source(request):
        for chunk in "abc":
            yield chunk
            await turns()
        raise LookupError

    events = await events_of(source)
    assert [type_ for type_, _ in events] == ["message", "message", "error"]
    assert events[1] == ("message", "bc")


async def test_a_client_that_leaves_within_the_window_ends_the_stream():
    transcripts = []

    async def source(request):
        for chunk in "abc":
            yield chunk
            await turns()
        await anyio.sleep_forever()

    app = EventStream(source, coalesce=LONG, on_complete=transcripts.append)
    async with connect(app) as connection:
        assert (await anext(connection)).data == "a"
        await turns()
        await connection.disconnect()
    (transcript,) = transcripts
    assert transcript.outcome is Outcome.DISCONNECTED
    assert transcript.text.startswith("a")
    assert transcript.chunks == len(transcript.text)
    assert transcript.sent_chunks == 1


async def test_each_chunk_is_counted_and_told():
    told, transcripts = [], []
    source = waiting("a", "b", "c", before=turns)
    options = {"on_chunk": told.append, "on_complete": transcripts.append}
    assert await events_of(source, **options) == messages("a", "bc", "[DONE]")
    assert told == ["a", "b", "c"]
    assert (transcripts[0].chunks, transcripts[0].sent_chunks) == (3, 3)
    assert transcripts[0].text == "abc"


async def test_a_sync_source_is_gathered_too():
    def source(request):
        yield from "abcd"

    events = await events_of(source)
    assert "".join(data for _, data in events) == "abcd[DONE]"


async def test_a_response_and_a_chat_app_take_it():
    async with connect(
        EventStreamResponse(waiting("a", "b", "c", before=turns), coalesce=LONG)
    ) as it:
        assert [event.data async for event in it] == ["a", "bc", "[DONE]"]

    async def generate(chat):
        for chunk in "abc":
            yield chunk
            await turns()

    answer = await ask(ChatApp(generate, coalesce=LONG), CHAT, BODIES[CHAT] | {"stream": True})
    said = [each["choices"][0]["delta"].get("content") for each in answer.events]
    assert [text for text in said if text] == ["a", "bc"]


@examples(80)
@given(**STREAMS)
def test_the_clients_text_is_equal(chunks, waits, window, framing):
    async def text(coalesce):
        transcripts = []
        app = EventStream(
            lambda request: after_waits(chunks, waits),
            framing=framing,
            coalesce=coalesce,
            on_complete=transcripts.append,
        )
        async with connect(app) as connection:
            received = await collect_text(connection, framing)
        return received, transcripts[0].text, transcripts[0].parts, transcripts[0].sent_chunks

    async def both():
        assert await text(window) == await text(None)

    asyncio.run(both())


async def test_a_window_of_no_end_is_refused():
    with pytest.raises(ValueError, match="coalesce must be a time that ends"):
        EventStream(["a"], coalesce=math.inf)


@pytest.mark.parametrize("path", [AG_UI, AI_SDK, RESPONSES])
def test_a_chat_app_gathers_its_live_answers_too(path):
    async def generate(chat):
        for chunk in "abc":
            yield chunk
            await turns()

    async def deltas(coalesce):
        live = Live()
        app = ChatApp(generate, live=live, coalesce=coalesce)
        body = BODIES[path] | ({"stream": True, "background": True} if path == RESPONSES else {})
        answer = await ask(app, path, body)
        await live.aclose()
        return [event["delta"] for event in answer.events if "delta" in event]

    assert asyncio.run(deltas(None)) == ["a", "b", "c"]
    assert asyncio.run(deltas(LONG)) == ["a", "bc"]
