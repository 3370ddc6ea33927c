"""Watching the client: one caller of `receive`, and no server can starve the loop with it."""

import anyio
import pytest

from sse_asgi import EventStream, Outcome, Request
from sse_asgi.stream.watch import MAX_REPEATS, watch
from sse_asgi.wire.outcome import DISCONNECTED
from tests.stream.peer import (
    DISCONNECT,
    PATIENCE,
    Peer,
    Record,
    http_scope,
    logged_errors,
    run,
    soon,
)

pytestmark = pytest.mark.anyio

END = {"type": "http.request", "body": b"", "more_body": False}


class Losses:
    """Stands for the sender: it notes why a client is lost, or what `receive` raised."""

    def __init__(self):
        self.reasons = []

    def lose_client(self, outcome, *, by):
        self.reasons.append((outcome, by))

    def receive_failed(self, error):
        self.reasons.append(error)
        return isinstance(error, Exception)


async def test_returns_at_the_disconnect_and_feeds_what_came_before():
    messages = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": False},
        DISCONNECT,
    ]

    async def receive():
        return messages.pop(0)

    request, losses = Request(http_scope()), Losses()
    with anyio.fail_after(PATIENCE):
        await watch(receive, request, losses)
    assert messages == []
    assert losses.reasons == [(DISCONNECTED, "client")]
    assert await request.body() == b"ab"


async def test_an_error_of_receive_is_told():
    error, losses = LookupError(), Losses()

    async def receive():
        raise error

    await watch(receive, Request(http_scope()), losses)
    assert losses.reasons == [error]


async def test_a_server_that_repeats_itself_is_left_in_peace():
    calls = []

    async def receive():
        calls.append(1)
        return dict(END)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, receive, Request(http_scope()), Losses())
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert len(calls) == MAX_REPEATS + 1


async def test_a_long_body_is_no_repetition():
    parts = [{"type": "http.request", "body": b"x", "more_body": True}] * (MAX_REPEATS * 3)
    messages = [*parts, END, DISCONNECT]

    async def receive():
        return messages.pop(0)

    request = Request(http_scope())
    with anyio.fail_after(PATIENCE):
        await watch(receive, request, Losses())
    assert await request.body() == b"x" * len(parts)


async def test_behind_such_a_server_a_failing_send_tells_that_the_client_left():
    record = Record()

    async def source(request):
        while True:
            yield "word "
            await anyio.sleep(0)

    async def on_send(message):
        if peer.body.count(b"word") >= 3:
            raise OSError("broken pipe")

    peer = Peer(EventStream(source, on_complete=record), on_send=on_send)

    async def receive():
        return dict(END)

    peer.receive = receive
    async with peer:
        pass
    assert record.only.outcome is Outcome.DISCONNECTED
    assert peer.raised is None


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ConnectionResetError(), Outcome.DISCONNECTED), (LookupError("server"), Outcome.FAILED)],
)
async def test_a_receive_that_raises_ends_the_stream(error, outcome):
    record, closed = Record(), []

    async def source(request):
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            closed.append(1)

    peer = Peer(EventStream(source, on_complete=record))

    async def receive():
        await peer.received(b"data: a\n")
        raise error

    peer.receive = receive
    async with peer:
        pass
    assert closed == [1]
    assert record.only.outcome is outcome
    assert peer.raised is None
    assert logged_errors(peer.log) == ([error] if outcome is Outcome.FAILED else [])


async def test_receive_is_called_from_the_start_and_never_twice_at_once():
    at_once, most = 0, 0
    called = anyio.Event()

    async def source(request):
        await soon(called)
        await request.body()
        yield "a"

    peer = Peer(EventStream(source), body=(b"a", b"b"))
    receive = peer.receive

    async def counted():
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        called.set()
        try:
            await anyio.sleep(0)
            return await receive()
        finally:
            at_once -= 1

    peer.receive = counted
    async with peer:
        pass
    assert most == 1
    assert at_once == 0
    assert peer.text == "a"


async def test_a_receive_that_gives_a_bare_future_like_is_enough():
    class FutureLike:
        def __init__(self, awaited):
            self.awaited = awaited

        def __await__(self):
            return self.awaited.__await__()

    async def source(request):
        yield (await request.body()).decode()
        await anyio.sleep_forever()

    record = Record()
    peer = Peer(EventStream(source, on_complete=record), body=(b"text",))
    receive = peer.receive
    peer.receive = lambda: FutureLike(receive())
    async with peer:
        await peer.received(b"data: text")
        peer.leave()
    assert record.only.outcome is Outcome.DISCONNECTED


async def test_the_end_of_a_stream_that_completed_is_not_taken_for_the_client_leaving():
    _, transcript = await run(["a"])
    assert transcript.outcome is Outcome.COMPLETED
