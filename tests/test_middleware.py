"""What the middleware does for event streams that others make, and leaves alone in all else."""

import asyncio
import gc
import gzip
import logging
import random
import signal
import time
import weakref
from itertools import pairwise

import anyio
import pytest

from sse_asgi import (
    EventStream,
    EventStreamMiddleware,
    JSONFraming,
    Outcome,
    ServerSentEvent,
    Shutdown,
)
from sse_asgi.stream import lifecycle
from tests.shutdown.test_shutdown import Handler, handlers  # noqa: F401 - a fixture
from tests.sources import cleaning_up
from tests.stage import living_tasks
from tests.stream.peer import BODY, PATIENCE, START, Block, Peer, Record, soon

EVENT_STREAM = [(b"content-type", b"text/event-stream")]
KEEP_ALIVE = b": keep-alive\n"
GENERIC = b'event: error\ndata: {"message": "The stream failed on the server."}\n\n'
FAREWELL = ServerSentEvent(event="bye", data="back soon")

pytestmark = pytest.mark.anyio


class PlannedError(Exception):
    """What endpoints and hooks raise here."""


class Endpoint:
    """A hand-written ASGI app: sends the start, and then what it is made of, step by step.

    A step is bytes to send, an async function to call, or an exception to raise.
    """

    def __init__(self, *steps, headers=EVENT_STREAM, ends=True, listens=False, after=None):
        self.steps, self.headers, self.ends = steps, headers, ends
        self.listens, self.after = listens, after
        self.cancelled = 0
        self.cleaned = False
        self.heard = []
        self.waits = anyio.Event()
        self.goes_on = anyio.Event()

    async def __call__(self, scope, receive, send):
        try:
            async with anyio.create_task_group() as group:
                if self.listens:
                    group.start_soon(self.listen, receive, group.cancel_scope)
                await self.respond(send)
                group.cancel_scope.cancel()
        finally:
            with cleaning_up():
                await anyio.sleep(0.01)
            self.cleaned = True
        if self.after is not None:
            await self.after()

    async def listen(self, receive, scope):
        while True:
            message = await receive()
            self.heard.append(message["type"])
            if message["type"] == "http.disconnect":
                scope.cancel()
                return

    async def respond(self, send):
        await send({"type": START, "status": 200, "headers": list(self.headers)})
        for step in self.steps:
            if isinstance(step, bytes):
                await send({"type": BODY, "body": step, "more_body": True})
            elif isinstance(step, BaseException):
                raise step
            else:
                await step()
        if self.ends:
            await send({"type": BODY, "body": b"", "more_body": False})

    async def wait(self):
        self.waits.set()
        try:
            await self.goes_on.wait()
        except BaseException:
            self.cancelled += 1
            raise


def waiting(*before, after=(), **options):
    """Make an endpoint that waits between its steps until it is let go on."""
    endpoint = Endpoint(**options)
    endpoint.steps = (*before, endpoint.wait, *after)
    return endpoint


def wrapped(app, **options):
    """Wrap an app, with options that keep tests apart from each other."""
    record = Record()
    options = {"shutdown": None, "on_complete": record, **options}
    return EventStreamMiddleware(app, **options), record


async def run(app, **options):
    """Let a wrapped app answer one request; return the peer and the transcript."""
    middleware, record = wrapped(app, **options)
    async with Peer(middleware) as peer:
        pass
    return peer, record.only


async def reported(record):
    """Wait for a transcript, and for what happens in the same moment."""
    with anyio.fail_after(5):
        while not record:
            await anyio.sleep(0.005)
    await anyio.wait_all_tasks_blocked()


# Headers and bytes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], [b"no-store, no-transform"]),
        ([(b"cache-control", b"no-cache")], [b"no-cache, no-transform"]),
        ([(b"cache-control", b"private, No-Transform")], [b"private, No-Transform"]),
        (
            [(b"cache-control", b"private"), (b"cache-control", b"max-age=0")],
            [b"private", b"max-age=0, no-transform"],
        ),
    ],
)
async def test_cache_control_keeps_its_directives_and_gains_no_transform(given, expected):
    peer, _ = await run(Endpoint(b"data: a\n\n", headers=[*EVENT_STREAM, *given]))
    assert [value for name, value in peer.headers if name == b"cache-control"] == expected


async def test_headers_for_proxies_are_added_and_those_of_servers_dropped():
    given = [
        (b"Content-Type", b"Text/Event-Stream; charset=utf-8"),
        (b"Connection", b"keep-alive"),
        (b"Content-Length", b"10"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-own", b"Kept As It Is"),
    ]
    peer, _ = await run(Endpoint(b"data: a\n\n", headers=given))
    assert peer.headers == [
        (b"content-type", b"Text/Event-Stream; charset=utf-8"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-own", b"Kept As It Is"),
        (b"x-accel-buffering", b"no"),
        (b"cache-control", b"no-store, no-transform"),
    ]


@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/plain"])
async def test_head_says_what_get_would_say(kind):
    async def app(scope, receive, send):
        await send({"type": START, "status": 200, "headers": list(headers)})
        await send({"type": BODY, "body": b"", "more_body": False})

    headers = [(b"content-type", kind), (b"connection", b"keep-alive")]
    async with Peer(EventStreamMiddleware(app)) as get:
        pass
    async with Peer(EventStreamMiddleware(app), method="HEAD") as head:
        pass
    assert head.headers == get.headers
    assert (head.headers == headers) is (kind == b"text/plain")
    assert head.body == b""


async def test_buffering_that_the_endpoint_chose_is_kept():
    headers = [*EVENT_STREAM, (b"x-accel-buffering", b"yes")]
    peer, _ = await run(Endpoint(b"data: a\n\n", headers=headers))
    assert (b"x-accel-buffering", b"yes") in peer.headers
    assert (b"x-accel-buffering", b"no") not in peer.headers


async def test_every_message_passes_at_once_and_byte_for_byte():
    chance = random.Random(7)
    stream = "data: é\r\n\r\nid: 1\ndata\n\n: c\n\ndata:x\r\rdata: [DONE]\n\n".encode() * 9
    cuts = [0, *sorted(chance.sample(range(1, len(stream)), 60)), len(stream)]
    parts = [stream[start:end] for start, end in pairwise(cuts)]
    endpoint = Endpoint(*parts)
    peer, _ = await run(endpoint)
    assert peer.bodies == [b"", *parts, b""]
    assert peer.closed


async def test_headers_leave_before_the_first_event():
    endpoint = waiting(after=(b"data: late\n\n",))
    middleware, _ = wrapped(endpoint)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        assert peer.bodies == [b""]
        endpoint.goes_on.set()


# Keep-alives


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
@pytest.mark.matrix("anyio_backend")
async def test_keep_alives_never_come_inside_of_an_event(end):
    async def silence():
        await anyio.sleep(0.06)

    first, last = waiting(), waiting()
    endpoint = Endpoint(
        first.wait, b"id: 1\nda", silence, b"ta: x", silence, end[:1], silence, end[1:], last.wait
    )
    middleware, record = wrapped(endpoint, heartbeat=0.02)
    async with Peer(middleware) as peer:
        await peer.received(KEEP_ALIVE * 2)
        first.goes_on.set()
        await soon(last.waits)
        seen = len(peer.body)
        await peer.until(lambda: len(peer.body) >= seen + 2 * len(KEEP_ALIVE))
        last.goes_on.set()
    before, event, after = peer.body.partition(b"id: 1\ndata: x" + end)
    assert event
    for part in (before, after):
        assert part == KEEP_ALIVE * (len(part) // len(KEEP_ALIVE))
        assert part
    assert record.only.text == "x"


async def test_a_comment_of_the_endpoint_leaves_room_for_keep_alives():
    endpoint = waiting(b"data: a\n\n", b": its own\n")
    middleware, _ = wrapped(endpoint, heartbeat=0.02)
    async with Peer(middleware) as peer:
        await peer.received(b"data: a\n\n: its own\n" + KEEP_ALIVE)
        endpoint.goes_on.set()


@pytest.mark.parametrize(
    "unfinished", [b"retry: 10\n", b"data: a\n", b": comment\ndata: b\n", b":x"]
)
@pytest.mark.matrix("anyio_backend")
async def test_no_keep_alive_where_an_event_may_have_begun(unfinished):
    endpoint = waiting(unfinished)
    middleware, _ = wrapped(endpoint, heartbeat=0.01)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        await anyio.sleep(0.06)
        assert peer.body == unfinished
        endpoint.goes_on.set()


async def test_heartbeat_none_turns_keep_alives_off():
    endpoint = waiting(b"data: a\n\n")
    middleware, _ = wrapped(endpoint, heartbeat=None)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        await anyio.sleep(0.05)
        assert peer.body == b"data: a\n\n"
        endpoint.goes_on.set()


async def test_keep_alives_never_come_beside_another_send():
    async def slow(message):
        await anyio.sleep(0.03)

    endpoint = waiting(*[b"data: x\n\n"] * 5)
    middleware, _ = wrapped(endpoint, heartbeat=0.01)
    async with Peer(middleware, on_send=slow) as peer:  # the peer refuses two at once
        await soon(endpoint.waits)
        await peer.received(KEEP_ALIVE)
        endpoint.goes_on.set()


# Deadlines


@pytest.mark.parametrize("blocked", [b"start", b"data: a\n\n"])
@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.matrix("anyio_backend")
async def test_client_that_takes_too_long_ends_the_stream(blocked, listens):
    block = Block(blocked)
    endpoint = Endpoint(b"data: a\n\n", b"data: b\n\n", listens=listens)
    middleware, record = wrapped(endpoint, send_timeout=0.05)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
    assert record.only.outcome is Outcome.TIMED_OUT
    assert record.only.error is None
    assert record.only.text == ("" if blocked == b"start" else "a")
    assert record.only.sent_chunks == record.only.chunks  # one that was cut may have arrived
    assert peer.raised is None
    assert endpoint.cleaned


@pytest.mark.parametrize("hook", [False, True])
async def test_last_message_without_bytes_has_its_deadline_too(hook):
    cancelled = []

    async def on_send(message):
        if not message.get("more_body", True):
            try:
                await anyio.sleep_forever()
            except BaseException:
                cancelled.append(1)
                raise

    record = Record()
    middleware = EventStreamMiddleware(
        Endpoint(b"data: a\n\n"), on_complete=record if hook else None, shutdown=None,
        send_timeout=0.05,
    )  # fmt: skip
    async with Peer(middleware, on_send=on_send) as peer:
        pass
    assert cancelled == [1]
    assert peer.raised is None
    if hook:
        assert (record.only.outcome, record.only.sent_chunks) == (Outcome.TIMED_OUT, 1)


async def test_client_that_takes_too_long_for_the_last_message_ends_the_stream():
    block = Block(b"end")

    async def app(scope, receive, send):
        await send({"type": START, "status": 200, "headers": EVENT_STREAM})
        await send({"type": BODY, "body": b"data: a\n\n", "more_body": True})
        await send({"type": BODY, "body": b"data: end\n\n", "more_body": False})

    middleware, record = wrapped(app, send_timeout=0.05)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
    assert record.only.outcome is Outcome.TIMED_OUT
    assert record.only.sent_chunks == 2
    assert peer.raised is None


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.matrix("anyio_backend")
async def test_client_that_leaves_while_the_last_message_blocks_gets_a_moment(listens, monkeypatch):
    monkeypatch.setattr(lifecycle, "CLIENT_GRACE", 0.4)
    block = Block(b"end")

    async def last(send):
        await send({"type": BODY, "body": b"data: end\n\n", "more_body": False})

    endpoint = Endpoint(b"data: a\n\n", ends=False, listens=listens)
    respond = endpoint.respond

    async def respond_to_the_end(send):
        await respond(send)
        await last(send)

    endpoint.respond = respond_to_the_end
    middleware, record = wrapped(endpoint)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        peer.leave()
        await anyio.sleep(0.2)
        assert not block.cancelled
    assert block.cancelled
    assert record.only.outcome is Outcome.DISCONNECTED
    assert peer.raised is None


@pytest.mark.parametrize("listens", [False, True])
async def test_last_message_that_arrives_late_completes_the_stream(listens):
    """So it is on a server that tells of the client's leaving once it has the last message."""
    block, endpoint = Block(b"end"), Endpoint(listens=listens)

    async def respond(send):
        await send({"type": START, "status": 200, "headers": EVENT_STREAM})
        await send({"type": BODY, "body": b"data: end\n\n", "more_body": False})

    endpoint.respond, app = respond, endpoint
    middleware, record = wrapped(app)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        peer.leave()
        await anyio.wait_all_tasks_blocked()
        block.opened.set()
    assert record.only.outcome is Outcome.COMPLETED
    assert peer.closed


# Shutdown


@pytest.mark.parametrize("listens", [False, True])
async def test_stream_that_outlasts_the_grace_gets_the_farewell_and_a_clean_end(listens):
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    endpoint = waiting(b"data: a\n\n", listens=listens)
    middleware, record = wrapped(endpoint, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        shutdown.begin()
    assert peer.body == b"data: a\n\n" + FAREWELL.encode()
    assert peer.closed
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert record.only.text == "a"
    assert endpoint.cleaned
    assert endpoint.cancelled == 1
    assert endpoint.heard[-1:] == (["http.disconnect"] if listens else [])


async def test_stream_that_ends_within_the_grace_is_complete():
    shutdown = Shutdown(grace=5.0, farewell=FAREWELL, signals=False)
    endpoint = waiting(b"data: a\n\n", after=(b"data: b\n\n",))
    middleware, record = wrapped(endpoint, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        shutdown.begin()
        endpoint.goes_on.set()
    assert peer.body == b"data: a\n\ndata: b\n\n"
    assert record.only.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("ends", ["by itself", "by the farewell"])
async def test_hook_runs_before_the_body_ends_when_the_server_stops(ends):
    """Some servers exit as soon as the last body has ended."""
    closed = []

    async def on_complete(transcript):
        await anyio.sleep(0.01)
        closed.append((transcript.outcome, peer.body, peer.closed))

    grace = 5.0 if ends == "by itself" else 0
    shutdown = Shutdown(grace=grace, farewell=FAREWELL, signals=False)
    endpoint = waiting(b"data: a\n\n", after=(b"data: b\n\n",))
    middleware, _ = wrapped(endpoint, shutdown=shutdown, on_complete=on_complete)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        shutdown.begin()
        await anyio.wait_all_tasks_blocked()
        if ends == "by itself":
            endpoint.goes_on.set()
    if ends == "by itself":
        body, outcome = b"data: a\n\ndata: b\n\n", Outcome.COMPLETED
    else:
        body, outcome = b"data: a\n\n" + FAREWELL.encode(), Outcome.SHUT_DOWN
    assert closed == [(outcome, body, False)]
    assert (peer.body, peer.closed) == (body, True)


async def test_last_message_of_http2_is_never_empty_when_the_server_stops():
    """Hypercorn would lose the end of the stream."""
    for grace in (5.0, 0):
        shutdown = Shutdown(grace=grace, signals=False)
        endpoint = waiting(b"data: a\n\n")
        middleware, _ = wrapped(endpoint, shutdown=shutdown)
        async with Peer(middleware, http_version="2") as peer:
            await soon(endpoint.waits)
            shutdown.begin()
            await anyio.wait_all_tasks_blocked()
            endpoint.goes_on.set()
        assert peer.bodies[-1] == b":\n"
        assert peer.closed
        assert [event.data for event in peer.events] == ["a"]


async def test_endpoint_that_is_cut_by_its_framework_when_the_server_stops_has_not_failed():
    shutdown = Shutdown(grace=5.0, farewell=FAREWELL, signals=False)
    endpoint = waiting(b"data: a\n\n", ends=False)
    middleware, record = wrapped(endpoint, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        shutdown.begin()
        await anyio.wait_all_tasks_blocked()
        endpoint.goes_on.set()
    assert peer.body == b"data: a\n\n" + FAREWELL.encode()
    assert peer.closed
    assert peer.raised is None
    assert record.only.outcome is Outcome.SHUT_DOWN


async def test_farewell_never_lands_inside_of_an_event():
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    endpoint = waiting(b"data: a\n\ndata: b")
    middleware, record = wrapped(endpoint, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        shutdown.begin()
    assert peer.body == b"data: a\n\ndata: b"
    assert peer.closed
    assert record.only.outcome is Outcome.SHUT_DOWN


async def test_what_a_stopped_endpoint_sends_is_dropped():
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    endpoint = Endpoint()

    async def respond(send):
        await send({"type": START, "status": 200, "headers": EVENT_STREAM})
        try:
            await endpoint.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await send({"type": BODY, "body": b"data: too late\n\n", "more_body": False})

    endpoint.respond = respond
    middleware, record = wrapped(endpoint, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        shutdown.begin()
    assert peer.body == FAREWELL.encode()
    assert record.only.outcome is Outcome.SHUT_DOWN


async def test_endpoint_that_ignores_its_end_is_given_up_after_the_cleanup_timeout(caplog):
    shutdown = Shutdown(grace=0, signals=False)
    slow = anyio.Event()

    async def app(scope, receive, send):
        await send({"type": START, "status": 200, "headers": EVENT_STREAM})
        try:
            await receive()
            slow.set()
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            await anyio.sleep(60)

    middleware, record = wrapped(app, shutdown=shutdown, cleanup_timeout=0.05)
    with caplog.at_level(logging.ERROR, "sse_asgi"):
        async with Peer(middleware) as peer:
            await soon(slow)
            await anyio.wait_all_tasks_blocked()
            shutdown.begin()
    assert peer.closed
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert "cleanup_timeout" in caplog.text


async def test_signals_are_chained_only_while_the_stream_is_open(handlers):  # noqa: F811
    signal.signal(signal.SIGTERM, handler := Handler())
    background = anyio.Event()
    endpoint = waiting(b"data: a\n\n", after=(), listens=False)
    endpoint.after = background.wait
    middleware, record = wrapped(endpoint, shutdown=Shutdown(grace=0))
    async with Peer(middleware):
        await soon(endpoint.waits)
        assert signal.getsignal(signal.SIGTERM) is not handler
        endpoint.goes_on.set()
        await reported(record)
        assert signal.getsignal(signal.SIGTERM) is handler  # the stream has ended, the app not yet
        background.set()


async def test_other_responses_chain_no_signals(handlers):  # noqa: F811
    signal.signal(signal.SIGTERM, handler := Handler())
    endpoint = waiting(b"text", headers=[(b"content-type", b"text/plain")])
    middleware, record = wrapped(endpoint, shutdown=Shutdown(grace=0))
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        assert signal.getsignal(signal.SIGTERM) is handler
        signal.raise_signal(signal.SIGTERM)
        endpoint.goes_on.set()
    assert peer.body == b"text"
    assert endpoint.cancelled == 0
    assert record == []


# Failures


async def test_endpoint_that_raises_in_mid_stream_ends_with_an_error_event():
    error = PlannedError("secret")
    peer, transcript = await run(Endpoint(b"data: a\n\n", error))
    assert peer.body == b"data: a\n\n" + GENERIC
    assert peer.closed
    assert transcript.outcome is Outcome.FAILED
    assert transcript.text == "a"
    assert peer.failure is transcript.error
    # The endpoint's task group has put it into a group.
    assert error in (transcript.error, *getattr(transcript.error, "exceptions", ()))


async def test_error_may_be_described():
    peer, _ = await run(Endpoint(PlannedError("x")), describe_error=lambda error: "overloaded")
    assert peer.body == b'event: error\ndata: {"message": "overloaded"}\n\n'


async def test_error_inside_of_an_event_ends_the_body_without_one():
    peer, transcript = await run(Endpoint(b"data: a\n\ndata: b", PlannedError("x")))
    assert peer.body == b"data: a\n\ndata: b"
    assert peer.closed
    assert peer.failure is transcript.error
    assert transcript.outcome is Outcome.FAILED


async def test_endpoint_that_returns_in_mid_stream_has_failed():
    peer, transcript = await run(Endpoint(b"data: a\n\n", ends=False))
    assert peer.body == b"data: a\n\n" + GENERIC
    assert peer.closed
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(peer.failure, RuntimeError)
    assert peer.failure is transcript.error


async def test_error_before_the_response_is_the_servers_alone():
    error = PlannedError("early")

    async def app(scope, receive, send):
        raise error

    middleware, record = wrapped(app)
    async with Peer(middleware) as peer:
        pass
    assert peer.raised is error
    assert (peer.messages, record) == ([], [])


async def test_error_after_the_end_is_the_servers_alone():
    error = PlannedError("late")

    async def after():
        raise error

    peer, transcript = await run(Endpoint(b"data: a\n\n", after=after))
    assert peer.body == b"data: a\n\n"
    assert peer.raised is error
    assert transcript.outcome is Outcome.COMPLETED
    assert transcript.error is None


# Hooks and transcript


async def test_transcript_holds_the_text_of_the_events():
    peer, transcript = await run(
        Endpoint(
            b"event: ping\ndata: no text\n\n: comment\n\n",
            b"data: Hel",
            b"lo, \n\ndata: two\ndata: lines\n\n",
            b"data: [DONE]\n\n",
        )
    )
    assert transcript.outcome is Outcome.COMPLETED
    assert transcript.text == "Hello, two\nlines"
    assert (transcript.chunks, transcript.sent_chunks) == (2, 2)
    assert transcript.time_to_first_chunk is not None
    assert transcript.duration >= transcript.time_to_first_chunk
    assert peer.closed


async def test_text_is_read_through_the_framing():
    framing = JSONFraming()
    encoder = framing.encoder()
    endpoint = Endpoint(encoder.text(["a\r\nb"]), encoder.text(["\r"]), encoder.end())
    chunks = []
    _, transcript = await run(endpoint, framing=framing, on_chunk=chunks.append)
    assert transcript.text == "a\r\nb\r"
    assert chunks == ["a\r\nb", "\r"]


async def test_stream_that_the_framing_cannot_read_passes_all_the_same(caplog):
    with caplog.at_level(logging.WARNING, "sse_asgi"):
        peer, transcript = await run(
            Endpoint(b'data: "a"\n\n', b"data: {no json\n\n", b'data: "b"\n\n'),
            framing=JSONFraming(),
        )
    assert peer.body == b'data: "a"\n\ndata: {no json\n\ndata: "b"\n\n'
    assert transcript.outcome is Outcome.COMPLETED
    assert transcript.text == "a"
    assert "not transcribed further" in caplog.text
    assert "no json" not in caplog.text


async def test_on_chunk_sees_every_text_before_it_is_passed_on():
    seen = []

    async def on_chunk(text):
        await anyio.sleep(0)
        seen.append((text, peer.body))

    endpoint = Endpoint(b"data: a\n\n", b"data: b\n\n")
    middleware, _ = wrapped(endpoint, on_chunk=on_chunk)
    async with Peer(middleware) as peer:
        pass
    assert seen == [("a", b""), ("b", b"data: a\n\n")]


async def test_on_chunk_that_raises_fails_the_stream():
    error = PlannedError("hook")

    def on_chunk(text):
        if text == "b":
            raise error

    endpoint = Endpoint(b"data: a\n\n", b"data: b\n\n", b"data: c\n\n")
    peer, transcript = await run(endpoint, on_chunk=on_chunk)
    assert peer.body == b"data: a\n\n" + GENERIC
    assert transcript.outcome is Outcome.FAILED
    assert transcript.error is error
    assert (transcript.chunks, transcript.sent_chunks) == (2, 1)
    assert peer.failure is error


@pytest.mark.parametrize("cut", [1, 6, 7, 12])
async def test_error_of_a_hook_never_lands_inside_of_an_event(cut):
    def on_chunk(text):
        raise PlannedError("hook")

    event = b"data: hello\n\n"
    peer, transcript = await run(Endpoint(event[:cut], event[cut:]), on_chunk=on_chunk)
    assert peer.body == event[:cut]
    assert peer.closed
    assert transcript.outcome is Outcome.FAILED


async def test_on_complete_that_raises_is_logged(caplog):
    def on_complete(transcript):
        raise PlannedError("hook")

    middleware = EventStreamMiddleware(Endpoint(b"data: a\n\n"), on_complete=on_complete)
    with caplog.at_level(logging.ERROR, "sse_asgi"):
        async with Peer(middleware) as peer:
            pass
    assert peer.body == b"data: a\n\n"
    assert peer.raised is None
    assert "on_complete raised" in caplog.text


async def test_record_false_keeps_no_text():
    _, transcript = await run(Endpoint(b"data: a\n\n"), record=False)
    assert (transcript.text, transcript.chunks) == ("", 1)


# The client leaves


@pytest.mark.parametrize("listens", [False, True])
async def test_endpoint_ends_when_the_client_leaves(listens):
    endpoint = waiting(b"data: a\n\n", listens=listens)
    middleware, record = wrapped(endpoint)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        peer.leave()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert (record.only.text, record.only.sent_chunks) == ("a", 1)
    assert peer.raised is None
    assert endpoint.cancelled == 1
    assert endpoint.cleaned
    assert not peer.closed


@pytest.mark.parametrize("listens", [False, True])
async def test_endpoint_ends_when_the_client_leaves_in_a_blocked_send(listens):
    block = Block(b"data: b\n\n")
    endpoint = Endpoint(b"data: a\n\n", b"data: b\n\n", b"data: c\n\n", listens=listens)
    middleware, record = wrapped(endpoint)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        peer.leave()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert (record.only.text, record.only.sent_chunks) == ("ab", 2)
    assert peer.raised is None
    assert endpoint.cleaned


def endless_steps():
    """Steps between which nobody waits; not for ever, so that a test of it cannot hang."""
    overdue = time.monotonic() + PATIENCE
    while time.monotonic() < overdue:
        yield b"data: x\n\n"
    raise AssertionError("nobody has ended the endpoint")


@pytest.mark.parametrize("listens", [False, True])
async def test_endpoint_that_never_waits_lets_others_in_and_ends_when_the_client_leaves(listens):
    endpoint = Endpoint(listens=listens)
    endpoint.steps = endless_steps()
    middleware, record = wrapped(endpoint, record=False)
    async with Peer(middleware) as peer:
        await peer.received(b"data: x\n\n")
        peer.leave()
    assert peer.raised is None
    assert record.only.outcome is Outcome.DISCONNECTED
    assert endpoint.cleaned


async def test_message_whose_send_was_cancelled_has_not_been_sent():
    sent = 0

    class Counting(Endpoint):
        async def respond(self, send):
            nonlocal sent
            await send({"type": START, "status": 200, "headers": EVENT_STREAM})
            with anyio.move_on_after(0.02):
                while True:
                    await send({"type": BODY, "body": b"data: x\n\n", "more_body": True})
                    sent += 1
            await send({"type": BODY, "body": b"", "more_body": False})

    peer, transcript = await run(Counting())
    assert transcript.outcome is Outcome.COMPLETED
    assert peer.body.count(b"data: x\n\n") == sent


@pytest.mark.parametrize("listens", [False, True])
async def test_endpoint_that_never_waits_ends_when_the_server_stops(listens):
    endpoint, shutdown = Endpoint(listens=listens), Shutdown(grace=0.02, signals=False)
    endpoint.steps = endless_steps()
    middleware, record = wrapped(endpoint, record=False, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await peer.received(b"data: x\n\n")
        shutdown.begin()
    assert peer.raised is None
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert peer.closed
    assert endpoint.cleaned


@pytest.mark.parametrize("number", [0, 1, 2, 3])
async def test_send_that_fails_with_an_os_error_is_a_disconnect(number):
    async def gone(message):
        if peer.attempts > number:
            raise ConnectionResetError

    endpoint = waiting(b"data: a\n\n", b"data: b\n\n", listens=True)
    middleware, record = wrapped(endpoint)
    async with Peer(middleware, on_send=gone) as peer:
        pass
    assert record.only.outcome is Outcome.DISCONNECTED
    assert record.only.sent_chunks == record.only.chunks == max(0, number - 1)
    assert peer.raised is None
    assert peer.attempts == number + 1
    assert endpoint.cleaned


async def test_what_an_endpoint_raises_because_its_client_left_is_no_error(caplog):
    async def app(scope, receive, send):
        await send({"type": START, "status": 200, "headers": EVENT_STREAM})
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ConnectionError("the client has left")

    middleware, record = wrapped(app)
    async with Peer(middleware) as peer:
        await peer.until(lambda: peer.messages)
        peer.leave()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert peer.raised is None
    assert caplog.records == []


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("record", [True, False])
async def test_client_that_leaves_at_the_end_marker_has_had_it_all(listens, record):
    endpoint = waiting(b"data: a\n\n", b"data: [DONE]\n\n", listens=listens)
    middleware, transcripts = wrapped(endpoint, record=record)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        peer.leave()
    assert transcripts.only.outcome is Outcome.COMPLETED
    assert endpoint.cleaned


async def test_client_that_leaves_before_it_has_the_end_marker_is_disconnected():
    block = Block(b"[DONE]")
    endpoint = Endpoint(b"data: a\n\n", b"data: [DONE]\n\n")
    middleware, transcripts = wrapped(endpoint)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        peer.leave()
    assert transcripts.only.outcome is Outcome.DISCONNECTED


async def test_cancellation_that_the_app_has_taken_back_is_the_servers(anyio_backend_name):
    if anyio_backend_name == "trio":
        pytest.skip("only asyncio counts cancellations")

    async def wait_and_take_back():
        waits.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()  # as task groups of anyio do
            raise

    async def app(scope, receive, send):
        await send({"type": START, "status": 200, "headers": EVENT_STREAM})
        await wait_and_take_back()

    waits = anyio.Event()
    middleware, record = wrapped(app)
    peer = Peer(middleware)
    task = asyncio.create_task(peer.run())
    await soon(waits)
    task.cancel()
    await asyncio.wait((task,))
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert b"error" not in peer.body


async def test_cancellation_by_the_server_is_passed_on(anyio_backend_name):
    endpoint = waiting(b"data: a\n\n")
    middleware, record = wrapped(endpoint)
    peer = Peer(middleware)
    async with anyio.create_task_group() as group:
        group.start_soon(peer.run)
        await soon(endpoint.waits)
        group.cancel_scope.cancel()
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert record.only.text == "a"


# What is left alone


class Spy:
    """An ASGI app that keeps the objects it was called with."""

    async def __call__(self, *arguments):
        self.arguments = arguments


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "lifespan"},
        {"type": "websocket", "path": "/"},
        {"type": "of the future"},
    ],
)
async def test_all_but_http_with_a_body_passes_untouched(scope):
    async def receive():
        raise AssertionError

    async def send(message):
        raise AssertionError

    middleware, record = wrapped(spy := Spy())
    await middleware(scope, receive, send)
    assert spy.arguments == (scope, receive, send)
    assert record == []


async def test_messages_of_other_responses_are_the_same_objects():
    sent = [
        {"type": START, "status": 200, "headers": [(b"Content-Length", b"2")], "trailers": True},
        {"type": BODY, "body": b"a", "more_body": True},
        {"type": BODY, "body": b"b", "more_body": False},
        {"type": "http.response.trailers", "headers": [], "more_trailers": False},
        {"type": "http.response.push", "path": "/", "headers": []},
    ]
    seen = []

    async def app(scope, receive, send):
        for message in sent:
            await send(message)

    async def send(message):
        seen.append(message)

    middleware, record = wrapped(app)
    scope = {"type": "http", "method": "GET", "path": "/"}
    await middleware(scope, Peer(app).receive, send)
    assert all(one is other for one, other in zip(seen, sent, strict=True))
    assert record == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"text/event-streams")],
        [(b"content-type", b"application/json")],
        [(b"accept", b"text/event-stream")],
    ],
)
async def test_other_content_types_are_no_event_streams(headers):
    endpoint = Endpoint(b"data: a\n\n", headers=headers)
    middleware, record = wrapped(endpoint, heartbeat=0.001)
    async with Peer(middleware) as peer:
        pass
    assert peer.headers == headers
    assert peer.bodies == [b"data: a\n\n", b""]
    assert record == []


async def test_work_after_another_response_is_not_cancelled_when_the_client_leaves():
    background = anyio.Event()
    endpoint = Endpoint(b"x", headers=[], after=background.wait)
    middleware, _ = wrapped(endpoint, cleanup_timeout=0.01)
    async with Peer(middleware) as peer:
        await peer.until(lambda: peer.closed)
        peer.leave()
        await anyio.sleep(0.1)
        assert not peer.ended
        background.set()
    assert peer.raised is None


@pytest.mark.parametrize("stops", ["the client leaves", "the server stops"])
async def test_work_after_the_stream_is_not_cancelled(stops):
    background, shutdown = anyio.Event(), Shutdown(grace=0, signals=False)
    endpoint = Endpoint(b"data: a\n\n", after=background.wait)
    middleware, record = wrapped(endpoint, cleanup_timeout=0.01, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await reported(record)
        assert record.only.outcome is Outcome.COMPLETED  # not only when that work is done
        peer.leave() if stops == "the client leaves" else shutdown.begin()
        await anyio.sleep(0.1)
        assert not peer.ended
        background.set()
    assert peer.raised is None
    assert len(record) == 1


async def test_messages_after_the_end_of_the_stream_are_the_servers_business():
    async def app(scope, receive, send):
        start = {"type": START, "status": 200, "headers": EVENT_STREAM, "trailers": True}
        await send(start)
        await send({"type": BODY, "body": b"data: a\n\n", "more_body": False})
        await send({"type": "http.response.trailers", "headers": [(b"x", b"y")]})

    seen = []

    async def send(message):
        seen.append(message["type"])

    middleware, record = wrapped(app)
    await middleware({"type": "http", "method": "GET", "path": "/"}, Peer(app).receive, send)
    assert seen[-1] == "http.response.trailers"
    assert record.only.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("headers", [EVENT_STREAM, []])
async def test_request_body_reaches_the_app_whole_and_in_order(headers):
    parts = [b"%d" % number for number in range(200)]
    read = []

    async def app(scope, receive, send):
        await send({"type": START, "status": 200, "headers": headers})
        await anyio.wait_all_tasks_blocked()
        more = True
        while more:
            message = await receive()
            read.append(message["body"])
            more = message["more_body"]
        await send({"type": BODY, "body": b"", "more_body": False})

    middleware, _ = wrapped(app)
    async with Peer(middleware, body=parts):
        pass
    assert read == parts


@pytest.mark.parametrize("headers", [EVENT_STREAM, []])
async def test_app_may_ask_at_any_time_whether_the_client_has_left(headers):
    """Poll as Starlette's `Request.is_disconnected` does: by a `receive` that is cancelled."""
    answers = []

    async def is_disconnected(receive):
        with anyio.CancelScope() as scope:
            scope.cancel()
            message = await receive()
            return message["type"] == "http.disconnect"
        return False

    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        await send({"type": START, "status": 200, "headers": headers})
        for _ in range(5):
            answers.append(await is_disconnected(receive))
            await anyio.sleep(0.001)
        peer.leave()
        with anyio.fail_after(5):
            while not await is_disconnected(receive):
                await anyio.sleep(0.001)
        answers.append(True)

    middleware, _ = wrapped(app, shutdown=None)
    # A server whose receive() answers without waiting once the client has left.
    async with Peer(middleware) as peer:
        original = peer.receive

        async def receive():
            if peer._gone:
                return {"type": "http.disconnect"}
            return await original()

        peer.receive = receive
    # An event stream's endpoint that only polls may be cancelled before it looks again.
    assert answers == [False] * 5 + [True] or (headers and answers == [False] * 5)


async def test_compressed_stream_passes_as_it_is():
    packed = gzip.compress(b"data: a\n\n")
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    headers = [*EVENT_STREAM, (b"content-encoding", b"gzip")]
    endpoint = waiting(packed, headers=headers)
    middleware, record = wrapped(endpoint, heartbeat=0.01, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await soon(endpoint.waits)
        await anyio.sleep(0.05)
        shutdown.begin()
    assert peer.body == packed
    assert peer.closed
    assert (record.only.outcome, record.only.text) == (Outcome.SHUT_DOWN, "")


async def test_compressed_stream_has_no_text_for_the_hooks():
    """Its bytes may look like an event by chance: nobody reads them."""
    chunks, record = [], Record()
    headers = [*EVENT_STREAM, (b"content-encoding", b"br")]
    body = b"data: no text\n\ndata: [DONE]\n\n"
    middleware = EventStreamMiddleware(
        Endpoint(body, headers=headers), on_chunk=chunks.append, on_complete=record, shutdown=None
    )
    async with Peer(middleware) as peer:
        pass
    assert peer.body == body
    assert chunks == []
    assert (record.only.outcome, record.only.text, record.only.chunks) == ("completed", "", 0)
    assert record.only.time_to_first_chunk is None


async def test_error_in_a_compressed_stream_ends_the_body_without_an_event():
    headers = [*EVENT_STREAM, (b"content-encoding", b"gzip")]
    peer, transcript = await run(Endpoint(b"\x1f\x8b", PlannedError("x"), headers=headers))
    assert peer.body == b"\x1f\x8b"
    assert peer.closed
    assert transcript.outcome is Outcome.FAILED


async def test_stream_that_cares_for_itself_may_be_wrapped_too():
    async def source(request):
        yield "a"
        yield "b"

    inner_record = Record()
    inner = EventStream(source, on_complete=inner_record, shutdown=None)
    peer, transcript = await run(inner)
    assert peer.body == b"data: a\n\ndata: b\n\ndata: [DONE]\n\n"
    assert transcript.text == inner_record.only.text == "ab"
    assert transcript.outcome is inner_record.only.outcome is Outcome.COMPLETED
    names = [name for name, _ in peer.headers]
    assert len(names) == len(set(names))


# Nothing is left


async def test_no_task_is_left():
    before = living_tasks()
    for _ in range(3):
        await run(Endpoint(b"data: a\n\n", listens=True))
    await anyio.wait_all_tasks_blocked()
    assert living_tasks() == before


async def test_everything_is_freed_without_the_cycle_collector(anyio_backend_name):
    async def app(scope, receive, send):
        await send({"type": START, "status": 200, "headers": list(EVENT_STREAM)})
        await send({"type": BODY, "body": b"data: a\n\n", "more_body": True})
        await send({"type": BODY, "body": b"", "more_body": False})

    class Scope(dict):
        __slots__ = ("__weakref__",)

    gc.collect()
    gc.disable()
    try:
        scope = Scope({"type": "http", "method": "GET", "path": "/"})
        reference = weakref.ref(scope)
        middleware, _ = wrapped(app)
        peer = Peer(middleware)
        peer.scope = scope
        async with peer:
            pass
        del scope, peer
        for _ in range(3):
            await anyio.sleep(0)
        assert reference() is None
    finally:
        gc.enable()


# Options


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"heartbeat": 0}, ValueError),
        ({"framing": "text"}, TypeError),
        ({"shutdown": True}, TypeError),
        ({"on_complete": 1}, TypeError),
    ],
)
async def test_wrong_options_are_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        EventStreamMiddleware(Endpoint(), **options)


async def test_app_must_be_callable():
    with pytest.raises(TypeError, match="app must be an ASGI application, not 5"):
        EventStreamMiddleware(5)


async def test_streams_do_not_disturb_each_other():
    endpoints = [waiting(b"data: %d\n\n" % number) for number in range(10)]
    record = Record()
    apps = [EventStreamMiddleware(one, on_complete=record, shutdown=None) for one in endpoints]
    peers = [Peer(app) for app in apps]
    async with anyio.create_task_group() as group:
        for peer in peers:
            group.start_soon(peer.run)
        for endpoint in endpoints:
            await soon(endpoint.waits)
        for peer in peers[::2]:
            peer.leave()
        await peers[0].until(lambda: len(record) == 5)
        for endpoint in endpoints:
            endpoint.goes_on.set()
    outcomes = {one.text: one.outcome for one in record}
    assert outcomes == {
        str(number): Outcome.COMPLETED if number % 2 else Outcome.DISCONNECTED
        for number in range(10)
    }
    assert asyncio.iscoroutinefunction(EventStreamMiddleware.__call__)
