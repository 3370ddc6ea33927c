"""How the streams of other apps end behind the middleware, where that is not for the app to say."""

import asyncio
import time

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route

from sse_asgi import EventStreamMiddleware, Outcome, ServerSentEvent, Shutdown
from tests.stream.peer import BODY, START, Block, Peer, Record, logged_errors, soon

EVENT_STREAM = [(b"content-type", b"text/event-stream")]
FAREWELL = ServerSentEvent(event="bye", data="back soon")

pytestmark = pytest.mark.anyio


def wrapped(app, **options):
    record = Record()
    return EventStreamMiddleware(app, on_complete=record, **{"shutdown": None, **options}), record


async def start(send):
    await send({"type": START, "status": 200, "headers": EVENT_STREAM})


async def more(send, body):
    await send({"type": BODY, "body": body, "more_body": True})


# Cancellations of the app's own making


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has none without a scope
@pytest.mark.parametrize("where", ["at once", "after an event", "of a task that it awaits"])
async def test_app_that_raises_a_cancellation_by_itself_is_not_taken_for_one_that_ended(where):
    async def app(scope, receive, send):
        await start(send)
        if where != "at once":
            await more(send, b"data: a\n\n")
        if where == "of a task that it awaits":
            task = asyncio.create_task(anyio.sleep_forever())
            task.cancel()
            await task
        raise asyncio.CancelledError

    middleware, record = wrapped(app)
    peer = Peer(middleware)
    task = asyncio.create_task(peer.run())
    await asyncio.wait((task,), timeout=5)
    assert task.done()
    # Either the client is told, or the server: not neither.
    assert peer.closed or task.cancelled()
    assert record.only.outcome is not Outcome.COMPLETED
    if peer.closed and record.only.outcome is Outcome.FAILED:
        assert peer.events[-1].type == "error"


# An app that stands in a blocked send


@pytest.mark.parametrize("in_task", [False, True])
async def test_server_that_stops_takes_no_event_away_in_silence(in_task):
    """The client reads slowly: the event that it is about to get is not lost behind a farewell."""
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)

    async def respond(send):
        await start(send)
        await more(send, b"data: a\n\n")
        await more(send, b"data: b\n\n")
        await anyio.sleep_forever()

    async def app(scope, receive, send):
        if in_task:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(respond, send)
        else:
            await respond(send)

    block = Block(b"data: b")
    middleware, record = wrapped(app, shutdown=shutdown)
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        shutdown.begin()
        await anyio.sleep(0.05)
        block.opened.set()
    assert peer.closed
    assert peer.raised is None
    if b"data: b" in peer.body:
        assert peer.body == b"data: a\n\ndata: b\n\n" + FAREWELL.encode()
        assert record.only.outcome is Outcome.SHUT_DOWN
    else:  # nobody knows of a send that was cut whether it arrived
        assert peer.events[-1].type == "error"
        assert record.only.outcome is Outcome.FAILED


async def test_app_that_fails_beside_its_blocked_send_ends_with_an_error_event():
    async def respond(send):
        await start(send)
        await more(send, b"data: a\n\n")
        await more(send, b"data: b\n\n")

    async def app(scope, receive, send):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(respond, send)
            await block.reached.wait()
            raise LookupError

    block = Block(b"data: b")
    middleware, record = wrapped(app)
    async with Peer(middleware, on_send=block) as peer:
        pass
    assert block.cancelled
    assert peer.closed
    assert peer.raised is None
    assert [event.type for event in peer.events] == ["message", "error"]
    assert record.only.outcome is Outcome.FAILED
    assert len(logged_errors(peer.log)) == 1


# What a send raised


@pytest.mark.parametrize("error", [RuntimeError("server"), OSError("gone")])
@pytest.mark.parametrize("part", [b"start", b"data: a"])
async def test_endpoint_sees_what_its_send_raised(part, error):
    seen = []

    async def app(scope, receive, send):
        try:
            await start(send)
            await more(send, b"data: a\n\n")
        except Exception as caught:
            seen.append(caught)
            raise

    async def on_send(message):
        if part in message.get("body", b"start"):
            raise error

    middleware, record = wrapped(app)
    async with Peer(middleware, on_send=on_send):
        pass
    if isinstance(error, RuntimeError):
        assert seen == [error]
        assert record.only.outcome is Outcome.FAILED
    else:
        assert seen in ([], [error])  # the client has left: the app may be ended at once
        assert record.only.outcome is Outcome.DISCONNECTED


# Starlette's BaseHTTPMiddleware between: its app sends from another task than ours


def starlette(frames, *, base):
    async def endpoint(request):
        return StreamingResponse(frames(), media_type="text/event-stream")

    async def dispatch(request, call_next):
        return await call_next(request)

    middleware = [Middleware(BaseHTTPMiddleware, dispatch=dispatch)] if base else []
    return Starlette(routes=[Route("/", endpoint)], middleware=middleware)


class Endless:
    """No generator, for Starlette does not close what it streams, of which trio complains."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        await anyio.sleep(0)
        return b"data: " + b"x" * 1_000 + b"\n\n"


class Idle(Endless):
    given = False

    async def __anext__(self):
        if self.given:
            await anyio.sleep_forever()
        self.given = True
        return b"data: a\n\n"


# Starlette does not close its own generator, either, of which trio complains.
@pytest.mark.filterwarnings("ignore:Async generator 'starlette:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("base", [False, True], ids=["without", "with"])
@pytest.mark.parametrize("why", ["time", "disconnect", "shutdown"])
@pytest.mark.matrix("anyio_backend")
async def test_client_that_does_not_read_holds_nothing_up_behind_base_http_middleware(why, base):
    shutdown = Shutdown(grace=0, signals=False)
    block = Block(b"xxx")
    middleware, record = wrapped(
        starlette(Endless, base=base),
        send_timeout=0.1 if why == "time" else 60.0,
        cleanup_timeout=4.0,
        shutdown=shutdown,
    )
    async with Peer(middleware, on_send=block) as peer:
        await soon(block.reached)
        begun = time.monotonic()
        if why == "disconnect":
            peer.leave()
        elif why == "shutdown":
            shutdown.begin()
        await peer.until(lambda: peer.ended)
    assert time.monotonic() - begun < 2.0
    assert block.cancelled
    outcomes = {"time": "timed_out", "disconnect": "disconnected", "shutdown": "shut_down"}
    # Where the shutdown cuts a send, that may count as a failure: the event may be lost.
    assert record.only.outcome in (outcomes[why], "failed" if why == "shutdown" else None)
    assert peer.raised is None
    assert not any("cleanup_timeout" in entry.getMessage() for entry in peer.log)
    assert why == "shutdown" or peer.log == []


@pytest.mark.parametrize("base", [False, True], ids=["without", "with"])
@pytest.mark.parametrize("why", ["disconnect", "shutdown"])
async def test_idle_stream_ends_at_once_behind_base_http_middleware(why, base):
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    middleware, record = wrapped(starlette(Idle, base=base), cleanup_timeout=4.0, shutdown=shutdown)
    async with Peer(middleware) as peer:
        await peer.received(b"data: a\n\n")
        await anyio.wait_all_tasks_blocked()
        begun = time.monotonic()
        peer.leave() if why == "disconnect" else shutdown.begin()
        await peer.until(lambda: peer.ended)
    assert time.monotonic() - begun < 2.0
    assert record.only.outcome == ("disconnected" if why == "disconnect" else "shut_down")
    assert peer.closed is (why == "shutdown")
    assert peer.raised is None
    assert peer.log == []
