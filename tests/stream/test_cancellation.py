"""Whose cancellation it is: a middleware's around `send`, the source's own, or nobody's here."""

import asyncio
import contextlib
import contextvars
import gc
import time
import warnings

import anyio
import pytest

from sse_asgi import EventStream, Outcome, Shutdown
from tests.sources import cleaning_up
from tests.stage import on_trio
from tests.stream.peer import PATIENCE, Block, Peer, Record, http_scope, soon

pytestmark = pytest.mark.anyio

KEEP_ALIVE = b": keep-alive\n"
variable = contextvars.ContextVar("variable", default="unset")


class Around:
    """A middleware that does something around every `send`, and keeps what the app raises."""

    def __init__(self, app, around):
        self.app, self.around = app, around
        self.raised = []

    async def __call__(self, scope, receive, send):
        async def send_inside(message):
            async with self.around(message):
                await send(message)

        try:
            await self.app(scope, receive, send_inside)
        except BaseException as error:
            self.raised.append(error)
            raise


def carries(message, part):
    return part in message.get("body", b"start")


class TestDeadlineAroundSend:
    """A middleware gives each `send` so long: `send` raises then, and the client counts as gone."""

    @pytest.mark.parametrize("part", [b"start", b"data: a", b"data: b", b"[DONE]", KEEP_ALIVE])
    @pytest.mark.parametrize("kind", ["anyio", "native"])
    async def test_that_passes_is_none_of_the_sources_business(self, kind, part):
        record, told, cleaned = Record(), [], []

        @contextlib.asynccontextmanager
        async def deadline(message):
            if not carries(message, part):
                yield
            elif kind == "native" and not on_trio():
                async with asyncio.timeout(0.03):
                    yield
            else:
                with anyio.fail_after(0.03):
                    yield

        async def source(request):
            try:
                yield "a"
                await anyio.sleep(0.002)
                yield "b"
                if part != b"[DONE]":
                    await anyio.sleep_forever()
            except BaseException as error:
                told.append(error)
                raise
            finally:
                with cleaning_up():
                    await anyio.sleep(0.001)
                cleaned.append(1)

        block = Block(part)
        app = Around(EventStream(source, on_complete=record, heartbeat=0.01), deadline)
        async with Peer(app, on_send=block) as peer:
            pass
        assert block.cancelled
        assert app.raised == []
        assert (record.only.outcome, record.only.error) == (Outcome.DISCONNECTED, None)
        assert cleaned == [1]
        assert len(told) == (0 if part == b"[DONE]" else 1)
        assert peer.attempts == len(peer.messages) + 1  # nothing is sent after the one that failed

    @pytest.mark.parametrize("part", [b"data: a", b"data: b", KEEP_ALIVE])
    async def test_after_which_it_goes_on_loses_its_message_and_nothing_else(self, part):
        """The middleware says by this that the message is out: that is its own affair."""
        passed, record, told = anyio.Event(), Record(), []

        @contextlib.asynccontextmanager
        async def deadline(message):
            if carries(message, part):
                with anyio.move_on_after(0.02):
                    yield
                passed.set()
            else:
                yield

        async def source(request):
            try:
                yield "a"
                await anyio.sleep(0.002)
                yield "b"
                await passed.wait()
                yield "c"
            except BaseException as error:
                told.append(error)
                raise

        app = Around(EventStream(source, on_complete=record, heartbeat=0.005), deadline)
        async with Peer(app, on_send=Block(part)) as peer:
            pass
        assert told == []
        assert app.raised == []
        assert record.only.outcome is Outcome.COMPLETED
        assert peer.text.endswith("c")


class TestContextAroundSend:
    """A middleware sets a context variable around each `send`, and resets it."""

    @pytest.mark.parametrize("kind", ["anyio", "native"])
    async def test_a_timeout_of_the_source_meanwhile_moves_no_send_elsewhere(self, kind):
        record, seen, timed_out = Record(), [], []

        @contextlib.asynccontextmanager
        async def in_context(message):
            token = variable.set("around a send")
            try:
                yield
            finally:
                seen.append(variable.get())
                variable.reset(token)

        async def source(request):
            yield "a"
            try:
                if kind == "native" and not on_trio():
                    async with asyncio.timeout(0.02):
                        await asyncio.sleep(PATIENCE)
                else:
                    with anyio.fail_after(0.02):
                        await anyio.sleep_forever()
            except TimeoutError:
                timed_out.append(1)
            yield "b"

        block = Block(b"data: a")
        app = Around(EventStream(source, on_complete=record), in_context)
        async with Peer(app, on_send=block) as peer:
            await soon(block.reached)
            await anyio.sleep(0.05)
            block.opened.set()
        assert app.raised == []
        assert (record.only.outcome, record.only.error) == (Outcome.COMPLETED, None)
        assert peer.text == "ab"
        assert timed_out == [1]
        assert set(seen) == {"around a send"}


async def rests(peer):
    """Wait until a stream has sent its first chunk, so that the server's task sends the next."""
    await peer.received(b"data: a\n")
    await anyio.sleep(0.002)  # at once after a send it would be gathered


class TestSendThatIsCut:
    """A timeout of the source's own cuts a send: nobody knows what became of the message."""

    @pytest.mark.parametrize("arrived", [False, True])
    async def test_no_chunk_is_lost_or_doubled_in_silence(self, arrived):
        record, attempts = Record(), []

        async def source(request):
            with contextlib.suppress(TimeoutError), anyio.fail_after(0.03):
                for number in range(2_000):
                    yield f"{number};"
                    await anyio.sleep(0)
            yield "end"

        async def on_send(message):
            if carries(message, b"data: 3;"):
                attempts.append(message)
                if arrived:  # as on hypercorn, which has queued it
                    peer.messages.append(message)
                await anyio.sleep(0.06)

        app = EventStream(source, on_complete=record)
        async with Peer(app, on_send=on_send) as peer:
            pass
        assert peer.raised is None
        assert len(attempts) == 1
        assert peer.closed
        complete = record.only.outcome is Outcome.COMPLETED  # the send was none of the source's
        assert complete or record.only.outcome is Outcome.FAILED
        assert complete == (b"[DONE]" in peer.body)
        assert complete == (peer.events[-1].type != "error")
        if complete:
            assert arrived or peer.text == record.only.text
        else:
            assert record.only.text.startswith(peer.text)

    @pytest.mark.parametrize("then", ["ends", "goes on"])
    async def test_by_the_server_it_is_shut_down_though_the_source_swallows_that(self, then):
        record, told = Record(), []

        async def source(request):
            yield "a"
            await rests(peer)
            try:
                yield "b"
            except anyio.get_cancelled_exc_class():
                told.append(1)
            if then == "goes on":
                yield "c"

        block = Block(b"data: b")
        peer = Peer(EventStream(source, on_complete=record), on_send=block)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.run)
            await soon(block.reached)
            tasks.cancel_scope.cancel()
        assert block.cancelled
        # In trio the scope cancels the watcher, too. If that comes first, the source is closed.
        assert told == [1] or on_trio()
        assert peer.ended
        assert not peer.closed
        assert (record.only.outcome, record.only.error) == (Outcome.SHUT_DOWN, None)
        assert record.only.text == "ab"

    @pytest.mark.parametrize("then", ["ends", "goes on", "fails in its clean-up"])
    async def test_by_a_timeout_whose_source_swallows_that_it_has_failed(self, then):
        record, scopes = Record(), []

        async def source(request):
            try:
                with anyio.move_on_after(PATIENCE) as scope:
                    yield "a"
                    await rests(peer)
                    scopes.append(scope)
                    with contextlib.suppress(anyio.get_cancelled_exc_class()):
                        yield "b"
                    if then != "ends":
                        yield "c"
            finally:
                if then == "fails in its clean-up":
                    raise LookupError

        block = Block(b"data: b")
        async with Peer(EventStream(source, on_complete=record), on_send=block) as peer:
            await soon(block.reached)
            scopes[0].cancel()
        assert block.cancelled
        assert peer.closed
        assert peer.events[-1].type == "error"
        assert record.only.outcome is Outcome.FAILED


# The server closes the coroutine


async def serve_by_hand(app, *, blocked_at=b"nowhere"):
    """Return an app's coroutine, which is stepped to its first wait, and the bodies it sends."""
    bodies = []

    async def receive():
        await asyncio.sleep(PATIENCE)

    async def send(message):
        bodies.append(message.get("body", b"start"))
        if carries(message, blocked_at):
            await asyncio.sleep(PATIENCE)

    coroutine = app(http_scope(), receive, send)
    while coroutine.send(None) is None:  # it only lets others run
        await asyncio.sleep(0)
    return coroutine, bodies


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio never closes a coroutine
class TestClosedCoroutine:
    """It ends where it stands: nothing can be awaited any more, so nothing is sent."""

    @pytest.mark.parametrize("hook", ["async", "sync"])
    @pytest.mark.parametrize("where", ["in the source", "in a send"])
    async def test_sends_nothing_and_leaves_nothing_unawaited(self, where, hook):
        calls, cleaned = [], []

        class Source:
            """No generator: CPython before 3.13 does not close one that is awaited."""

            def __init__(self, request):
                self.chunks = ["a"]

            def __aiter__(self):
                return self

            async def __anext__(self):
                if self.chunks:
                    return self.chunks.pop()
                try:
                    await asyncio.sleep(PATIENCE)
                finally:
                    cleaned.append(1)

        async def async_hook(transcript):
            await asyncio.sleep(0)

        app = EventStream(Source, on_complete=async_hook if hook == "async" else calls.append)
        before = asyncio.all_tasks()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            coroutine, bodies = await serve_by_hand(
                app, blocked_at=b"data: a" if where == "in a send" else b"nowhere"
            )
            for _ in range(5):
                await asyncio.sleep(0)
            sent = len(bodies)
            coroutine.close()
            del coroutine
            gc.collect()
            for _ in range(5):
                await asyncio.sleep(0)
        assert len(bodies) == sent
        assert [str(each.message) for each in caught] == []
        assert cleaned == [1]
        assert len(calls) == (hook == "sync")
        assert asyncio.all_tasks() == before


@pytest.mark.parametrize("hook", ["async", "sync"])
def test_an_event_loop_that_dies_under_a_stream_leaves_no_trace(hook):
    bodies, calls, complaints = [], [], []

    async def source(request):
        yield "a"
        await asyncio.sleep(PATIENCE)

    async def async_hook(transcript):
        await asyncio.sleep(0)

    async def receive():
        await asyncio.sleep(PATIENCE)

    async def send(message):
        bodies.append(message.get("body", b"start"))

    on_complete = async_hook if hook == "async" else calls.append
    app = EventStream(source, on_complete=on_complete, shutdown=None)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context["message"]))
    task = loop.create_task(app(http_scope(), receive, send))
    loop.run_until_complete(asyncio.sleep(0.01))
    sent = len(bodies)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
        del task
        gc.collect()
    assert len(bodies) == sent
    assert [str(each.message) for each in caught if "awaited" in str(each.message)] == []
    assert set(complaints) == {"Task was destroyed but it is pending!"}  # asyncio's own
    assert len(calls) == (hook == "sync")


# A stream that has failed when the server stops


def refuse(chunk):
    if chunk == "poison":
        raise LookupError


class TestFailedBeforeTheGraceEnds:
    @pytest.mark.matrix("anyio_backend")
    async def test_its_last_message_holds_no_exit_up(self):
        """The bound of a shutdown is the shutdown's, whatever the stream itself came to."""
        shutdown, record = Shutdown(grace=0, signals=False), Record()
        cleaning, clean = anyio.Event(), anyio.Event()

        async def source(request):
            try:
                yield "a"
                yield "poison"
            finally:
                cleaning.set()
                with cleaning_up():
                    await clean.wait()

        block = Block(b"event: error")
        app = EventStream(
            source, on_complete=record, on_chunk=refuse, shutdown=shutdown, send_timeout=60.0
        )
        async with Peer(app, on_send=block) as peer:
            await soon(cleaning)
            shutdown.begin()
            await anyio.sleep(0.01)  # the grace has ended
            clean.set()
            await soon(block.reached)
            begun = time.monotonic()
            await peer.until(lambda: peer.ended)
        assert time.monotonic() - begun < 2.0
        assert block.cancelled
        assert record.only.outcome is Outcome.FAILED
        assert isinstance(record.only.error, LookupError)
        assert peer.raised is None

    async def test_it_still_ends_when_its_client_reads(self):
        shutdown, record = Shutdown(grace=0, signals=False), Record()
        cleaning, clean = anyio.Event(), anyio.Event()

        async def source(request):
            try:
                yield "a"
                yield "poison"
            finally:
                cleaning.set()
                with cleaning_up():
                    await clean.wait()

        app = EventStream(source, on_complete=record, on_chunk=refuse, shutdown=shutdown)
        async with Peer(app) as peer:
            await soon(cleaning)
            shutdown.begin()
            await anyio.sleep(0.01)
            clean.set()
        assert peer.closed
        assert peer.events[-1].type == "error"
        assert record.only.outcome is Outcome.FAILED


# One writer


async def test_no_keep_alive_follows_the_last_message():
    """The end waits for a keep-alive; when that is through, silence has lasted long enough."""
    block, record, reached = Block(KEEP_ALIVE), Record(), anyio.Event()

    async def source(request):
        yield "a"
        await reached.wait()

    async def on_send(message):
        await block(message)
        if carries(message, b"[DONE]"):
            await anyio.sleep(0.001)

    app = EventStream(source, heartbeat=0.02, on_complete=record)
    async with Peer(app, on_send=on_send) as peer:  # it holds the app to ASGI's order
        await soon(block.reached)
        reached.set()
        await anyio.wait_all_tasks_blocked()
        block.opened.set()
        if on_trio():
            await anyio.lowlevel.checkpoint()
            time.sleep(0.05)  # so that timers are due before the end goes on
        else:
            asyncio.get_running_loop().call_soon(time.sleep, 0.05)
    await anyio.sleep(0.03)
    assert not peer.broken_rules
    assert peer.body.endswith(b"data: [DONE]\n\n")
    assert peer.body.count(KEEP_ALIVE) == 1
    assert record.only.outcome is Outcome.COMPLETED


# What a debugger sees


def await_chain(coroutine):
    """Follow what each awaits, as debuggers and profilers do; return the functions' names."""
    names, awaited = [], coroutine
    while awaited is not None:
        code = next(
            (
                getattr(awaited, name)
                for name in ("cr_code", "ag_code", "gi_code")
                if hasattr(awaited, name)
            ),
            None,
        )
        if code is not None:
            names.append(code.co_name)
        awaited = awaited_by(awaited)
    return names


def awaited_by(one):
    for name in ("cr_await", "ag_await", "gi_yieldfrom"):
        if hasattr(one, name):
            return getattr(one, name)
    # `anext` of an async generator tells nobody which one it steps, but the collector.
    if type(one).__name__ in ("async_generator_asend", "async_generator_athrow", "anext_awaitable"):
        return next((each for each in gc.get_referents(one) if hasattr(each, "ag_code")
                     or type(each).__name__ == "async_generator_asend"), None)  # fmt: skip
    return None


def coroutine_of_this_task():
    if on_trio():
        import trio

        return trio.lowlevel.current_task().coro
    return asyncio.current_task().get_coro()


@pytest.mark.parametrize("chunks_before", [0, 1, 3])
async def test_the_await_chain_of_the_servers_task_reaches_the_line_of_the_user(chunks_before):
    standing, coroutines = anyio.Event(), []

    async def look_up():
        standing.set()
        await anyio.sleep_forever()

    async def the_users_source(request):
        for _ in range(chunks_before):
            yield "a"
            await anyio.sleep(0.001)
        await look_up()
        yield "never"

    stream = EventStream(the_users_source)

    async def app(scope, receive, send):
        coroutines.append(coroutine_of_this_task())
        await stream(scope, receive, send)

    async with Peer(app) as peer:
        await soon(standing)
        await anyio.wait_all_tasks_blocked()
        names = await_chain(coroutines[0])
        peer.leave()
    assert "the_users_source" in names
    assert names[names.index("the_users_source") + 1] == "look_up"
