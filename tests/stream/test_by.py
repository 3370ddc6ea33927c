"""Who settled the outcome, as the transcript says: of a source's stream, and of another app's."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import get_args

import anyio
import pytest

from sse_asgi import EventStream, EventStreamMiddleware, Outcome, Shutdown, TextFraming, Usage
from sse_asgi.stream.lifecycle import Cause
from tests.stage import PlannedError, on_trio
from tests.stream.failing_framing import FailingFraming
from tests.stream.peer import BODY, KEEP_ALIVE, PATIENCE, START, Peer, Record, run

EVENT_STREAM = [(b"content-type", b"text/event-stream")]
A, END = b"data: a\n\n", b"data: [DONE]\n\n"
COMPLETED, DISCONNECTED, FAILED, TIMED_OUT, SHUT_DOWN, _ = Outcome

pytestmark = pytest.mark.anyio


# The streams


@dataclass
class Case:
    """What ends one stream: `then` after its first chunk, or the server, or the client."""

    by: str
    outcome: Outcome
    then: object = None
    on_send: object = None
    receive: object = None
    outside: object = None  # given the peer, the shutdown, and what cancels the server's task
    grace: float | None = None
    options: dict = field(default_factory=dict)


def of_a_source(case, **options):
    async def source(request):
        yield "a"
        await anyio.sleep(0.002)
        if case.then is not None:
            await case.then()

    return EventStream(source, **options)


async def answer(case, send):
    await begin(send)
    await anyio.sleep(0.002)
    if case.then is not None:
        await case.then()
    await send({"type": BODY, "body": END, "more_body": False})


async def begin(send):
    await send({"type": START, "status": 200, "headers": EVENT_STREAM})
    await send({"type": BODY, "body": A, "more_body": True})


def of_an_app(case, **options):
    async def app(scope, receive, send):
        await answer(case, send)

    return EventStreamMiddleware(app, **options)


def of_an_app_that_listens(case, **options):
    async def app(scope, receive, send):
        async def listen():
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await answer(case, send)
            tasks.cancel_scope.cancel()

    return EventStreamMiddleware(app, **options)


# What ends them


async def fail(*_):
    raise PlannedError


def fail_at_once(chunk):
    raise PlannedError


async def leave_the_process(chunk):
    raise SystemExit


async def await_what_is_cancelled(chunk):
    task = asyncio.ensure_future(anyio.sleep_forever())
    task.cancel()
    await task


def start(message):
    return message["type"] == START


def chunk(message):
    return A in message.get("body", b"")


def keep_alive(message):
    return message.get("body") == KEEP_ALIVE


def last(message):
    return message["type"] == BODY and not message["more_body"]


def ending(message):
    return END in message.get("body", b"")


def raises(error, when):
    async def on_send(message):
        if when(message):
            raise error

    return on_send


def hangs(when):
    async def on_send(message):
        if when(message):
            await anyio.sleep_forever()

    return on_send


def receive_raises(error):
    async def receive(peer):
        await peer.received(A)
        raise error

    return receive


async def leave(peer, shutdown, cancel):
    await peer.received(A)
    peer.leave()


async def cancel(peer, shutdown, cancel):
    await peer.received(A)
    cancel()


async def shut_down(peer, shutdown, cancel):
    await peer.received(A)
    shutdown.begin()


idle = anyio.sleep_forever
RESET, BROKEN = ConnectionResetError(), PlannedError()  # the client's, if `send` raises it
SOON, BEAT = {"send_timeout": 0.02}, {"heartbeat": 0.01}
CASES = {
    "it ends": Case("source", COMPLETED),
    "it raises": Case("source", FAILED, fail),
    "it raises, and the encoder then": Case(
        "source", FAILED, fail, options={"framing": FailingFraming("fail", RESET)}
    ),
    "it ends within the grace": Case(
        "source", COMPLETED, lambda: anyio.sleep(0.02), outside=shut_down, grace=5
    ),
    "a hook raises": Case("hook", FAILED, idle, options={"on_chunk": fail_at_once}),
    "an async hook raises": Case("hook", FAILED, idle, options={"on_chunk": fail}),
    "a hook exits": Case("hook", FAILED, idle, options={"on_chunk": leave_the_process}),
    "the encoder's begin raises": Case(
        "framing", FAILED, options={"framing": FailingFraming("begin", RESET)}
    ),
    "the client leaves": Case("client", DISCONNECTED, idle, outside=leave),
    "receive is reset": Case("client", DISCONNECTED, idle, receive=receive_raises(RESET)),
    "the start is reset": Case("client", DISCONNECTED, idle, raises(RESET, start)),
    "a send is reset": Case("client", DISCONNECTED, idle, raises(RESET, chunk)),
    "a keep-alive is reset": Case(
        "client", DISCONNECTED, idle, raises(RESET, keep_alive), options=BEAT
    ),
    "the last send is reset": Case("client", DISCONNECTED, None, raises(RESET, last)),
    "the start hangs": Case("deadline", TIMED_OUT, idle, hangs(start), options=SOON),
    "a send hangs": Case("deadline", TIMED_OUT, idle, hangs(chunk), options=SOON),
    "a keep-alive hangs": Case("deadline", TIMED_OUT, idle, hangs(keep_alive), options=SOON | BEAT),
    "the last send hangs": Case("deadline", TIMED_OUT, None, hangs(last), options=SOON),
    "the grace is over": Case("shutdown", SHUT_DOWN, idle, outside=shut_down, grace=0.01),
    "there is no grace": Case("shutdown", SHUT_DOWN, idle, outside=shut_down, grace=0),
    "the grace is over while a keep-alive hangs": Case(
        "shutdown", SHUT_DOWN, idle, hangs(keep_alive), outside=shut_down, grace=0.05,
        options=BEAT | {"send_timeout": 1},
    ),
    "the grace is over while the last send hangs": Case(
        "shutdown", SHUT_DOWN, None, hangs(ending), outside=shut_down, grace=0.05
    ),
    "the server cancels": Case("server", SHUT_DOWN, idle, outside=cancel),
    "the server cancels a send": Case("server", SHUT_DOWN, None, hangs(last), outside=cancel),
    "receive raises": Case("server", FAILED, idle, receive=receive_raises(BROKEN)),
    "the start raises": Case("server", FAILED, idle, raises(BROKEN, start)),
    "a send raises": Case("server", FAILED, idle, raises(BROKEN, chunk)),
    "a keep-alive raises": Case("server", FAILED, idle, raises(BROKEN, keep_alive), options=BEAT),
    "the last send raises": Case("server", FAILED, None, raises(BROKEN, last)),
}  # fmt: skip


@pytest.mark.parametrize("make", [of_a_source, of_an_app, of_an_app_that_listens])
@pytest.mark.parametrize("name", CASES)
async def test_is_who_came_first(name, make):
    await check(CASES[name], make)


@pytest.mark.parametrize("method", ["text", "end"])
async def test_is_the_framing_where_it_is_the_stream_that_encodes(method):
    options = {"framing": FailingFraming(method, RESET)}
    await check(Case("framing", FAILED, options=options), of_a_source)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has no such cancellation
@pytest.mark.parametrize("make", [of_a_source, of_an_app, of_an_app_that_listens])
async def test_is_the_hook_that_awaits_what_somebody_has_cancelled(make):
    case = Case("hook", FAILED, options={"on_chunk": await_what_is_cancelled})
    await check(case, make)


def test_every_cause_is_in_the_table():
    assert {case.by for case in CASES.values()} == set(get_args(Cause))


async def check(case, make):
    record = Record()
    shutdown = None if case.grace is None else Shutdown(grace=case.grace, signals=False)
    app = make(case, on_complete=record, shutdown=shutdown, **case.options)
    peer = Peer(app, on_send=case.on_send)
    if case.receive is not None:
        peer.receive = lambda: case.receive(peer)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            await serve(peer, tasks, case, shutdown)
            tasks.cancel_scope.cancel()
    assert (record.only.by, record.only.outcome) == (case.by, case.outcome)


async def serve(peer, tasks, case, shutdown):
    """Run the app as a server does: in a task, or a scope, that can be cancelled alone."""

    async def run():
        with contextlib.suppress(SystemExit, BaseExceptionGroup):
            await peer.run()

    if on_trio():
        with anyio.CancelScope() as scope:
            if case.outside is not None:
                tasks.start_soon(case.outside, peer, shutdown, scope.cancel)
            await run()
    else:
        task = asyncio.create_task(run())
        if case.outside is not None:
            tasks.start_soon(case.outside, peer, shutdown, task.cancel)
        await asyncio.wait([task])


# Apps that have a word in it


def wrapped(app):
    record = Record()
    return EventStreamMiddleware(app, on_complete=record, shutdown=None), record


async def test_is_the_app_that_has_ended_its_stream_before_its_client_leaves():
    async def app(scope, receive, send):
        await begin(send)
        await send({"type": BODY, "body": END, "more_body": True})
        await anyio.sleep_forever()

    middleware, record = wrapped(app)
    async with Peer(middleware) as peer:
        await peer.received(END)
        peer.leave()
    assert (record.only.by, record.only.outcome) == ("source", COMPLETED)


@pytest.mark.parametrize("when", [chunk, last])
async def test_is_the_app_that_waits_no_longer_for_its_send(when):
    async def app(scope, receive, send):
        with anyio.fail_after(0.02):
            await answer(Case("source", FAILED), send)

    middleware, record = wrapped(app)
    async with Peer(middleware, on_send=hangs(when)):
        pass
    assert (record.only.by, record.only.outcome) == ("source", FAILED)


@pytest.mark.parametrize(
    ("error", "by", "outcome"), [(RESET, "client", DISCONNECTED), (BROKEN, "server", FAILED)]
)
async def test_is_not_the_app_that_raises_what_receive_does(error, by, outcome):
    async def app(scope, receive, send):
        await begin(send)
        await receive()

    middleware, record = wrapped(app)
    peer = Peer(middleware)

    async def receive():
        await peer.received(A)
        await anyio.sleep(0.005)
        raise error

    peer.receive = receive
    async with peer:
        pass
    assert (record.only.by, record.only.outcome) == (by, outcome)


async def test_is_the_framing_that_lacks_a_method():
    class Encoder:
        begin = end = fail = staticmethod(lambda *_: b"")

    class Framing(TextFraming):
        __slots__ = ()

        def encoder(self):
            return Encoder()

    _, transcript = await run([Usage(1, 1)], framing=Framing())
    assert (transcript.by, transcript.outcome) == ("framing", FAILED)
