"""Streams of other apps whose hook, framing, task or client fails at an awkward moment."""

import asyncio
from typing import ClassVar

import anyio
import pytest

from sse_asgi import EventStreamMiddleware, Outcome, ServerSentEvent, Shutdown, TextFraming
from sse_asgi.retrofit import inbox
from sse_asgi.stream import lifecycle
from sse_asgi.wire.text_framing import TextEncoder
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

EVENT_STREAM = [(b"content-type", b"text/event-stream")]
FAREWELL = ServerSentEvent(event="bye", data="back soon")

pytestmark = pytest.mark.anyio


def wrapped(app, **options):
    record = Record()
    options = {"on_complete": record, "shutdown": None, **options}
    return EventStreamMiddleware(app, **options), record


async def start(send):
    await send({"type": START, "status": 200, "headers": EVENT_STREAM})


async def more(send, body):
    await send({"type": BODY, "body": body, "more_body": True})


async def last(send, body=b""):
    await send({"type": BODY, "body": body, "more_body": False})


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio counts no cancellations
@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_send_that_fails_under_an_app_that_listens_cancels_nobody(number):
    """The app's task is the server's: a cancellation that is left over would end that."""

    async def listen(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    async def app(scope, receive, send):
        listener = asyncio.create_task(listen(receive))
        await asyncio.sleep(0)
        await start(send)
        await more(send, b"data: a\n\n")
        await more(send, b"data: b\n\n")
        await last(send)
        await listener

    async def on_send(message):
        if peer.attempts == number:
            raise OSError

    middleware, record = wrapped(app)
    peer = Peer(middleware, on_send=on_send)
    task = asyncio.create_task(peer.run())
    await asyncio.wait((task,), timeout=5)
    assert record.only.outcome is Outcome.DISCONNECTED
    assert not task.cancelled()
    assert task.cancelling() == 0


async def test_hook_that_raises_fails_the_stream_also_if_the_app_catches_that():
    """No event is lost in silence: its end marker would say that the client has had it all."""

    def on_chunk(chunk):
        if chunk == "b":
            raise LookupError

    async def app(scope, receive, send):
        await start(send)
        for body in (b"data: a\n\n", b"data: b\n\n", b"data: c\n\n"):
            try:
                await more(send, body)
            except LookupError:
                continue
        await last(send, b"data: [DONE]\n\n")

    middleware, record = wrapped(app, on_chunk=on_chunk)
    async with Peer(middleware) as peer:
        pass
    assert record.only.outcome is Outcome.FAILED
    assert b"[DONE]" not in peer.body
    assert peer.events[-1].type == "error"


async def test_hook_that_raises_while_a_keep_alive_is_sent_leaves_the_last_message_whole():
    """The app has ended by its hook's failure: what was to cancel it must not cancel the end."""

    def on_chunk(chunk):
        raise LookupError

    async def app(scope, receive, send):
        await start(send)
        await soon(block.reached)
        await more(send, b"data: a\n\n")

    block = Block(KEEP_ALIVE)
    middleware, record = wrapped(app, on_chunk=on_chunk, heartbeat=0.01)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        await anyio.sleep(0.02)  # the stream waits for the keep-alive
        block.opened.set()
    assert record.only.outcome is Outcome.FAILED
    assert isinstance(record.only.error, LookupError)
    assert peer.events[-1].type == "error"
    assert peer.closed


async def test_last_message_that_fails_with_an_os_error_is_a_disconnect():
    async def app(scope, receive, send):
        await start(send)
        await last(send, b"data: a\n\n")

    async def on_send(message):
        if not message.get("more_body", True):
            raise OSError

    middleware, record = wrapped(app)
    async with Peer(middleware, on_send=on_send):
        pass
    assert record.only.outcome is Outcome.DISCONNECTED


async def test_last_message_that_the_server_refuses_has_failed_with_its_error():
    async def app(scope, receive, send):
        await start(send)
        await last(send, b"data: a\n\n")

    async def on_send(message):
        if not message.get("more_body", True):
            raise LookupError

    middleware, record = wrapped(app)
    async with Peer(middleware, on_send=on_send):
        pass
    assert record.only.outcome is Outcome.FAILED
    assert isinstance(record.only.error, LookupError)


async def test_app_that_raises_beside_its_last_message_has_failed_and_is_logged():
    async def app(scope, receive, send):
        await start(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(last, send, b"data: a\n\n")
            await block.reached.wait()
            raise LookupError

    block = Block(b"data: a")
    middleware, record = wrapped(app)
    async with Peer(middleware, on_send=block) as peer:
        pass
    assert record.only.outcome is Outcome.FAILED
    assert logged_errors(peer.log) or peer.raised is not None


@pytest.mark.parametrize("send_waits", [False, True])
@pytest.mark.parametrize("how", ["returns", "raises"])
async def test_app_that_is_stopped_in_a_send_and_ends_without_waiting_gets_a_clean_end(
    how, send_waits
):
    """Nothing is left over of the cancellation that would have stopped it."""
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    returned = []

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a\n\n")
        if how == "raises":
            raise LookupError

    async def on_send(message):
        await block(message)
        if send_waits:
            await anyio.sleep(0)

    async def server(scope, receive, send):
        await middleware(scope, receive, send)
        await anyio.sleep(0)
        returned.append(True)

    block = Block(b"data: a")
    middleware, _ = wrapped(app, shutdown=shutdown, on_complete=None)
    async with Peer(server, on_send=on_send) as peer:
        await soon(block.reached)
        shutdown.begin()
        await anyio.sleep(0.02)  # the stop waits for the send
        block.opened.set()
    assert peer.body == b"data: a\n\n" + FAREWELL.encode()
    assert peer.closed
    assert returned


@pytest.mark.parametrize("send_waits", [False, True])
@pytest.mark.parametrize("hook_waits", [False, True])
@pytest.mark.matrix("anyio_backend")
async def test_stop_that_waits_for_the_last_bytes_lets_the_body_end(hook_waits, send_waits):
    """The hook is told before the body ends: the last bytes go out as a message of their own."""
    shutdown = Shutdown(grace=0.2, signals=False)
    returned = []

    async def app(scope, receive, send):
        await start(send)
        shutdown.begin()
        await anyio.sleep(0.001)
        await last(send, b"data: a\n\n")
        await anyio.sleep(0)  # a background task, say
        returned.append(True)

    async def on_send(message):
        await block(message)
        if send_waits:
            await anyio.sleep(0)

    block, record = Block(b"data: a"), Record()
    on_complete = record if hook_waits else record.append
    middleware, _ = wrapped(app, shutdown=shutdown, on_complete=on_complete)
    async with Peer(middleware, on_send=on_send) as peer:
        await soon(block.reached)
        await anyio.sleep(0.3)  # the grace is over, and the stop waits for the send
        block.opened.set()
    assert peer.closed
    assert returned
    assert record.only.chunks == 1


async def test_grace_that_ends_in_the_hook_does_not_cut_the_last_message(monkeypatch):
    monkeypatch.setattr(lifecycle, "STOP_GRACE", 0.02)
    shutdown = Shutdown(grace=0.02, signals=False)

    async def on_complete(transcript):
        await anyio.sleep(0.1)

    async def app(scope, receive, send):
        await start(send)
        shutdown.begin()
        await anyio.sleep(0.001)
        await last(send, b"data: a\n\n")

    async def on_send(message):
        await anyio.sleep(0)

    middleware, _ = wrapped(app, shutdown=shutdown, on_complete=on_complete)
    async with Peer(middleware, on_send=on_send) as peer:
        pass
    assert peer.closed


class Framing:
    """A user's framing that raises at one moment."""

    headers: ClassVar = {}

    def __init__(self, raises_in):
        self.raises_in = raises_in

    def encoder(self):
        self.maybe_raise("encoder")
        return Encoder(self)

    def decoder(self):
        self.maybe_raise("decoder")
        return TextFraming().decoder()

    def maybe_raise(self, where):
        if where == self.raises_in:
            raise LookupError(where)


class Encoder(TextEncoder):
    def __init__(self, framing):
        super().__init__("[DONE]")
        self.framing = framing

    def begin(self):
        self.framing.maybe_raise("begin")
        return b""


@pytest.mark.parametrize("where", ["encoder", "decoder"])
async def test_framing_that_raises_before_the_start_leaves_the_answer_to_the_server(where):
    async def app(scope, receive, send):
        await start(send)
        await last(send, b"data: a\n\n")

    middleware, _ = wrapped(app, framing=Framing(where))
    async with Peer(middleware) as peer:
        pass
    assert isinstance(peer.raised, LookupError)
    assert peer.messages == []


# Apps that send from several tasks


async def test_no_keep_alive_beside_the_slower_of_two_sends():
    async def app(scope, receive, send):
        await start(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(more, send, b"data: slow\n\n")
            await block.reached.wait()
            tasks.start_soon(more, send, b"data: fast\n\n")  # it waits for the slow one
            await anyio.sleep(0.05)
            block.opened.set()
        await last(send)

    async def send(message):
        if message.get("body") == KEEP_ALIVE:
            beside.append(block.reached.is_set() and not block.opened.is_set())
        await peer.send(message)

    beside, block = [], Block(b"data: slow")
    middleware, _ = wrapped(app, heartbeat=0.01)
    peer = Peer(middleware, on_send=block)
    with anyio.fail_after(5):
        await middleware(peer.scope, peer.receive, send)
    assert True not in beside
    assert not peer.broken_rules


async def test_slower_of_two_sends_has_its_deadline():
    async def app(scope, receive, send):
        await start(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(more, send, b"data: slow\n\n")
            await block.reached.wait()
            await more(send, b"data: fast\n\n")
        await last(send)

    block = Block(b"data: slow")
    middleware, record = wrapped(app, send_timeout=0.02)
    peer = Peer(middleware, on_send=block)
    with anyio.fail_after(3):
        await middleware(peer.scope, peer.receive, peer.send)
    assert record.only.outcome is Outcome.TIMED_OUT


# Apps that were abandoned


async def stubborn(event):
    """Wait for an event, and ignore every cancellation meanwhile; return whether there was one."""
    error = None
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except asyncio.CancelledError as caught:
            error = caught
    return error


@pytest.mark.parametrize("then", ["sends", "raises what cancelled it"])
async def test_abandoned_app_that_goes_on_reaches_nobody(then, monkeypatch):
    """Its stream has ended: neither its messages nor its cancellation are the server's business."""
    monkeypatch.setattr("sse_asgi.stream.lifecycle.LAST_CHANCE", 0.01)
    freed, returned = anyio.Event(), []

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a\n\n")
        error = await stubborn(freed)
        if then == "sends":
            await more(send, b"data: b\n\n")
        elif error is not None:
            raise error

    async def server(scope, receive, send):
        await middleware(scope, receive, send)
        returned.append(True)

    shutdown = Shutdown(grace=0, signals=False)
    middleware, record = wrapped(app, cleanup_timeout=0.01, shutdown=shutdown)
    async with Peer(server) as peer:
        await peer.received(b"data: a")
        shutdown.begin()
        await peer.until(lambda: peer.closed)
        with anyio.fail_after(5):
            while not record:
                await anyio.sleep(0.001)
        freed.set()
    assert returned


async def test_keep_alives_go_out_while_a_hook_takes_long():
    async def on_chunk(chunk):
        await soon(kept_alive)

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a\n\n")
        await last(send)

    async def on_send(message):
        if message.get("body") == KEEP_ALIVE:
            kept_alive.set()

    kept_alive = anyio.Event()
    middleware, _ = wrapped(app, heartbeat=0.01, on_chunk=on_chunk)
    with anyio.fail_after(3):
        async with Peer(middleware, on_send=on_send) as peer:
            pass
    assert peer.body.startswith(KEEP_ALIVE)


async def test_chunk_that_waited_behind_a_keep_alive_was_not_handed_to_the_server():
    block = Block(KEEP_ALIVE)

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a\n\n")
        await block.reached.wait()
        await more(send, b"data: b\n\n")

    middleware, record = wrapped(app, heartbeat=0.01)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        await anyio.sleep(0.01)
        peer.leave()
    assert (record.only.chunks, record.only.sent_chunks) == (2, 1)


async def test_last_message_is_not_sent_behind_a_keep_alive_that_has_failed():
    async def app(scope, receive, send):
        await start(send)
        await soon(reached)
        await last(send, b"data: a\n\n")

    async def on_send(message):
        bodies.append(message.get("body"))
        if message.get("body") == KEEP_ALIVE:
            reached.set()
            await soon(fails)
            raise OSError

    reached, fails, bodies = anyio.Event(), anyio.Event(), []
    middleware, record = wrapped(app, heartbeat=0.01)
    async with Peer(middleware, on_send=on_send):
        await soon(reached)
        await anyio.wait_all_tasks_blocked()  # the last message waits for the keep-alive
        fails.set()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert bodies[-1] == KEEP_ALIVE


@pytest.mark.parametrize("sends", [False, True])
@pytest.mark.parametrize("listens", [False, True])
async def test_a_shutdown_waits_half_a_second_for_a_keep_alive_that_hangs(listens, sends):
    block, shutdown = Block(KEEP_ALIVE), Shutdown(grace=0, signals=False)

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a\n\n")
        await block.reached.wait()
        if sends:
            await more(send, b"data: b\n\n")
        while listens and (await receive())["type"] != "http.disconnect":
            pass
        if not listens:
            await anyio.sleep_forever()

    middleware, record = wrapped(app, heartbeat=0.01, shutdown=shutdown, send_timeout=None)
    assert 0.4 < await seconds_of_shutdown(middleware, block, shutdown) < 0.9
    assert record.only.outcome is Outcome.SHUT_DOWN


async def test_cancellations_in_a_group_are_not_raised_when_the_app_was_stopped():
    """Several versions of trio have nurseries that make such a group."""

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a\n\n")
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as error:
            raise BaseExceptionGroup("", [error]) from None

    async def server(scope, receive, send):
        try:
            await middleware(scope, receive, send)
        except BaseException as error:
            raised.append(error)

    raised, shutdown = [], Shutdown(grace=0, signals=False)
    middleware, record = wrapped(app, shutdown=shutdown)
    async with Peer(server) as peer:
        await peer.received(b"data: a")
        shutdown.begin()
    assert (record.only.outcome, record.only.by) == (Outcome.SHUT_DOWN, "shutdown")
    assert raised == []


async def test_a_body_is_read_ahead_of_its_app_up_to_a_bound_and_nothing_is_lost():
    """The client is watched for its leaving, but an unread upload must not fill the memory."""
    given, ahead, read = [], [], []

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a\n\n")
        await anyio.wait_all_tasks_blocked()
        ahead.append(len(given))
        for _ in range(200):
            read.append((await receive())["body"])
        await last(send)

    async def receive():
        if len(given) == 200:
            return await client()
        given.append(b"%d" % len(given))
        return {"type": "http.request", "body": given[-1], "more_body": len(given) < 200}

    middleware, record = wrapped(app)
    peer = Peer(middleware)
    client, peer.receive = peer.receive, receive
    async with peer:
        pass
    assert ahead == [inbox.MAX_MESSAGES]
    assert read == given
    assert record.only.outcome is Outcome.COMPLETED


# Sends that were cut, or that failed, in the middle of an event


async def test_error_event_never_follows_half_an_event_whose_rest_was_cut():
    """Nobody knows whether the rest has arrived: so nothing may follow it."""

    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(more, send, b"\n\n")
            await block.reached.wait()
            raise LookupError

    async def on_send(message):
        if message.get("body") == b"\n\n":
            await block(message)

    block = Block(b"\n\n")
    middleware, _ = wrapped(app)
    async with Peer(middleware, on_send=on_send) as peer:
        pass
    assert peer.body == b"data: a"


async def test_error_event_never_follows_half_an_event_whose_rest_was_refused():
    async def app(scope, receive, send):
        await start(send)
        await more(send, b"data: a")
        await more(send, b"\n\n")

    async def on_send(message):
        if message.get("body") == b"\n\n":
            raise LookupError

    middleware, _ = wrapped(app)
    async with Peer(middleware, on_send=on_send) as peer:
        pass
    assert peer.body == b"data: a"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio counts no cancellations
async def test_no_count_of_cancellations_is_left_over_of_a_stop_in_the_hook(monkeypatch):
    monkeypatch.setattr(lifecycle, "STOP_GRACE", 0.01)
    shutdown = Shutdown(grace=0.01, signals=False)

    async def on_complete(transcript):
        await anyio.sleep(0.1)

    async def app(scope, receive, send):
        await start(send)
        shutdown.begin()
        await anyio.sleep(0.001)
        await last(send, b"data: a\n\n")

    middleware, _ = wrapped(app, shutdown=shutdown, on_complete=on_complete)
    peer = Peer(middleware)
    task = asyncio.create_task(peer.run())
    await asyncio.wait((task,), timeout=5)
    assert peer.closed
    assert task.cancelling() == 0


# What a dialect begins with


class Begins(Framing):
    def encoder(self):
        return BeginsEncoder(self)


class BeginsEncoder(Encoder):
    def begin(self):
        return b"event: begin\ndata: 1\n\n"


async def test_failure_of_an_app_that_has_sent_no_event_begins_as_the_framing_does():
    async def app(scope, receive, send):
        await start(send)
        raise LookupError

    middleware, _ = wrapped(app, framing=Begins(None))
    async with Peer(middleware) as peer:
        pass
    assert [event.type for event in peer.events] == ["begin", "error"]
