"""How open streams are told that the server stops, and that nothing of it stays behind."""

import contextlib
import gc
import importlib
import math
import signal
import sys
import threading
import time
import weakref
from functools import partial

import anyio
import anyio.to_thread
import pytest

from sse_asgi import EventStream, Outcome, ServerSentEvent, Shutdown
from tests.conftest import require
from tests.servers import free_port
from tests.sources import cleaning_up
from tests.stage import living_tasks
from tests.stream.peer import Block, Peer, Record, soon

GRACE = 0.1
FAREWELL = ServerSentEvent(event="bye", data="back soon", retry=500)
DONE = b"data: [DONE]\n\n"
STOPPING = (signal.SIGTERM, signal.SIGINT)


class Source:
    """A source that gives one chunk, waits, and cleans up with an await."""

    def __init__(self):
        self.waits = anyio.Event()
        self.goes_on = anyio.Event()
        self.cleaned = False

    async def __call__(self, request):
        try:
            yield "first"
            self.waits.set()
            await self.goes_on.wait()
            yield "last"
        finally:
            with cleaning_up():
                await anyio.sleep(0.01)
            self.cleaned = True


class Told:
    """An open stream that keeps what it is told."""

    def __init__(self):
        self.seconds = []

    def shut_down_in(self, seconds):
        self.seconds.append(seconds)


class Handler:
    """A server's handler of signals."""

    def __init__(self):
        self.heard = []

    def __call__(self, signum, frame):
        self.heard.append(signum)


@pytest.fixture
def handlers():
    """Let a test set handlers, and put the old ones back."""
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    yield before
    for signum, handler in before.items():
        signal.signal(signum, handler)


def served(source, shutdown, **options):
    record = Record()
    app = EventStream(source, on_complete=record, shutdown=shutdown, **options)
    return Peer(app), record


def assert_shut_down(peer, record, source, *, farewell=FAREWELL):
    assert peer.body == b"data: first\n\n" + (farewell.encode() if farewell else b"")
    assert peer.closed
    assert peer.raised is None
    assert source.cleaned
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert record.only.text == "first"
    assert record.only.error is None


# Telling


@pytest.mark.anyio
async def test_stream_that_outlasts_the_grace_gets_the_farewell_and_a_clean_end():
    source, shutdown = Source(), Shutdown(grace=GRACE, farewell=FAREWELL, signals=False)
    peer, record = served(source, shutdown)
    async with peer:
        await soon(source.waits)
        begun = time.monotonic()
        shutdown.begin()
        await peer.until(lambda: peer.ended)
        assert time.monotonic() - begun >= GRACE * 0.99
    assert_shut_down(peer, record, source)


@pytest.mark.anyio
async def test_stream_without_a_farewell_ends_without_the_end_marker():
    source, shutdown = Source(), Shutdown(grace=0, signals=False)
    peer, record = served(source, shutdown)
    async with peer:
        await soon(source.waits)
        shutdown.begin()
    assert_shut_down(peer, record, source, farewell=None)


@pytest.mark.anyio
@pytest.mark.parametrize("grace", [5.0, math.inf])
async def test_stream_that_ends_by_itself_within_the_grace_is_complete(grace):
    source, shutdown = Source(), Shutdown(grace=grace, farewell=FAREWELL, signals=False)
    peer, record = served(source, shutdown)
    async with peer:
        await soon(source.waits)
        shutdown.begin()
        source.goes_on.set()
    assert peer.body == b"data: first\n\ndata: last\n\n" + DONE
    assert record.only.outcome is Outcome.COMPLETED


@pytest.mark.anyio
@pytest.mark.parametrize("ends", ["by itself", "by the farewell"])
async def test_hook_runs_before_the_body_ends(ends):
    """Some servers exit as soon as the last body has ended."""
    seen, source = [], Source()

    async def on_complete(transcript):
        await anyio.sleep(0.01)
        seen.append((transcript.outcome, transcript.sent_chunks, peer.body, peer.closed))

    grace = 5.0 if ends == "by itself" else 0
    shutdown = Shutdown(grace=grace, farewell=FAREWELL, signals=False)
    async with Peer(EventStream(source, on_complete=on_complete, shutdown=shutdown)) as peer:
        await soon(source.waits)
        shutdown.begin()
        await anyio.wait_all_tasks_blocked()
        if ends == "by itself":
            source.goes_on.set()
    if ends == "by itself":
        body, outcome = b"data: first\n\ndata: last\n\n" + DONE, Outcome.COMPLETED
    else:
        body, outcome = b"data: first\n\n" + FAREWELL.encode(), Outcome.SHUT_DOWN
    assert seen == [(outcome, 2 if ends == "by itself" else 1, body, False)]
    assert (peer.body, peer.closed) == (body, True)


@pytest.mark.anyio
@pytest.mark.matrix("anyio_backend")
async def test_slow_hook_takes_no_time_from_the_end_of_the_body():
    source, shutdown = Source(), Shutdown(grace=0, farewell=FAREWELL, signals=False)
    async with Peer(
        EventStream(source, on_complete=lambda _: anyio.sleep(0.7), shutdown=shutdown)
    ) as peer:
        await soon(source.waits)
        shutdown.begin()
    assert peer.closed


@pytest.mark.anyio
async def test_last_message_of_http2_is_never_empty():
    """Hypercorn would lose the end of the stream."""
    source, shutdown = Source(), Shutdown(grace=0, signals=False)
    app = EventStream(source, shutdown=shutdown)
    async with Peer(app, http_version="2") as peer:
        await soon(source.waits)
        shutdown.begin()
    assert peer.bodies[-1] == b":\n"
    assert [event.data for event in peer.events] == ["first"]


@pytest.mark.anyio
async def test_begin_may_be_called_from_any_thread():
    source, shutdown = Source(), Shutdown(grace=0, farewell=FAREWELL, signals=False)
    peer, record = served(source, shutdown)
    async with peer:
        await soon(source.waits)
        await anyio.to_thread.run_sync(shutdown.begin)
    assert_shut_down(peer, record, source)


@pytest.mark.anyio
async def test_begin_may_be_called_again_and_changes_nothing():
    source, shutdown = Source(), Shutdown(grace=GRACE, farewell=FAREWELL, signals=False)
    peer, record = served(source, shutdown)
    async with peer:
        await soon(source.waits)
        begun = time.monotonic()
        while not peer.ended:
            shutdown.begin()
            await anyio.sleep(0.01)
        assert time.monotonic() - begun < GRACE + 2
    assert_shut_down(peer, record, source)


@pytest.mark.anyio
async def test_every_open_stream_is_told_once():
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    sources = [Source() for _ in range(20)]
    pairs = [served(source, shutdown) for source in sources]
    async with anyio.create_task_group() as group:
        for peer, _ in pairs:
            group.start_soon(peer.run)
        for source in sources:
            await soon(source.waits)
        shutdown.begin()
    for source, (peer, record) in zip(sources, pairs, strict=True):
        assert_shut_down(peer, record, source)


@pytest.mark.anyio
async def test_stream_that_opts_out_lives_on(handlers):
    signal.signal(signal.SIGTERM, handler := Handler())
    source = Source()
    peer, record = served(source, None)
    async with peer:
        await soon(source.waits)
        assert signal.getsignal(signal.SIGTERM) is handler
        signal.raise_signal(signal.SIGTERM)
        await anyio.wait_all_tasks_blocked()
        source.goes_on.set()
    assert record.only.outcome is Outcome.COMPLETED


@pytest.mark.anyio
async def test_response_that_has_not_started_starts_and_ends():
    source, shutdown = Source(), Shutdown(grace=0, farewell=FAREWELL, signals=False)

    async def silent(request):
        async for _ in source(request):
            pass
        yield "never"

    peer, record = served(silent, shutdown, prefetch=True)
    async with peer:
        await soon(source.waits)
        shutdown.begin()
    assert peer.status == 200
    assert peer.body == FAREWELL.encode()
    assert record.only.outcome is Outcome.SHUT_DOWN


@pytest.mark.anyio
@pytest.mark.matrix("anyio_backend")
async def test_client_that_does_not_read_holds_no_shutdown_up():
    block, shutdown = Block(b"data: first"), Shutdown(grace=0, farewell=FAREWELL, signals=False)
    source, record = Source(), Record()
    app = EventStream(source, on_complete=record, shutdown=shutdown)
    async with Peer(app, on_send=block) as peer:
        await soon(block.reached)
        begun = time.monotonic()
        shutdown.begin()
        await peer.until(lambda: peer.ended)
        assert time.monotonic() - begun < 1.0
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert source.cleaned


@pytest.mark.anyio
@pytest.mark.matrix("anyio_backend")
async def test_client_that_does_not_read_the_farewell_holds_no_shutdown_up():
    block, shutdown = Block(FAREWELL.encode()), Shutdown(grace=0, farewell=FAREWELL, signals=False)
    source, record = Source(), Record()
    app = EventStream(source, on_complete=record, shutdown=shutdown)
    async with Peer(app, on_send=block) as peer:
        await soon(source.waits)
        shutdown.begin()
        await soon(block.reached)
        begun = time.monotonic()
        await peer.until(lambda: peer.ended)
        assert time.monotonic() - begun < 1.0
    assert record.only.outcome is Outcome.SHUT_DOWN


@pytest.mark.anyio
@pytest.mark.parametrize("http_version", ["1.1", "2"])
@pytest.mark.parametrize("hook", [False, True])
@pytest.mark.matrix("anyio_backend")
async def test_client_that_stops_reading_after_the_farewell_holds_no_shutdown_up(
    hook, http_version
):
    """With a hook the end of the body is a message of its own, after the farewell's."""
    reached, cancelled = anyio.Event(), []

    async def on_send(message):
        if not message.get("more_body", True):
            reached.set()
            try:
                await anyio.sleep_forever()
            except BaseException:
                cancelled.append(message)
                raise

    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    source, record = Source(), Record()
    app = EventStream(
        source, on_complete=record if hook else None, shutdown=shutdown, send_timeout=60.0
    )
    async with Peer(app, on_send=on_send, http_version=http_version) as peer:
        await soon(source.waits)
        shutdown.begin()
        await soon(reached)
        begun = time.monotonic()
        await peer.until(lambda: peer.ended)
        assert time.monotonic() - begun < 1.5
    assert len(cancelled) == 1
    assert source.cleaned
    assert peer.raised is None
    assert (FAREWELL.encode() in peer.body) is hook
    if hook:
        assert record.only.outcome is Outcome.SHUT_DOWN


# Streams that open late


@pytest.mark.anyio
async def test_stream_that_opens_within_the_grace_gets_the_rest_of_it():
    shutdown = Shutdown(grace=5.0, signals=False)
    early, late = Told(), Told()
    shutdown.enter(early)
    shutdown.begin()
    shutdown.leave(early)
    shutdown.enter(late)
    shutdown.leave(late)
    (seconds,) = late.seconds
    assert 3.0 < seconds <= 5.0


@pytest.mark.anyio
async def test_stream_that_opens_after_the_grace_lives_on():
    shutdown = Shutdown(grace=0.02, signals=False)
    shutdown.enter(Told())
    shutdown.begin()
    await anyio.sleep(0.03)
    shutdown.enter(late := Told())
    assert late.seconds == []


@pytest.mark.anyio
async def test_begin_without_open_streams_and_without_a_limit_changes_no_later_stream():
    """There is nobody to wait for; and a later server of the process is another one's affair."""
    shutdown, closed, source = Shutdown(grace=math.inf, signals=False), [], Source()
    shutdown.begin()

    async def on_complete(transcript):
        closed.append((transcript.outcome, peer.closed))

    app = EventStream(source, on_complete=on_complete, shutdown=shutdown)
    async with Peer(app, http_version="2") as peer:
        await soon(source.waits)
        source.goes_on.set()
    assert closed == [(Outcome.COMPLETED, True)]  # a stream of a server that stops is told before
    assert peer.body == b"data: first\n\ndata: last\n\n" + DONE


@pytest.mark.anyio
async def test_begin_without_open_streams_concerns_the_next():
    shutdown = Shutdown(grace=5.0, signals=False)
    shutdown.begin()
    shutdown.enter(stream := Told())
    assert len(stream.seconds) == 1


def in_a_loop_of_its_own(backend, function):
    async def main():
        function()
        await anyio.sleep(0.01)  # what was called from other threads has run

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_server_that_starts_later_is_not_touched(backend):
    shutdown = Shutdown(grace=60.0, signals=False)
    first, second, third = Told(), Told(), Told()

    def stop_a_server():
        shutdown.enter(first)
        shutdown.begin()

    def open_and_stop():
        shutdown.leave(first)
        shutdown.enter(second)
        shutdown.enter(third)
        assert second.seconds == []
        shutdown.begin()

    in_a_loop_of_its_own(backend, stop_a_server)
    gc.collect()
    in_a_loop_of_its_own(backend, open_and_stop)
    assert first.seconds == [60.0]
    assert second.seconds == third.seconds == [60.0]


# Two servers in one process


def serve_in_thread(backend, shutdown, source_type=Source):
    """Serve one stream in a thread's event loop; give what the test needs of it."""
    ready, facts = threading.Event(), {}

    async def main():
        source = source_type()
        peer, facts["record"] = served(source, shutdown)
        async with peer:
            await soon(source.waits)
            facts["handlers"] = {signum: signal.getsignal(signum) for signum in STOPPING}
            facts["finish"] = partial(call_in_loop(), source.goes_on.set)
            ready.set()

    thread = threading.Thread(target=partial(anyio.run, main, backend=backend))
    thread.start()
    assert ready.wait(8)
    return thread, facts


def call_in_loop():
    """Return what calls a function in this event loop, from any thread."""
    from sse_asgi.host.host import current_host

    return current_host().call_threadsafe


@pytest.mark.anyio
async def test_streams_of_another_server_live_on(anyio_backend_name):
    mine, other = (Shutdown(grace=0, farewell=FAREWELL, signals=False) for _ in range(2))
    thread, facts = serve_in_thread(anyio_backend_name, other)
    source = Source()
    peer, record = served(source, mine)
    async with peer:
        await soon(source.waits)
        mine.begin()
    assert_shut_down(peer, record, source)
    assert thread.is_alive()
    assert facts["record"] == []
    facts["finish"]()
    await anyio.to_thread.run_sync(thread.join)
    assert facts["record"].only.outcome is Outcome.COMPLETED


@pytest.mark.anyio
async def test_one_shutdown_serves_several_event_loops(anyio_backend_name):
    shutdown = Shutdown(grace=0, farewell=FAREWELL, signals=False)
    others = [serve_in_thread(backend, shutdown) for backend in ("asyncio", "trio")]
    source = Source()
    peer, record = served(source, shutdown)
    async with peer:
        await soon(source.waits)
        shutdown.begin()
    assert_shut_down(peer, record, source)
    for thread, facts in others:
        await anyio.to_thread.run_sync(thread.join)
        assert facts["record"].only.outcome is Outcome.SHUT_DOWN


async def serve_by_hypercorn(backend, app, port, stop):
    """Serve by a worker of hypercorn in this event loop, until `stop` is set."""
    from hypercorn.config import Config

    serve = importlib.import_module(f"hypercorn.{backend}").serve
    config = Config()
    config.bind, config.errorlog = [f"127.0.0.1:{port}"], None
    await serve(app, config, shutdown_trigger=stop.wait)


async def opened_stream(port):
    """Ask for a stream once the server listens, and read its first event."""
    with anyio.fail_after(8):
        while True:
            try:
                connection = await anyio.connect_tcp("127.0.0.1", port)
                break
            except OSError:
                await anyio.sleep(0.01)
        await connection.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        received = b""
        while b"first" not in received:
            received += await connection.receive()
    return connection


async def rest_of(connection):
    """Read to the end of the response."""
    rest = b""
    with anyio.fail_after(8):
        while not rest.endswith(b"0\r\n\r\n"):
            rest += await connection.receive()
    return rest


@pytest.mark.anyio
@pytest.mark.parametrize("wrapped", [False, True])
async def test_worker_of_hypercorn_that_stops_takes_no_other_with_it(anyio_backend_name, wrapped):
    require("hypercorn")
    shutdown, record = Shutdown(grace=0, farewell=FAREWELL), Record()

    async def source(request):
        yield "first"
        await anyio.sleep_forever()

    app = EventStream(source, shutdown=shutdown, on_complete=record)

    async def in_a_task_of_its_own(*arguments):
        async with anyio.create_task_group() as group:
            group.start_soon(app, *arguments)

    stops, ports = [anyio.Event(), anyio.Event()], [free_port(), free_port()]
    async with anyio.create_task_group() as group:
        for stop, port in zip(stops, ports, strict=True):
            served_app = in_a_task_of_its_own if wrapped else app
            group.start_soon(serve_by_hypercorn, anyio_backend_name, served_app, port, stop)
        first, second = [await opened_stream(port) for port in ports]
        async with first, second:
            stops[0].set()  # it cannot be told which worker a stream belongs to
            await anyio.sleep(0.1)
            assert len(record) == 0
            shutdown.begin()
            for connection in (first, second):
                assert FAREWELL.encode() in await rest_of(connection)
        stops[1].set()
    assert len(record) == 2


@pytest.fixture
def looks(monkeypatch):
    """Return who has looked at all tasks, with hypercorn imported."""
    require("hypercorn")
    importlib.import_module("hypercorn")
    looks, original = [], anyio.get_running_tasks

    def look():
        looks.append(sys._getframe(1).f_globals["__name__"])
        return original()

    monkeypatch.setattr(anyio, "get_running_tasks", look)
    return looks


@pytest.mark.anyio
async def test_a_worker_that_is_not_there_is_not_looked_for_by_each_stream(looks):
    """Quart imports hypercorn, whatever serves it."""
    shutdown = Shutdown()
    async with contextlib.AsyncExitStack() as streams:
        for _ in range(20):
            source = Source()
            peer, _ = served(source, shutdown)
            await streams.enter_async_context(peer)
            await waiting(source)
            source.goes_on.set()
    assert set(looks) == {"sse_asgi.shutdown.hypercorn"}
    assert len(looks) < 5


@pytest.mark.anyio
async def test_hypercorns_worker_is_looked_for_once_and_not_for_each_stream(
    anyio_backend_name, looks
):
    """A framework that runs the app in a task of its own makes that search a long one."""
    shutdown = Shutdown(grace=0, farewell=FAREWELL)

    async def source(request):
        yield "first"
        await anyio.sleep_forever()

    app = EventStream(source, shutdown=shutdown)

    async def in_a_task_of_its_own(*arguments):
        async with anyio.create_task_group() as group:
            group.start_soon(app, *arguments)

    stop, port = anyio.Event(), free_port()
    async with anyio.create_task_group() as group:
        group.start_soon(serve_by_hypercorn, anyio_backend_name, in_a_task_of_its_own, port, stop)
        connections = [await opened_stream(port) for _ in range(5)]
        stop.set()
        for connection in connections:
            async with connection:
                assert FAREWELL.encode() in await rest_of(connection)
    assert looks == ["sse_asgi.shutdown.hypercorn"]


# Signals


async def waiting(source):
    """Wait until a source waits, and its stream therefore listens."""
    await soon(source.waits)
    await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
@pytest.mark.parametrize("signum", STOPPING)
async def test_signal_tells_the_streams_and_then_the_server(handlers, signum):
    told_first = []
    shutdown = Shutdown(grace=0, farewell=FAREWELL)
    source = Source()
    peer, record = served(source, shutdown)

    def handler(number, frame):
        told_first.append((number, shutdown._until > 0))

    signal.signal(signum, handler)
    async with peer:
        await waiting(source)
        signal.raise_signal(signum)
    assert told_first == [(signum, True)]
    assert_shut_down(peer, record, source)


@pytest.mark.anyio
async def test_handlers_are_chained_only_while_streams_are_open(handlers):
    own = {signum: Handler() for signum in STOPPING}
    for signum, handler in own.items():
        signal.signal(signum, handler)
    first, second, shutdown = Source(), Source(), Shutdown(grace=0)

    def chained():
        return [signal.getsignal(signum) is not own[signum] for signum in STOPPING]

    (peer, _), (other, _) = served(first, shutdown), served(second, shutdown)
    assert chained() == [False, False]
    async with peer:
        await waiting(first)
        assert chained() == [True, True]
        async with other:
            await waiting(second)
            second.goes_on.set()
        assert chained() == [True, True]
        first.goes_on.set()
    assert chained() == [False, False]
    assert all(handler.heard == [] for handler in own.values())


@pytest.mark.anyio
@pytest.mark.parametrize("untouched", [signal.SIG_DFL, signal.SIG_IGN])
async def test_default_and_ignored_signals_are_left_alone(handlers, untouched):
    signal.signal(signal.SIGTERM, untouched)
    source = Source()
    peer, record = served(source, Shutdown())
    async with peer:
        await waiting(source)
        assert signal.getsignal(signal.SIGTERM) is untouched
        source.goes_on.set()
    assert signal.getsignal(signal.SIGTERM) is untouched
    assert record.only.outcome is Outcome.COMPLETED


@pytest.mark.anyio
async def test_without_signals_no_handler_is_touched(handlers):
    signal.signal(signal.SIGTERM, handler := Handler())
    source = Source()
    peer, _ = served(source, Shutdown(signals=False))
    async with peer:
        await waiting(source)
        assert signal.getsignal(signal.SIGTERM) is handler
        source.goes_on.set()


@pytest.mark.anyio
async def test_stream_outside_of_the_main_thread_touches_no_handler(anyio_backend_name, handlers):
    own = {signum: Handler() for signum in STOPPING}
    for signum, handler in own.items():
        signal.signal(signum, handler)
    thread, facts = serve_in_thread(anyio_backend_name, Shutdown(grace=0))
    assert facts["handlers"] == own
    facts["finish"]()
    await anyio.to_thread.run_sync(thread.join)
    assert facts["record"].only.outcome is Outcome.COMPLETED


@pytest.mark.anyio
async def test_handler_that_others_put_on_top_of_ours_stays(handlers):
    signal.signal(signal.SIGTERM, server := Handler())
    first, second = Source(), Source()
    peer, _ = served(first, Shutdown(grace=0))
    async with peer:
        await waiting(first)
        ours = signal.getsignal(signal.SIGTERM)
        theirs = Handler()

        def on_top(signum, frame):
            theirs(signum, frame)
            ours(signum, frame)

        signal.signal(signal.SIGTERM, on_top)
        first.goes_on.set()
    assert signal.getsignal(signal.SIGTERM) is on_top
    signal.raise_signal(signal.SIGTERM)  # ours is behind it still, and hands on
    assert (theirs.heard, server.heard) == ([signal.SIGTERM], [signal.SIGTERM])

    peer, record = served(second, Shutdown(grace=0, farewell=FAREWELL))
    async with peer:
        await waiting(second)
        signal.raise_signal(signal.SIGTERM)
    assert_shut_down(peer, record, second)
    assert signal.getsignal(signal.SIGTERM) is on_top
    assert len(theirs.heard) == len(server.heard) == 2


@pytest.mark.anyio
async def test_handler_of_ours_that_others_put_back_late_is_dropped(handlers):
    signal.signal(signal.SIGTERM, server := Handler())
    first, second = Source(), Source()
    peer, _ = served(first, Shutdown(grace=0))
    async with peer:
        await waiting(first)
        saved = signal.signal(signal.SIGTERM, Handler())
        first.goes_on.set()
    signal.signal(signal.SIGTERM, saved)  # as a library does that "restores" what it found

    peer, record = served(second, Shutdown(grace=0, farewell=FAREWELL))
    async with peer:
        await waiting(second)
        signal.raise_signal(signal.SIGTERM)
    assert_shut_down(peer, record, second)
    assert signal.getsignal(signal.SIGTERM) is server
    assert server.heard == [signal.SIGTERM]


@pytest.mark.anyio
async def test_server_that_kills_at_once_hears_when_the_streams_have_ended(handlers):
    reactor = type("Reactor", (Handler,), {"__module__": "twisted.internet.base"})()
    signal.signal(signal.SIGTERM, reactor)
    heard_in_hook, source = [], Source()

    async def on_complete(transcript):
        await anyio.sleep(0.02)
        heard_in_hook.append((transcript.outcome, list(reactor.heard)))

    shutdown = Shutdown(grace=GRACE)
    async with Peer(EventStream(source, on_complete=on_complete, shutdown=shutdown)):
        await waiting(source)
        signal.raise_signal(signal.SIGTERM)
        assert reactor.heard == []
    assert heard_in_hook == [(Outcome.SHUT_DOWN, [])]
    assert reactor.heard == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is reactor


@pytest.mark.anyio
async def test_second_signal_reaches_a_server_that_kills_at_once(handlers):
    reactor = type("Reactor", (Handler,), {"__module__": "twisted.internet.base"})()
    signal.signal(signal.SIGTERM, reactor)
    source = Source()
    async with Peer(EventStream(source, shutdown=Shutdown(grace=math.inf))):
        await waiting(source)
        signal.raise_signal(signal.SIGTERM)
        assert reactor.heard == []
        signal.raise_signal(signal.SIGTERM)
        assert reactor.heard == [signal.SIGTERM]
        source.goes_on.set()


@pytest.mark.anyio
async def test_one_signal_tells_the_streams_of_every_shutdown(handlers):
    signal.signal(signal.SIGTERM, Handler())
    first, second = Source(), Source()
    brief, patient = Shutdown(grace=0, farewell=FAREWELL), Shutdown(grace=5.0, farewell=FAREWELL)
    (peer, record), (other, other_record) = served(first, brief), served(second, patient)
    async with other:
        await waiting(second)
        async with peer:
            await waiting(first)
            signal.raise_signal(signal.SIGTERM)
        assert_shut_down(peer, record, first)
        assert not other.ended
        second.goes_on.set()
    assert other_record.only.outcome is Outcome.COMPLETED


# Nothing is left


@pytest.mark.anyio
async def test_nothing_is_left_when_the_streams_have_ended(handlers):
    signal.signal(signal.SIGTERM, Handler())
    before, shutdown = living_tasks(), Shutdown(grace=0)
    for _ in range(3):
        source = Source()
        peer, _ = served(source, shutdown)
        async with peer:
            await waiting(source)
            shutdown.begin()
    await anyio.wait_all_tasks_blocked()
    assert living_tasks() == before
    assert not shutdown._open


@pytest.mark.anyio
async def test_shutdown_and_its_app_are_freed_without_the_cycle_collector():
    gc.collect()
    gc.disable()
    try:
        shutdown = Shutdown(grace=0)
        reference = weakref.ref(shutdown)
        source = Source()
        peer, record = served(source, shutdown)
        app_reference = weakref.ref(peer.app)
        async with peer:
            await waiting(source)
            shutdown.begin()
        del peer, shutdown
        record.clear()
        await anyio.sleep(0)
        assert app_reference() is None
        assert reference() is None
    finally:
        gc.enable()


# Options


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"grace": -1}, ValueError, "grace must be 0 or more seconds, not -1"),
        ({"grace": math.nan}, ValueError, "grace must be 0 or more"),
        ({"grace": "5"}, TypeError, "grace must be a number of seconds, not '5'"),
        ({"grace": True}, TypeError, "grace must be a number"),
        ({"farewell": "bye"}, TypeError, "farewell must be a ServerSentEvent or None, not 'bye'"),
        ({"signals": 1}, TypeError, "signals must be True or False, not 1"),
    ],
)
def test_wrong_options_are_refused(options, error, part):
    with pytest.raises(error, match=part):
        Shutdown(**options)


def test_options_have_sound_defaults():
    shutdown = Shutdown()
    assert shutdown.grace == 5.0
    assert shutdown.farewell is None
