"""What stays on the server: counts, text and times."""

import dataclasses
import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from sse_asgi import EventStream, EventStreamMiddleware, Outcome, Transcript
from tests.stream.peer import BODY, START, Peer, Record, run

pytestmark = pytest.mark.anyio


def test_outcomes_are_their_words():
    assert [str(outcome) for outcome in Outcome] == [
        "completed", "disconnected", "failed", "timed_out", "shut_down", "stopped",
    ]  # fmt: skip
    assert Outcome("timed_out") is Outcome.TIMED_OUT
    assert Outcome.SHUT_DOWN == "shut_down"


def test_fields_are_the_public_ones():
    assert [field.name for field in dataclasses.fields(Transcript)] == [
        "text", "outcome", "chunks", "sent_chunks", "error", "started_at",
        "time_to_first_chunk", "duration", "parts", "usage", "finish_reason", "by",
    ]  # fmt: skip


async def test_a_transcript_cannot_be_changed():
    _, transcript = await run(["a"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        transcript.text = "other"
    assert not hasattr(transcript, "__dict__")


@pytest.mark.parametrize(
    "chunks",
    [
        [], [""], ["a", "", "b"], ["\r\n", "\r", "\n", "\u2028", "\ud800", "\0"],
        *([str(number % 10) for number in range(size)] for size in (255, 256, 257, 512, 1_000)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pace", ["at once", "in turns"])
async def test_text_is_the_chunks_joined_unchanged(chunks, pace):
    async def source(request):
        for chunk in chunks:
            yield chunk
            if pace == "in turns":
                await anyio.sleep(0)

    _, transcript = await run(source)
    assert transcript.text == "".join(chunks)
    assert (transcript.chunks, transcript.sent_chunks) == (len(chunks), len(chunks))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1_000])
async def test_without_record_the_text_is_empty_and_the_counts_stay(count):
    _, transcript = await run(["word "] * count, record=False)
    assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("", count, count)
    assert transcript.time_to_first_chunk is not None


async def test_started_at_is_when_the_request_came_in_utc():
    before = datetime.now(UTC)
    seen = []

    async def source(request):
        await anyio.sleep(0.01)
        seen.append(datetime.now(UTC))
        yield "a"

    _, transcript = await run(source)
    assert transcript.started_at.utcoffset() == timedelta(0)
    slack = timedelta(milliseconds=5)  # the two clocks may be read at different steps
    assert before - slack <= transcript.started_at <= seen[0] - timedelta(milliseconds=10) + slack


async def test_no_chunk_no_time_to_the_first():
    async def source(request):
        await anyio.sleep(0.001)
        raise ValueError("no")
        yield

    _, transcript = await run(source)
    assert transcript.time_to_first_chunk is None
    assert transcript.error.args == ("no",)
    assert transcript.duration > 0


class Times:
    """When the first chunk came: bounds that hold however busy the machine is.

    The stream's clock starts after `made` and before `begun`.
    """

    def __init__(self):
        self.made = time.monotonic()

    def source_begins(self):
        self.begun = time.monotonic()

    def first_comes(self):
        self.at_first = time.monotonic()

    async def go_on(self):
        """Give whoever is late the time to be found out."""
        self.after_first = time.monotonic()
        await anyio.sleep(0.1)
        self.at_end = time.monotonic()

    def check(self, transcript):
        first = transcript.time_to_first_chunk
        assert self.at_first - self.begun <= first <= self.after_first - self.made
        assert self.at_end - self.begun <= transcript.duration


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("hook", [False, True])
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.matrix("anyio_backend")
async def test_time_to_first_chunk_is_that_of_the_first(waits, hook, record):
    """Whether or not there is a hook, and however long the rest of the text takes."""
    times = Times()

    async def source(request):
        times.source_begins()
        if waits:
            await anyio.sleep(0.03)
        times.first_comes()
        yield "a"
        await times.go_on()
        yield "b"

    on_chunk = (lambda chunk: None) if hook else None
    _, transcript = await run(source, on_chunk=on_chunk, record=record)
    times.check(transcript)


async def test_a_first_chunk_that_waits_for_its_client_has_come_all_the_same():
    async def on_send(message):
        if b"data: a" in message.get("body", b""):
            await anyio.sleep(0.1)

    _, transcript = await run(["a"], peer={"on_send": on_send})
    assert transcript.duration - transcript.time_to_first_chunk > 0.09  # timers are coarse


async def test_times_of_another_apps_stream_are_taken_likewise():
    times = Times()

    async def endpoint(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": START, "status": 200, "headers": headers})
        times.source_begins()
        await anyio.sleep(0.03)
        times.first_comes()
        await send({"type": BODY, "body": b"data: a\n\n", "more_body": True})
        await times.go_on()
        await send({"type": BODY, "body": b"data: b\n\n", "more_body": False})

    record = Record()
    async with Peer(EventStreamMiddleware(endpoint, on_complete=record, shutdown=None)):
        pass
    times.check(record.only)


async def test_each_stream_of_an_app_has_its_own():
    record = Record()
    app = EventStream(lambda request: [request.path], on_complete=record)
    for path in ("/a", "/b"):
        async with Peer(app, path=path):
            pass
    assert [each.text for each in record] == ["/a", "/b"]
    assert record[0].started_at <= record[1].started_at
