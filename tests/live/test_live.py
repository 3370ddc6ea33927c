"""Live in one process: what callers and viewers are promised."""

import asyncio
import contextlib
import itertools
import json
import logging
import re
import time
from inspect import isawaitable

import anyio
import pytest

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    JSONFraming,
    Outcome,
    Reasoning,
    ServerSentEvent,
    StreamFailedError,
    TextFraming,
    ToolCall,
    Usage,
)
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.live import (
    Ack,
    FencedError,
    GenerationTooLargeError,
    LeaseLostError,
    Live,
    LogError,
    MemoryLog,
    RemoteSourceError,
    UnknownGenerationError,
)
from sse_asgi.testing import collect_text, connect
from sse_asgi.wire.framing import items_of
from sse_asgi.wire.text_framing import TextEncoder
from tests.live.viewers import paced, until, watch, words

pytestmark = pytest.mark.anyio


class Remote(MemoryLog):
    """A log whose answers take a moment; each generation waits for its own."""

    lease = 60.0

    def __init__(self):
        super().__init__()
        self.exchanges = 0
        self.under_way = set()

    async def append(self, key, token, prev, events):
        assert key not in self.under_way
        self.exchanges += 1
        self.under_way.add(key)
        await asyncio.sleep(0.002)
        self.under_way.remove(key)
        return await super().append(key, token, prev, events)


def endless(closed=None):
    async def source():
        try:
            for number in itertools.count():
                yield f"{number} "
                await asyncio.sleep(0.001)
        finally:
            if closed is not None:
                closed.append(True)

    return source


async def gather_text(live, key, **options):
    decode = TextFraming().decoder()
    pieces = [decode(event) async for event in live.follow(key, **options)]
    return "".join(piece or "" for piece in pieces)


# Starting


async def test_a_generation_runs_once_and_is_reported_once(live):
    seen, reports = [], []
    generation = await live.start(
        paced(["a", "b", "c"], 0), on_chunk=seen.append, on_complete=reports.append
    )
    transcript = await generation.transcript()
    assert (transcript.text, transcript.outcome) == ("abc", Outcome.COMPLETED)
    assert (transcript.chunks, transcript.sent_chunks, transcript.error) == (3, 3, None)
    assert transcript.time_to_first_chunk is not None
    assert transcript.duration >= transcript.time_to_first_chunk
    assert seen == ["a", "b", "c"]
    assert reports == [transcript]


async def test_of_twenty_concurrent_starts_one_runs(live):
    calls = []

    def source():
        calls.append(1)
        return paced(words(20), 0.001)()

    generations = await asyncio.gather(*(live.start(source, id="g") for _ in range(20)))
    transcripts = await asyncio.gather(*(each.transcript() for each in generations))
    assert len(calls) == 1
    assert [each.started for each in generations].count(True) == 1
    assert {each.text for each in transcripts} == {"".join(words(20))}
    again = await live.start(source, id="g")
    assert len(calls) == 1
    assert (await again.transcript()).text == "".join(words(20))


@pytest.mark.parametrize(
    "source",
    [
        lambda: ["a", "b"],
        ["a", "b"],
        lambda request: ["a", "b"],
        paced(["a", None, "b"], 0),
        paced(["a", "b"], 0)(),
    ],
    ids=["function", "list", "of a request", "with None", "iterator"],
)
async def test_every_kind_of_source_is_taken(live, source):
    generation = await live.start(source)
    assert (await generation.transcript()).text == "ab"


@pytest.mark.parametrize(
    "read",
    [
        lambda request: request.query_params, lambda request: request.headers,
        lambda request: request.path, lambda request: request.method,
        lambda request: request.path_params, lambda request: request.scope["type"],
        lambda request: request.body(), lambda request: request.json(),
        lambda request: request.receive(),
    ],
)  # fmt: skip
async def test_a_source_that_reads_a_request_learns_that_there_is_none(live, read):
    async def source(request):
        yield "a"
        value = read(request)
        if isawaitable(value):
            await value

    generation = await live.start(source)
    transcript = await generation.transcript()
    assert (transcript.text, transcript.outcome) == ("a", Outcome.FAILED)
    with pytest.raises(RuntimeError, match=r"belongs to no request: .* lambda: answer\(prompt\)"):
        raise transcript.error


async def test_get_finds_what_runs_and_what_has_ended_and_starts_nothing(live):
    with pytest.raises(UnknownGenerationError):
        await live.get("g")
    release = asyncio.Event()

    async def source():
        yield "a"
        await release.wait()
        yield "[DONE]"

    started = await live.start(source, id="g", owner="ann", framing=JSONFraming())
    for stranger in (None, "bob"):
        with pytest.raises(UnknownGenerationError):
            await live.get("g", owner=stranger)
    running = await live.get("g", owner="ann")
    assert (running.id, running.started) == ("g", False)
    release.set()
    assert await running.transcript() == await started.transcript()
    ended = await live.get("g", owner="ann", framing=JSONFraming())
    assert (await ended.transcript()).text == "a[DONE]"
    with pytest.raises(TypeError, match="framing must be"):
        await live.get("g", owner="ann", framing="json")
    with pytest.raises(TypeError, match="id must be"):
        await live.get(7)


async def test_what_is_no_source_is_refused_before_anything_starts(live):
    for source in ("text", 3, lambda one, two: [one, two]):
        with pytest.raises(TypeError):
            await live.start(source, id="g")
    assert (await watch(live, "/g")).statuses == [404]


@pytest.mark.parametrize("key", ["", "a/b", "a b", "x" * 201, "{a}", "..", "é"])
async def test_ids_that_fit_no_path_are_refused(live, key):
    with pytest.raises(ValueError, match="letters"):
        await live.start(["a"], id=key)


async def test_default_ids_cannot_be_guessed(live):
    ids = {(await live.start(["a"])).id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(each) >= 22 for each in ids)  # 128 bits in base 64


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"log": MemoryLog}, TypeError, "pass MemoryLog\\(\\), not the class"),
        ({"log": "redis://:secret@host"}, TypeError, "log must be a Log, not of type str"),
        ({"authorize": 5}, TypeError, "authorize must be a callable or None, not 5"),
        ({"authorize": lambda scope: True}, TypeError, "authorize .* three arguments"),
        ({"keep": "1"}, TypeError, "keep .*'1'"),
        ({"keep": True}, TypeError, "keep .*True"),
        ({"keep": float("nan")}, ValueError, "keep .*nan"),
        ({"keep": 0}, ValueError, "keep .*above 0.* not 0"),
        ({"max_total_bytes": "5"}, TypeError, "max_total_bytes must be an int, not '5'"),
        ({"max_bytes": 0}, ValueError, "max_bytes must be 1 or more, not 0"),
        ({"max_bytes": 2.5}, TypeError, "max_bytes must be an int, not 2.5"),
        ({"max_bytes": -1}, ValueError, "max_bytes must be 1 or more, not -1"),
        ({"retry": "x"}, TypeError, "retry must be an int, not 'x'"),
        ({"retry": -1}, ValueError, "retry must be from 0 to .*, not -1"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(options, error, words):
    with pytest.raises(error, match=words):
        Live(**options)


def test_options_that_work_are_taken():
    Live(None, authorize=lambda *arguments: True, keep=0.5, retry=0, max_bytes=1)
    Live(retry=None)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_bytes": "a"}, TypeError, "max_bytes must be an int, not 'a'"),
        ({"max_bytes": -1}, ValueError, "max_bytes must be 0 or more, not -1"),
    ],
)
def test_options_of_the_memory_that_cannot_work_are_refused_at_once(options, error, words):
    with pytest.raises(error, match=words):
        MemoryLog(**options)


async def test_arguments_that_cannot_work_are_refused(live):
    with pytest.raises(TypeError, match=r"owner must be a str or None.*, not 5"):
        await live.start(["a"], owner=5)
    with pytest.raises(TypeError, match=r"linger .*'1'"):
        await live.start(["a"], linger="1")
    with pytest.raises(ValueError, match=r"linger .*-1"):
        await live.start(["a"], linger=-1)
    for ask in (lambda: anext(live.follow(5)), lambda: live.stop(5)):
        with pytest.raises(TypeError, match="id must be a str, not 5"):
            await ask()
    with pytest.raises(TypeError, match=r"drain .*None"):
        await live.aclose(None)
    with pytest.raises(ValueError, match=r"drain .*-1"):
        await live.aclose(drain=-1)


def test_without_asyncio_it_says_what_it_needs():
    async def main():
        await Live().start(["a"])

    with pytest.raises(RuntimeError, match="Live needs asyncio"):
        anyio.run(main, backend="trio")


async def test_an_id_that_somebody_else_has_is_said_to_be_taken(live):
    await live.start(["a"], id="g", owner="ann")
    with pytest.raises(UnknownGenerationError, match=r"'g' is taken by .* another owner"):
        await live.start(["b"], id="g", owner="bob")


# Following


async def test_any_cut_resumes_exactly(live):
    chunks = words(60)
    await live.start(paced(chunks, 0.001), id="g")
    viewers = await asyncio.gather(*(watch(live, "/g", drops=20, seed=seed) for seed in range(10)))
    for seen in viewers:
        assert seen.text == "".join(chunks)
        assert seen.positions == list(range(1, 62))
        assert seen.statuses[-1] == 204
    assert sum(seen.connections for seen in viewers) > 60


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming(), JSONFraming(done="end")])
async def test_text_arrives_whatever_its_characters(live, framing):
    chunks = [
        "[DONE]",
        "",
        "a\nb\n\nc",
        "\r\n" if framing.done == "end" else "x",
        "日本",
        "data: 1",
    ]
    await live.start(paced(chunks, 0), id="g", framing=framing)
    seen = await watch(live, "/g", drops=8, framing=framing)
    assert seen.text == "".join(chunks)


async def test_each_event_of_one_chunk_has_its_own_position(live):
    # A chunk that equals the end marker travels as two events: a viewer may be cut between them.
    await live.start(paced(["[DONE]"] * 3, 0), id="g")
    events = [event async for event in live.follow("g")]
    assert [event.data for event in events] == ["[DO", "NE]"] * 3 + ["[DONE]"]
    for place, event in enumerate(events):
        rest = [one async for one in live.follow("g", last_event_id=event.last_event_id)]
        assert rest == events[place + 1 :]


async def test_events_pass_but_for_their_ids_and_lone_comments(live):
    chunks = [
        ServerSentEvent("1", event="step", id="mine"), "text", ServerSentEvent(comment="hidden"),
        ServerSentEvent(retry=5), ServerSentEvent("2", comment="seen"),
    ]  # fmt: skip
    generation = await live.start(paced(chunks, 0), id="g")
    transcript = await generation.transcript()
    assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("text", 1, 1)
    events = [event async for event in live.follow("g")]
    assert [(event.type, event.data) for event in events] == [
        ("step", "1"), ("message", "text"), ("message", "2"), ("message", "[DONE]"),
    ]  # fmt: skip
    ids = [event.last_event_id.partition(":")[2] for event in events]
    assert ids == ["1", "2", "3", "4"]


async def test_every_block_has_data_and_its_id_comes_first():
    live = Live(retry=1234)
    chunks = [ServerSentEvent(retry=5), ServerSentEvent(id="mine"), "a\nb", Reasoning("so"), "c"]
    generation = await live.start(paced(chunks, 0), id="g")
    await generation.transcript()
    body = await _body_of(live, "/g")
    tag = body.partition(b"id: ")[2].partition(b":")[0].decode()
    assert body.decode() == (
        f"retry: 1234\nid: {tag}:1\nretry: 5\ndata: a\ndata: b\n\n"
        f'id: {tag}:2\nevent: reasoning\ndata: {{"text":"so"}}\n\n'
        f"id: {tag}:3\ndata: c\n\nid: {tag}:4\ndata: [DONE]\n\n"
    )
    await live.aclose()


async def _body_of(app, path):
    async with connect(app, path) as connection:
        pieces = []
        while piece := await connection.read():
            pieces.append(piece)
    return b"".join(pieces)


async def test_the_first_event_tells_cursor_and_reconnection_time():
    live = Live(retry=1234)
    generation = await live.start(endless(), id="g")
    async with connect(live, "/g") as connection:
        data = await connection.read()
        assert data.startswith(b"retry: 1234\nid: ")
        assert connection.decoder.feed(data) is not None
        assert connection.decoder.reconnection_time == 1234
        assert connection.headers["generation-id"] == generation.id
        assert connection.headers["x-content-type-options"] == "nosniff"
        assert "no-store" in connection.headers["cache-control"]
    await live.aclose(drain=0)


async def test_the_query_carries_a_cursor_and_the_header_wins(live):
    await live.start(["a", "b", "c"], id="g")
    events = [event async for event in live.follow("g")]
    first, second = events[0].last_event_id, events[1].last_event_id
    async with connect(live, f"/g?last_event_id={first}") as connection:
        assert [event.data async for event in connection] == ["b", "c", "[DONE]"]
    headers = {"last-event-id": second}
    async with connect(live, f"/g?last_event_id={first}", headers=headers) as connection:
        assert [event.data async for event in connection] == ["c", "[DONE]"]


@pytest.mark.parametrize(
    "cursor", ["x:1", ":", "1", "\x00", "zzzz:2", "9" * 400, "a:-1", "日:1", "a:1e3", " "]
)
async def test_a_forged_cursor_begins_at_the_start(live, cursor):
    await live.start(["a", "b"], id="g")
    events = [event.data async for event in live.follow("g", last_event_id=cursor)]
    assert events == ["a", "b", "[DONE]"]


async def test_a_cursor_ahead_of_a_running_generation_waits_and_of_an_ended_one_ends(live):
    release = asyncio.Event()

    async def source():
        yield "a"
        yield "b"
        await release.wait()
        yield "c"

    await live.start(source, id="g")
    first = await anext(live.follow("g"))
    tag = first.last_event_id.partition(":")[0]
    waiting = asyncio.create_task(gather_text(live, "g", last_event_id=f"{tag}:2"))
    ahead = asyncio.create_task(gather_text(live, "g", last_event_id=f"{tag}:999999999"))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    assert not ahead.done()
    release.set()
    assert await waiting == "c"
    assert await ahead == ""
    headers = {"last-event-id": f"{tag}:999999999"}
    async with connect(live, "/g", headers=headers) as connection:
        assert connection.status == 204


async def test_a_slow_viewer_holds_up_nobody(live):
    chunks = ["x" * 5000] * 600
    await live.start(paced(chunks, 0), id="g")
    async with connect(live, "/g") as slow:
        await anext(slow)
        fast = await watch(live, "/g")
        assert fast.text == "".join(chunks)
        rest = [event.data async for event in slow]
    assert len(rest) == 600  # the first was read before; the last is the end marker


async def test_methods_and_protocols_that_it_does_not_know_are_refused(live):
    await live.start(["a"], id="g")
    async with connect(live, "/g", method="PUT") as connection:
        assert connection.status == 405
        assert "DELETE" in connection.headers["allow"]
    async with connect(live, "/g", method="HEAD") as connection:
        assert connection.status == 200
        assert connection.headers["content-type"].startswith("text/event-stream")
        assert await connection.read() == b""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    await live({"type": "websocket", "path": "/g"}, receive, send)
    assert sent[0]["type"] == "websocket.close"


# Who may


async def test_a_foreign_generation_is_as_unknown_as_none(live):
    calls = []
    await live.start(endless(), id="g", owner="ann")
    for method in ("GET", "DELETE"):
        for path in ("/g", "/none"):
            async with connect(live, path, method=method) as connection:
                assert connection.status == 404
    for owner in (None, "bob"):
        with pytest.raises(UnknownGenerationError):
            await anext(live.follow("g", owner=owner))
        with pytest.raises(UnknownGenerationError):
            await live.start(lambda: calls.append(1) or ["x"], id="g", owner=owner)
        assert await live.stop("g", owner=owner) is False
    assert (await anext(live.follow("g", owner="ann"))).data == "0 "
    assert await live.stop("g", owner="ann") is True
    assert calls == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_authorize_decides_over_http(is_async):
    asked = []

    def decide(scope, key, owner):
        asked.append((key, owner))
        return dict(scope["headers"]).get(b"user") == b"ann"

    async def decide_later(scope, key, owner):
        await asyncio.sleep(0)
        return decide(scope, key, owner)

    live = Live(authorize=decide_later if is_async else decide)
    await live.start(["a"], id="g", owner="ann")
    for headers, status in (({"user": "ann"}, 200), ({"user": "bob"}, 404), ({}, 404)):
        async with connect(live, "/g", headers=headers) as connection:
            assert connection.status == status
    async with connect(live, "/g", method="DELETE", headers={"user": "bob"}) as connection:
        assert connection.status == 404
    async with connect(live, "/none", headers={"user": "ann"}) as connection:
        assert connection.status == 404
    assert asked == [("g", "ann")] * 4
    await live.aclose()


async def test_only_true_authorizes():
    live = Live(authorize=lambda scope, key, owner: "False")
    await live.start(["a"], id="g")
    async with connect(live, "/g") as connection:
        assert connection.status == 404
    await live.aclose()


# Parts and dialects

DIALECTS = [
    ChatCompletions("m", include_usage=True),
    Responses("m"),
    AnthropicMessages("m"),
    UIMessages(),
    AGUI(thread_id="t", run_id="r"),
]
PARTS = (
    Reasoning("so"),
    ToolCall("look", '{"at":1}', id="call_1"),
    Usage(input_tokens=3, output_tokens=2),
    Finish("tool_calls"),
)


async def test_what_another_process_reads_back_of_a_good_end_has_no_error():
    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)
    generation = await here.start(["a", "b"], id="g")
    own, read = await generation.transcript(), await (await elsewhere.get("g")).transcript()
    assert (own.outcome, own.error) == (read.outcome, read.error) == (Outcome.COMPLETED, None)
    assert (read.text, read.chunks, read.sent_chunks) == ("ab", 2, 2)
    await here.aclose()
    await elsewhere.aclose()


async def test_who_has_stopped_it_is_in_the_transcript_here_and_in_another_process():
    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)
    generation = await here.start(endless(), id="g")
    assert await here.stop("g")
    for transcript in (
        await generation.transcript(),
        await (await elsewhere.get("g")).transcript(),
    ):
        assert (transcript.outcome, transcript.by) == (Outcome.STOPPED, "client")
    await here.aclose()
    await elsewhere.aclose()


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming(), *DIALECTS], ids=repr)
async def test_parts_are_in_the_transcript_here_and_in_another_process(framing):
    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)
    reasoning, call, usage, finish = PARTS
    chunks = [reasoning, "one ", "two", call, usage, finish]
    generation = await here.start(paced(chunks, 0), id="g", framing=framing)
    for transcript in (
        await generation.transcript(),
        await (await elsewhere.get("g", framing=framing)).transcript(),
    ):
        assert (transcript.text, transcript.outcome) == ("one two", Outcome.COMPLETED)
        assert (transcript.chunks, transcript.sent_chunks) == (2, 2)
        assert set(transcript.parts) == set(PARTS)
        assert (transcript.usage, transcript.finish_reason) == (usage, "tool_calls")
    async with connect(here, "/g") as connection:
        assert await collect_text(connection, framing) == "one two"
    await here.aclose()


BEGINNING_ALIKE = [
    ChatCompletions("m", id="x"),
    Responses("m", id="x"),
    AnthropicMessages("m", id="x"),
    UIMessages(message_id="x"),
    AGUI(thread_id="t", run_id="r"),
]


@pytest.mark.parametrize("source", [["a"], [Usage(3, 2)], [ServerSentEvent(data="{}")], []])
@pytest.mark.parametrize("framing", BEGINNING_ALIKE, ids=repr)
async def test_a_generation_begins_as_its_dialect_does(framing, source, live):
    await (await live.start(source, id="g", framing=framing)).transcript()
    expected = EventStreamDecoder().feed(framing.encoder().begin())
    async with connect(live, "/g") as connection:
        begun = [await anext(connection) for _ in expected]
    assert [_timeless(event) for event in begun] == [_timeless(event) for event in expected]


def _timeless(event):
    return event.type, re.sub(r'"created(_at)?":\d+', "", event.data)


@pytest.mark.parametrize("framing", DIALECTS, ids=repr)
async def test_a_generation_ends_in_the_words_of_its_dialect(framing, live):
    async def fails():
        yield "a"
        raise ValueError("secret")

    await live.start([], id="empty", framing=framing)
    async with connect(live, "/empty") as connection:
        assert await collect_text(connection, framing) == ""
    await live.start(endless(), id="stopped", framing=framing)
    await until_text(live, "stopped", framing)
    await live.stop("stopped")
    async with connect(live, "/stopped") as connection:
        text = await collect_text(connection, framing)
    assert text == (await (await live.get("stopped", framing=framing)).transcript()).text
    await live.start(fails, id="failed", framing=framing)
    async with connect(live, "/failed") as connection:
        with pytest.raises(StreamFailedError, match="failed on the server") as caught:
            await collect_text(connection, framing)
    assert caught.value.text == "a"
    body = await _body_of(live, "/failed")
    assert b"secret" not in body
    assert framing.encoder().fail("x", Outcome.FAILED)[:14] in body


async def until_text(live, key, framing):
    decode = framing.decoder()
    async for event in live.follow(key):
        if any(isinstance(item, str) and item for item in items_of(decode(event))):
            return


async def test_a_failure_that_is_read_back_leaves_the_text_before_it():
    async def source():
        yield "a"
        yield Reasoning("so")
        raise ValueError("secret")

    log = MemoryLog()
    here, elsewhere = Live(log), Live(log)
    await (await here.start(source, id="g", framing=ChatCompletions("m"))).transcript()
    generation = await elsewhere.get("g", framing=ChatCompletions("m"))
    transcript = await generation.transcript()
    assert (transcript.text, transcript.outcome) == ("a", Outcome.FAILED)
    assert transcript.parts == (Reasoning("so"),)
    assert isinstance(transcript.error, RemoteSourceError)
    assert transcript.usage is None
    await here.aclose()


async def test_hooks_that_take_a_second_argument_get_a_request_that_is_none(live):
    seen = []

    def on_chunk(chunk, request):
        seen.append((chunk, request))

    def on_complete(transcript, request):
        seen.append((transcript.text, request))
        with pytest.raises(RuntimeError, match="belongs to no request"):
            request.headers  # noqa: B018 - the access raises

    generation = await live.start(["a"], on_chunk=on_chunk, on_complete=on_complete)
    await generation.transcript()
    (chunk, one), (text, other) = seen
    assert (chunk, text) == ("a", "a")
    assert one is other


# Ending


async def test_stop_ends_with_the_marker_and_the_partial_text(live):
    closed, reports = [], []
    generation = await live.start(endless(closed), on_complete=reports.append)
    path = f"/{generation.id}"
    watching = asyncio.create_task(watch(live, path))
    await anext(live.follow(generation.id))
    async with connect(live, path, method="DELETE") as connection:
        assert connection.status == 204
    seen, transcript = await watching, await generation.transcript()
    assert transcript.outcome is Outcome.STOPPED
    assert seen.done
    assert seen.errors == []
    assert seen.text == transcript.text != ""
    assert closed == [True]
    assert reports == [transcript]
    assert await live.stop(generation.id) is False
    async with connect(live, path, method="DELETE") as connection:
        assert connection.status == 204


async def test_stop_reaches_a_source_that_is_silent(live):
    generation = await live.start(_silence, id="g")
    await asyncio.sleep(0)
    assert await live.stop("g")
    async with asyncio.timeout(2):
        assert (await generation.transcript()).outcome is Outcome.STOPPED


async def _silence():
    await asyncio.Event().wait()
    yield "never"


async def test_a_source_cleans_up_with_awaits_of_its_own(live):
    cleaned = []

    async def source():
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            cleaned.append(1)

    generation = await live.start(source, id="g")
    await asyncio.sleep(0.01)
    await live.stop("g")
    await generation.transcript()
    assert cleaned == [1]


async def test_a_source_that_will_not_end_is_given_up(caplog):
    live = Live(cleanup_timeout=0.05)
    release = asyncio.Event()

    async def source():
        yield "a"
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    generation = await live.start(source, id="g")
    await asyncio.sleep(0.01)
    await live.stop("g")
    async with asyncio.timeout(5):
        transcript = await generation.transcript()
    assert (transcript.text, transcript.outcome) == ("a", Outcome.STOPPED)
    assert "cleanup_timeout" in caplog.text
    release.set()
    await live.aclose()


async def test_a_failing_source_tells_viewers_little_and_the_transcript_all(live, caplog):
    async def source():
        yield "a"
        raise ValueError("secret")

    generation = await live.start(source, id="g")
    transcript = await generation.transcript()
    assert (transcript.outcome, str(transcript.error)) == (Outcome.FAILED, "secret")
    seen = await watch(live, "/g")
    assert (seen.text, seen.done, len(seen.errors)) == ("a", False, 1)
    assert "secret" not in seen.errors[0]
    assert json.loads(seen.errors[0])["message"]
    assert "a live source raised" in caplog.text
    # The error has an id: a browser that comes back after it is told not to.
    last = [event async for event in live.follow("g")][-1]
    async with connect(live, "/g", headers={"last-event-id": last.last_event_id}) as connection:
        assert connection.status == 204


async def test_a_generation_whose_hook_still_runs_has_ended_for_its_viewers(live):
    release = asyncio.Event()

    async def on_complete(transcript):
        await release.wait()

    generation = await live.start(["a"], id="g", on_complete=on_complete)
    last = [event async for event in live.follow("g")][-1].last_event_id
    async with connect(live, "/g", headers={"last-event-id": last}) as connection:
        assert connection.status == 204
    release.set()
    assert (await generation.transcript()).text == "a"


async def test_describe_error_says_more():
    live = Live(describe_error=str)
    await live.start(paced(["a", 5], 0), id="g")
    seen = await watch(live, "/g")
    assert "int" in seen.errors[0]
    await live.aclose()


async def test_hooks_may_be_async_and_on_chunk_may_fail_the_stream(live):
    seen, reports = [], []

    async def on_chunk(chunk):
        await asyncio.sleep(0)
        seen.append(chunk)
        if chunk == "b":
            raise RuntimeError("no b")

    async def on_complete(transcript):
        await asyncio.sleep(0.01)
        reports.append(transcript)
        raise RuntimeError("logged")

    generation = await live.start(["a", "b", "c"], on_chunk=on_chunk, on_complete=on_complete)
    transcript = await generation.transcript()
    assert (seen, transcript.outcome, transcript.text) == (["a", "b"], Outcome.FAILED, "ab")
    assert transcript.sent_chunks == 1
    assert reports == [transcript]


@pytest.mark.parametrize("where", ["on_chunk", "turn", "log"])
async def test_a_timeout_around_yields_ends_what_it_is_around(where, monkeypatch):
    async def source():
        try:
            async with asyncio.timeout(0.2):
                while True:
                    time.sleep(0.001)
                    yield "a"
        except TimeoutError:
            yield " timeout"
        await asyncio.sleep(0)
        yield " end"

    async def on_chunk(chunk):
        await asyncio.sleep(0.01)

    live = Live(log=Remote() if where == "log" else MemoryLog())
    if where == "log":
        monkeypatch.setattr("sse_asgi.live.writer.BACKLOG", 1)
    generation = await live.start(source, on_chunk=on_chunk if where == "on_chunk" else None)
    seen = await watch(generation, "/")
    transcript = await generation.transcript()
    assert transcript.outcome is Outcome.COMPLETED
    assert transcript.text.startswith("aa")
    assert transcript.text.endswith("a timeout end")
    assert seen.text == transcript.text
    assert (seen.done, seen.errors) == (True, [])
    await live.aclose(drain=0)


async def await_what_was_cancelled():
    task = asyncio.create_task(asyncio.sleep(5))
    task.cancel()
    await task


class ByHand:
    """An iterator of one chunk, with a close of its own."""

    def __init__(self, close):
        self.aclose = close
        self.chunks = ["a"]

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.chunks:
            raise StopAsyncIteration
        return self.chunks.pop()


@pytest.mark.parametrize("where", ["opening", "step"])
async def test_a_source_that_awaits_what_was_cancelled_has_failed(live, caplog, where):
    async def opening():
        await await_what_was_cancelled()
        return ["a"]

    async def step():
        yield "a"
        await await_what_was_cancelled()

    generation = await live.start({"opening": opening, "step": step}[where])
    transcript = await generation.transcript()
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(transcript.error, asyncio.CancelledError)
    assert "a live source raised" in caplog.text


async def test_a_close_that_awaits_what_was_cancelled_takes_nothing_from_the_text(live):
    transcript = await (await live.start(ByHand(await_what_was_cancelled))).transcript()
    assert (transcript.outcome, transcript.text) == (Outcome.COMPLETED, "a")


async def test_a_stuck_close_of_a_source_that_has_ended_takes_nothing_from_its_text(caplog):
    live = Live(cleanup_timeout=0.05)
    generation = await live.start(ByHand(asyncio.Event().wait))
    seen, transcript = await watch(generation, "/"), await generation.transcript()
    assert (transcript.outcome, transcript.text) == (Outcome.COMPLETED, "a")
    assert (seen.text, seen.done, seen.errors) == ("a", True, [])
    assert "cleanup_timeout" in caplog.text
    await live.aclose(drain=0)


async def test_an_on_complete_that_is_cancelled_cancels_nobody(live, caplog):
    reports = []

    async def on_complete(transcript):
        reports.append(transcript)
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    transcript = await (await live.start(["a"], on_complete=on_complete)).transcript()
    assert reports == [transcript]
    assert "on_complete raised" in caplog.text


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_framing_whose_end_fails_fails_the_generation(live, caplog, stopped):
    class Broken(TextFraming):
        def encoder(self):
            return BrokenEncoder(self.done)

    class BrokenEncoder(TextEncoder):
        def end(self, outcome):
            raise ZeroDivisionError

    reports = []
    source = endless() if stopped else ["a"]
    generation = await live.start(source, id="g", framing=Broken(), on_complete=reports.append)
    if stopped:
        await anext(live.follow("g"))
        await live.stop("g")
    async with asyncio.timeout(5):
        transcript = await generation.transcript()
        seen = await watch(live, "/g")
    assert (transcript.outcome, type(transcript.error)) == (Outcome.FAILED, ZeroDivisionError)
    assert (seen.text, len(seen.errors)) == (transcript.text, 1)
    assert reports == [transcript]
    assert "a framing's end raised" in caplog.text


async def test_describe_error_is_asked_of_a_framing_whose_end_raises():
    class Broken(TextFraming):
        def encoder(self):
            return BrokenEncoder(self.done)

    class BrokenEncoder(TextEncoder):
        def end(self, outcome):
            raise ZeroDivisionError("the end")

    live = Live(describe_error=lambda error: f"because of {error}")
    await (await live.start(["a"], id="g", framing=Broken())).transcript()
    seen = await watch(live, "/g")
    assert [json.loads(error)["message"] for error in seen.errors] == ["because of the end"]
    await live.aclose()


async def test_a_framing_whose_failure_fails_leaves_no_viewer_in_silence(live, caplog):
    class Broken(TextFraming):
        def encoder(self):
            return BrokenEncoder(self.done)

    class BrokenEncoder(TextEncoder):
        def text(self, chunks):
            raise ZeroDivisionError

        def fail(self, message, outcome):
            raise LookupError

    generation = await live.start(["a"], id="g", framing=Broken())
    transcript = await generation.transcript()
    assert (transcript.outcome, type(transcript.error)) == (Outcome.FAILED, ZeroDivisionError)
    assert (transcript.text, transcript.sent_chunks) == ("a", 0)
    assert len((await watch(live, "/g")).errors) == 1
    assert "a framing's fail raised" in caplog.text


async def test_what_a_generation_logs_names_it_by_a_hash_of_its_id(live, caplog):
    await (await live.start(paced([5], 0), id="secret-id")).transcript()
    assert "a live source raised: generation 2d4e22" in caplog.text
    assert "secret-id" not in caplog.text


async def test_the_event_that_breaks_a_bound_is_neither_stored_nor_sent():
    live = Live(max_bytes=80)  # an event costs 50 more than its bytes
    generation = await live.start(["a", "[DONE]" * 1000, "c"], id="g")
    transcript = await generation.transcript()
    events = [event.type async for event in live.follow("g")]
    assert isinstance(transcript.error, GenerationTooLargeError)
    assert (transcript.chunks, transcript.sent_chunks) == (2, 1)
    assert events == ["message", "error"]
    await live.aclose()


async def test_an_event_is_read_that_another_process_with_larger_bounds_has_stored():
    log = MemoryLog()
    large, small = Live(log), Live(log, max_bytes=10)
    await (await large.start(["x" * 1000], id="g")).transcript()
    assert await gather_text(small, "g") == "x" * 1000
    await large.aclose()
    await small.aclose()


async def test_a_generation_that_outgrows_its_bounds_fails():
    live = Live(max_bytes=200)
    closed = []
    generation = await live.start(endless(closed))
    transcript = await generation.transcript()
    assert isinstance(transcript.error, GenerationTooLargeError)
    assert transcript.chunks <= 4
    assert closed == [True]
    await live.aclose()


async def test_a_log_that_raises_fails_the_generation(caplog):
    class Broken(MemoryLog):
        lease = 60.0

        async def append(self, key, token, prev, events):
            raise ZeroDivisionError("a defect")

    watched = asyncio.Event()

    async def source():
        await watched.wait()
        yield "a"
        await asyncio.Event().wait()

    live = Live(Broken())
    generation = await live.start(source, id="g")
    async with connect(live, "/g") as connection, asyncio.timeout(5):
        watched.set()
        assert [event.type async for event in connection] == ["error"]
        transcript = await generation.transcript()
    assert transcript.outcome is Outcome.FAILED
    assert "a defect" in str(transcript.error)
    assert "a log's append raised" in caplog.text
    await live.aclose()


async def end_of(live, generation):
    """Return the transcript of a generation that fails for its log."""
    async with asyncio.timeout(5):
        transcript = await generation.transcript()
    assert (transcript.outcome, transcript.by) == (Outcome.FAILED, "server")
    assert isinstance(transcript.error, LogError)
    await live.aclose()
    return transcript


def defects_in(caplog, call):
    return sum(f"a log's {call} raised" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("call", ["attach", "finish", "append"])
async def test_a_log_with_a_defect_in_a_call_ends_the_generation_and_says_so_once(call, caplog):
    class Broken(MemoryLog):
        async def append(self, key, token, prev, events):
            if call == "append":
                self.raise_now()
            if call == "attach":
                raise LeaseLostError("gone")
            return await super().append(key, token, prev, events)

        async def attach(self, key, token, meta, *, keep):
            self.raise_now()

        async def finish(self, key, token, prev, events, ending):
            self.raise_now()

        def raise_now(self):
            raise ZeroDivisionError("a defect")

    live, reports = Live(Broken()), []
    source = ["a"] if call == "finish" else endless()
    generation = await live.start(source, id="g", on_complete=reports.append)
    watching = asyncio.create_task(watch(live, "/g"))
    transcript = await end_of(live, generation)
    assert "a defect" in str(transcript.error)
    assert reports == [transcript]
    assert defects_in(caplog, call) == 1
    watching.cancel()  # what a log has no ending of may run elsewhere


async def test_a_log_with_a_defect_in_its_beat_ends_a_generation_that_lingers(caplog, monkeypatch):
    class Broken(MemoryLog):
        async def beat(self, tokens):
            raise ZeroDivisionError("a defect")

    monkeypatch.setattr("sse_asgi.live.viewer.FIRST_VIEWER", 0.01)
    live, closed = Live(Broken()), []
    generation = await live.start(endless(closed), id="g", linger=0)
    await end_of(live, generation)
    assert closed == [True]
    assert defects_in(caplog, "beat") == 1
    assert len((await watch(live, "/g")).errors) == 1


async def test_a_log_whose_beats_fail_for_a_lease_ends_the_generation():
    class Broken(MemoryLog):
        lease = 0.2

        async def beat(self, tokens):
            raise ZeroDivisionError("a defect")

    live = Live(Broken())
    await end_of(live, await live.start(endless()))


@pytest.mark.parametrize("ends", [True, False])
async def test_what_viewers_saw_counts_as_sent_also_if_the_log_has_lost_it(ends):
    class Forgetful(MemoryLog):
        async def append(self, key, token, prev, events):
            reached = prev + len(events)
            if reached <= 2:
                return Ack(reached)
            if prev == 0:
                raise FencedError("gone")
            return Ack(0)

    live, release = Live(Forgetful()), asyncio.Event()

    async def source():
        yield "a"
        yield "b"
        await release.wait()
        yield "c"
        while not ends:
            await asyncio.sleep(0.01)

    generation = await live.start(source, id="g")
    follower = live.follow("g")
    assert [(await anext(follower)).data for _ in "ab"] == ["a", "b"]
    release.set()
    transcript = await end_of(live, generation)
    assert (transcript.chunks, transcript.sent_chunks) == (3, 2)
    await follower.aclose()


async def test_a_log_that_is_not_local_is_asked_once_at_a_time_by_each_generation():
    log = Remote()
    live = Live(log)
    started = [await live.start(paced(words(30, n), 0.001)) for n in range(20)]
    seen = await asyncio.gather(*(watch(live, f"/{each.id}") for each in started))
    assert [each.text for each in seen] == ["".join(words(30, n)) for n in range(20)]
    assert log.exchanges < 20 * 31  # what comes meanwhile goes together
    await until(lambda: not any("writer" in task.get_name() for task in asyncio.all_tasks()))
    await live.aclose()


# Linger


async def test_linger_0_ends_with_the_last_viewer(live):
    closed = []
    generation = await live.start(endless(closed), linger=0)
    async with connect(generation) as one:
        await anext(one)
        async with connect(live, f"/{generation.id}") as two:
            await anext(two)
        await asyncio.sleep(0.05)
        assert not closed
        await anext(one)
    async with asyncio.timeout(2):
        transcript = await generation.transcript()
    assert transcript.outcome is Outcome.DISCONNECTED
    assert closed == [True]


async def test_linger_waits_for_viewers_to_come_back(live):
    closed = []
    generation = await live.start(endless(closed), linger=0.3)
    for _ in range(3):
        async with connect(generation) as connection:
            await anext(connection)
        await asyncio.sleep(0.1)
    assert not closed
    async with asyncio.timeout(2):
        assert (await generation.transcript()).outcome is Outcome.DISCONNECTED


async def test_without_linger_it_runs_to_its_end_whoever_watches(live):
    generation = await live.start(paced(words(50), 0.002))
    async with connect(generation) as connection:
        await anext(connection)
    transcript = await generation.transcript()
    assert (transcript.text, transcript.outcome) == ("".join(words(50)), Outcome.COMPLETED)


async def test_the_first_viewer_has_time_to_come(live, monkeypatch):
    monkeypatch.setattr("sse_asgi.live.viewer.FIRST_VIEWER", 0.2)
    generation = await live.start(endless(), linger=0)
    await asyncio.sleep(0.05)
    assert not generation._ended.done()
    async with asyncio.timeout(2):
        assert (await generation.transcript()).outcome is Outcome.DISCONNECTED


# Closing and keeping


async def test_closing_waits_for_what_ends_in_time_and_ends_the_rest(live):
    quick = await live.start(paced(words(4), 0.005), id="quick")
    slow = await live.start(endless(), id="slow")
    watching = asyncio.create_task(watch(live, "/slow"))
    await asyncio.sleep(0.01)
    before = asyncio.get_running_loop().time()
    closing = asyncio.create_task(live.aclose(drain=0.5))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="closed"):
        await live.start(["a"])
    await closing
    assert 0.4 < asyncio.get_running_loop().time() - before < 3
    assert (await quick.transcript()).outcome is Outcome.COMPLETED
    transcript, seen = await slow.transcript(), await watching
    assert transcript.outcome is Outcome.SHUT_DOWN
    assert seen.text == transcript.text
    assert len(seen.errors) == 1


async def test_closing_waits_for_a_start_under_way_and_ends_what_it_began():
    class Slow(MemoryLog):
        closed = False

        async def create(self, *arguments, **options):
            created = await super().create(*arguments, **options)
            entered.set()
            await release.wait()
            assert not self.closed
            return created

        async def aclose(self):
            self.closed = True

    entered, release, touched, reports = asyncio.Event(), asyncio.Event(), [], []

    async def source():
        touched.append(True)
        yield "a"

    log = Slow()
    live = Live(log)
    start = asyncio.create_task(live.start(source, id="g", on_complete=reports.append))
    await entered.wait()
    closing = asyncio.create_task(live.aclose(drain=0))
    while not live._generations.closing:
        await asyncio.sleep(0)
    assert not closing.done()
    release.set()
    with pytest.raises(RuntimeError, match="being closed"):
        await start
    async with asyncio.timeout(5):
        await closing
    assert log.closed
    assert touched == []
    assert [each.outcome for each in reports] == [Outcome.SHUT_DOWN]
    assert (await log.look("g")).ending.outcome == "shut_down"


async def test_a_start_that_is_cancelled_on_its_way_to_the_log_does_not_waste_the_id():
    """Whoever starts it again follows what runs: the log has it, so it must not be nobody's."""

    class Slow(MemoryLog):
        async def create(self, *arguments, **options):
            created = await super().create(*arguments, **options)
            entered.set()
            await release.wait()
            return created

    entered, release, calls, reports = asyncio.Event(), asyncio.Event(), [], []

    async def source():
        calls.append(1)
        yield "a"

    live = Live(Slow())
    start = asyncio.create_task(live.start(source, id="g", on_complete=reports.append))
    await entered.wait()
    start.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await start
    again = await live.start(source, id="g")
    async with asyncio.timeout(5):
        transcript = await again.transcript()
    assert (transcript.outcome, transcript.text) == (Outcome.COMPLETED, "a")
    assert calls == [1]
    assert [each.text for each in reports] == ["a"]
    await live.aclose()


@pytest.mark.parametrize("kind", ["generation", "writer"])
async def test_an_ending_that_is_cancelled_on_its_way_is_told_all_the_same(kind):
    """As asyncio.run does that: it cancels whatever runs in the very turn in which it is called."""
    reports, cancelled = [], []

    def cancel_the_ending():
        tasks = [each for each in asyncio.all_tasks() if each.get_name() == f"sse_asgi live {kind}"]
        if not tasks:
            asyncio.get_running_loop().call_soon(cancel_the_ending)
        for each in tasks:
            cancelled.append(each.cancel())

    async def source():
        yield "a"
        asyncio.get_running_loop().call_soon(cancel_the_ending)

    live = Live()
    generation = await live.start(source, id="g", on_complete=reports.append)
    async with asyncio.timeout(5):
        transcript = await generation.transcript()
    assert cancelled == [True]
    assert reports == [transcript]
    assert transcript.text == "a"
    assert (await watch(live, "/g")).text == "a"
    await live.aclose()


async def test_closing_leaves_no_task():
    before = asyncio.all_tasks()
    live = Live()
    for _ in range(5):
        await live.start(endless())
    await live.aclose(drain=0)
    assert asyncio.all_tasks() == before


def test_a_loop_that_closes_ends_its_generations_properly():
    reports, closed = [], []

    async def main():
        live = Live()
        await live.start(endless(closed), on_complete=reports.append)
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert closed == [True]
    assert [report.outcome for report in reports] == [Outcome.SHUT_DOWN]


def test_one_live_serves_one_loop_after_another():
    live = Live()

    async def main():
        generation = await live.start(["a"])
        return (await watch(live, f"/{generation.id}")).text

    assert [asyncio.run(main()) for _ in range(3)] == ["a", "a", "a"]


async def test_served_alone_it_completes_the_lifespan():
    live = Live()
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await live({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_an_ended_generation_is_kept_for_a_while():
    live = Live(keep=0.3)
    await (await live.start(["a"], id="g")).transcript()
    assert (await watch(live, "/g")).text == "a"
    await asyncio.sleep(0.4)
    assert (await watch(live, "/g")).statuses == [404]
    assert (await live.start(["new"], id="g")).started
    await live.aclose()


async def test_memory_is_capped_and_the_oldest_goes_first():
    live = Live(MemoryLog(max_bytes=10_000))
    for number in range(10):
        await (await live.start(["x" * 34] * 9, id=f"g{number}")).transcript()
    found = [(await watch(live, f"/g{number}")).statuses[0] for number in range(10)]
    assert found == [404] * 5 + [200] * 5
    await (await live.start(["x" * 8500], id="large")).transcript()
    found = [(await watch(live, path)).statuses[0] for path in ("/g9", "/large")]
    assert found == [404, 200]
    await live.aclose()


async def test_a_cursor_of_an_earlier_generation_of_the_id_counts_for_nothing():
    live = Live(keep=0.2)
    await (await live.start(["old"] * 5, id="g")).transcript()
    last = [event async for event in live.follow("g")][-1].last_event_id
    await asyncio.sleep(0.3)
    await (await live.start(["new"], id="g")).transcript()
    async with connect(live, "/g", headers={"last-event-id": last}) as connection:
        assert [event.data async for event in connection] == ["new", "[DONE]"]
    await live.aclose()


async def test_payloads_are_never_logged(live, caplog):
    caplog.set_level(logging.DEBUG)

    async def source():
        yield "very-secret-text"
        raise RuntimeError("failed")

    await (await live.start(source, id="g")).transcript()
    await watch(live, "/g")
    assert "very-secret-text" not in caplog.text
