"""Streams whose source, hook or client does something at an awkward moment."""

import asyncio
import contextvars
import gc
import threading
import weakref

import anyio
import pytest

from sse_asgi import (
    EventStream,
    EventStreamMiddleware,
    Outcome,
    ServerSentEvent,
    Shutdown,
    TextFraming,
)
from sse_asgi.stream import lifecycle
from tests.stream.failing_framing import FailingFraming
from tests.stream.peer import (
    BODY,
    KEEP_ALIVE,
    START,
    Block,
    Peer,
    Record,
    logged_errors,
    seconds_of_shutdown,
    soon,
)

FAREWELL = ServerSentEvent(event="bye", data="back soon")

pytestmark = pytest.mark.anyio


async def stubborn(event):
    """Wait for an event, and ignore every cancellation meanwhile."""
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except asyncio.CancelledError:
            pass


async def test_abandoned_source_that_goes_on_starts_nothing_again(monkeypatch):
    """Under trio it crashes the run; under asyncio a watcher and a timer stay for ever."""
    monkeypatch.setattr("sse_asgi.stream.lifecycle.LAST_CHANCE", 0.01)
    freed, waits = anyio.Event(), anyio.Event()
    calls = 0

    async def source(request):
        waits.set()
        await stubborn(freed)
        yield "late"

    async def receive():
        nonlocal calls
        calls += 1
        return await peer.receive()

    record = Record()
    app = EventStream(source, on_complete=record, prefetch=True, cleanup_timeout=0.01)
    async with Peer(lambda scope, _, send: app(scope, receive, send)) as peer:
        await soon(waits)
        await anyio.sleep(0.01)
        peer.leave()
        with anyio.fail_after(5):
            while not record:
                await anyio.sleep(0.01)
        calls_before = calls
        freed.set()
        await peer.until(lambda: peer.ended)
        for _ in range(5):
            await anyio.sleep(0)
    assert calls == calls_before


async def test_grace_that_ends_in_the_hook_does_not_cut_the_last_message(monkeypatch):
    """The hook, told before the body ends, may take its time."""
    monkeypatch.setattr(lifecycle, "STOP_GRACE", 0.02)
    shutdown = Shutdown(grace=0.02, signals=False)

    async def on_complete(transcript):
        await anyio.sleep(0.1)

    async def source(request):
        yield "a"
        shutdown.begin()
        await anyio.sleep(0.001)
        yield "b"

    async def on_send(message):
        await anyio.sleep(0)

    app = EventStream(source, on_complete=on_complete, shutdown=shutdown)
    async with Peer(app, on_send=on_send) as peer:
        pass
    assert peer.closed


async def test_last_message_after_the_hook_is_bounded_also_if_the_client_left_meanwhile(
    monkeypatch,
):
    monkeypatch.setattr(lifecycle, "STOP_GRACE", 0.02)
    monkeypatch.setattr(lifecycle, "CLIENT_GRACE", 0.02)
    shutdown = Shutdown(grace=0.01, signals=False)
    begun = anyio.Event()

    async def on_complete(transcript):
        peer.leave()
        await anyio.sleep(0.1)

    async def source(request):
        yield "a"
        begun.set()
        await anyio.sleep_forever()

    async def on_send(message):
        if not message.get("more_body", True):
            await anyio.sleep_forever()

    app = EventStream(source, on_complete=on_complete, shutdown=shutdown)
    with anyio.fail_after(3):
        async with Peer(app, on_send=on_send) as peer:
            await soon(begun)
            shutdown.begin()


async def test_disconnect_raises_nothing_whatever_the_clean_up_of_the_source_raises():
    """It is logged. The server is told of no exception: the client has left before the start."""
    waits = anyio.Event()

    async def source(request):
        try:
            waits.set()
            await anyio.sleep_forever()
            yield "a"
        finally:
            raise LookupError

    record = Record()
    async with Peer(EventStream(source, on_complete=record, prefetch=True)) as peer:
        await soon(waits)
        peer.leave()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert peer.raised is None


@pytest.mark.parametrize("ends", [False, True])
async def test_a_shutdown_waits_half_a_second_for_a_keep_alive_that_hangs(ends):
    async def source(request):
        yield "a"
        await block.reached.wait()
        yield "b"
        if not ends:
            await anyio.sleep_forever()

    block, shutdown, record = Block(KEEP_ALIVE), Shutdown(grace=0, signals=False), Record()
    options = {"heartbeat": 0.01, "shutdown": shutdown, "send_timeout": None}
    app = EventStream(source, on_complete=record, **options)
    assert 0.4 < await seconds_of_shutdown(app, block, shutdown) < 0.9
    assert record.only.outcome is Outcome.SHUT_DOWN


async def test_shutdown_before_the_first_chunk_says_so_whatever_the_clean_up_raises():
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    waits = anyio.Event()

    async def source(request):
        try:
            waits.set()
            await anyio.sleep_forever()
            yield "a"
        finally:
            raise LookupError

    record = Record()
    app = EventStream(source, on_complete=record, prefetch=True, shutdown=shutdown)
    async with Peer(app) as peer:
        await soon(waits)
        shutdown.begin()
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert peer.raised is None
    assert peer.body == FAREWELL.encode()


@pytest.mark.parametrize("context", [None, contextvars.copy_context()])
async def test_sync_source_is_closed_before_the_report(context):
    """In a context of its own, too, and under trio."""
    closed = []
    go_on = threading.Event()

    def source(request):
        try:
            while True:
                yield "a"
                go_on.wait(0.01)
        finally:
            closed.append(True)

    closed_at_report = []
    app = EventStream(
        source, on_complete=lambda transcript: closed_at_report.extend(closed), context=context
    )
    async with Peer(app) as peer:
        await peer.received(b"data: a")
        peer.leave()
    assert closed_at_report == [True]


async def test_abandoned_source_that_ends_leaves_the_last_message_its_time(monkeypatch):
    """The app does not return before the body has ended, and nothing cuts its end."""
    monkeypatch.setattr("sse_asgi.stream.lifecycle.LAST_CHANCE", 0.01)
    freed, block = anyio.Event(), Block(FAREWELL.encode())

    async def source(request):
        yield "a"
        await stubborn(freed)

    shutdown = Shutdown(grace=0, signals=False, farewell=FAREWELL)
    app = EventStream(source, shutdown=shutdown, cleanup_timeout=0.01)
    async with Peer(app, on_send=block) as peer:
        await peer.received(b"data: a")
        shutdown.begin()
        await soon(block.reached)
        freed.set()
        await anyio.sleep(0.01)
        returned_early = peer.ended
        block.opened.set()
    assert peer.closed
    assert not returned_early


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_server_that_cancels_an_abandoned_source_gets_its_cancellation(monkeypatch):
    monkeypatch.setattr("sse_asgi.stream.lifecycle.LAST_CHANCE", 0.01)
    freed, waits = asyncio.Event(), asyncio.Event()

    async def source(request):
        waits.set()
        await stubborn(freed)
        await asyncio.sleep(5)
        yield "a"

    record = Record()
    peer = Peer(EventStream(source, on_complete=record, cleanup_timeout=0.01))
    task = asyncio.create_task(peer.run())
    await soon(waits)
    peer.leave()
    with anyio.fail_after(5):
        while not record:
            await anyio.sleep(0.001)
    freed.set()
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait((task,), timeout=3)
    assert task.cancelled()


async def test_timeout_that_passes_in_a_hook_cuts_no_send_that_has_not_begun():
    """The source is told first: its chunk is sent afterwards, and the stream goes on."""

    async def on_chunk(chunk):
        if chunk == "b":
            await anyio.sleep(0.02)

    async def source(request):
        yield "a"
        await anyio.sleep(0.001)
        with anyio.move_on_after(0.01):
            yield "b"
            await anyio.sleep_forever()
        yield "c"

    async def on_send(message):
        await anyio.sleep(0.001)

    record = Record()
    app = EventStream(source, on_complete=record, on_chunk=on_chunk)
    async with Peer(app, on_send=on_send) as peer:
        pass
    assert record.only.outcome is Outcome.COMPLETED
    assert peer.text == "abc"


class Fatal(BaseException):
    """What is no `Exception`, as `SystemExit` is none, but nothing that an event loop looks for."""


async def test_fatal_error_in_the_clean_up_of_a_source_is_not_swallowed():
    raised = []

    async def source(request):
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            raise Fatal

    async def server(scope, receive, send):
        try:
            await app(scope, receive, send)
        except BaseException as error:
            raised.append(error)

    app = EventStream(source)
    async with Peer(server) as peer:
        await peer.received(b"data: a")
        peer.leave()
    assert raised or peer.log


async def fail():
    raise LookupError


async def wait_and_end():
    await anyio.sleep(0.01)


def make_source(then):
    async def source(request):
        yield "a"
        await then()

    return source


def make_app(then):
    async def app(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": START, "status": 200, "headers": headers})
        await send({"type": BODY, "body": b"data: a\n\n", "more_body": True})
        await then()

    return app


def fatal(body=None):
    async def on_send(message):
        if message.get("body") == body or (body is None and message.get("more_body") is False):
            raise Fatal

    return on_send


FATAL = {
    "text": {"framing": FailingFraming("text", Fatal())},
    "end": {"framing": FailingFraming("end", Fatal())},
    "fail": {"framing": FailingFraming("fail", Fatal()), "then": fail},
    "a send": {"on_send": fatal(b"data: a\n\n")},
    "a keep-alive": {"on_send": fatal(KEEP_ALIVE), "then": anyio.sleep_forever},
    "the last send": {"on_send": fatal()},
}


@pytest.mark.parametrize("where", FATAL)
async def test_on_complete_is_told_of_a_fatal_error_which_is_raised_then(where):
    await check_fatal(EventStream, make_source, **FATAL[where])


@pytest.mark.parametrize("where", ["fail", "a send", "a keep-alive", "the last send"])
async def test_on_complete_is_told_of_one_behind_the_middleware_too(where):
    await check_fatal(EventStreamMiddleware, make_app, **FATAL[where])


async def check_fatal(door, make, *, framing=None, then=wait_and_end, on_send=None):
    record, raised = Record(), []

    async def server(scope, receive, send):
        try:
            await app(scope, receive, send)
        except BaseException as error:
            raised.append(error)

    framing = framing or TextFraming()
    app = door(make(then), on_complete=record, framing=framing, heartbeat=0.05)
    async with Peer(server, on_send=on_send):
        pass
    assert record.only.outcome is Outcome.FAILED
    (error,) = raised
    if isinstance(error, BaseExceptionGroup):  # trio's nursery makes one
        (error,) = error.exceptions
    assert isinstance(error, Fatal)


# Freed without the cycle collector


class Scope(dict):
    """A scope that can be referred to weakly: whatever holds the stream holds it, too."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def is_freed(peer, reference):
    peer.forget()
    del peer
    for _ in range(5):
        await anyio.sleep(0)
    return reference() is None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio's own exceptions are in circles
async def test_stream_whose_on_complete_raises_is_freed(no_collector):
    async def source(request):
        yield "a"

    async def on_complete(transcript):
        raise LookupError

    peer = Peer(EventStream(source, on_complete=on_complete))
    peer.scope = Scope(peer.scope)
    reference = weakref.ref(peer.scope)
    async with peer:
        pass
    peer.scope = None
    assert await is_freed(peer, reference)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_failed_stream_that_is_cancelled_in_its_report_is_freed(no_collector):
    reported = asyncio.Event()

    async def source(request):
        yield "a"
        raise LookupError

    async def on_complete(transcript):
        reported.set()
        await asyncio.sleep(0.01)

    peer = Peer(EventStream(source, on_complete=on_complete))
    peer.scope = Scope(peer.scope)
    reference = weakref.ref(peer.scope)
    task = asyncio.create_task(peer.run())
    await soon(reported)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    del task
    peer.scope = None
    assert await is_freed(peer, reference)


async def test_abandoned_source_that_ends_leaves_the_error_to_the_report(monkeypatch):
    monkeypatch.setattr("sse_asgi.stream.lifecycle.LAST_CHANCE", 0.01)
    freed, block = anyio.Event(), Block(b"event: error")

    async def source(request):
        try:
            yield "a"
        finally:
            await stubborn(freed)

    def on_chunk(chunk):
        raise LookupError

    record = Record()
    app = EventStream(source, on_chunk=on_chunk, on_complete=record, cleanup_timeout=0.01)
    async with Peer(app, on_send=block):
        await soon(block.reached)
        freed.set()
        await anyio.sleep(0.01)
        block.opened.set()
        with anyio.fail_after(5):
            while not record:
                await anyio.sleep(0.001)
    assert isinstance(record.only.error, LookupError)


async def test_client_that_has_left_before_the_answer_to_head_is_no_error():
    async def source(request):
        yield "a"

    async def on_send(message):
        raise OSError

    async with Peer(EventStream(source), method="HEAD", on_send=on_send) as peer:
        pass
    assert peer.raised is None


async def test_source_that_is_closed_inside_of_a_task_group_raises_nothing():
    """The group makes a group of what closes the generator: that is no failure."""

    async def source(request):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            await peer.until(lambda: peer.bodies)
            await anyio.sleep(0.001)
            yield "a"  # here it stands when the client leaves

    block, record = Block(b"data: a"), Record()
    async with Peer(EventStream(source, on_complete=record), on_send=block) as peer:
        await soon(block.reached)
        peer.leave()
    assert peer.raised is None
    assert record.only.outcome is Outcome.DISCONNECTED
    assert logged_errors(peer.log) == []
