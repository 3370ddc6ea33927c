"""A sync source: one thread, one context, closed there, and no pool starved."""

import contextvars
import threading

import anyio
import anyio.to_thread
import pytest

from sse_asgi import EventStream, Outcome
from sse_asgi.source.thread import ThreadedIterator
from tests.stream.peer import PATIENCE, Peer, Record, run, soon

pytestmark = pytest.mark.anyio

variable = contextvars.ContextVar("variable", default="unset")


def source_threads():
    return {thread for thread in threading.enumerate() if thread.name == "sse_asgi source"}


async def gone(threads):
    """Wait for threads to end."""
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join, PATIENCE)
        assert not thread.is_alive()


async def test_one_thread_steps_and_closes():
    threads = []

    def source(request):
        try:
            for word in ("a", "b", "c"):
                threads.append(threading.current_thread())
                yield word
        finally:
            threads.append(threading.current_thread())

    peer, _ = await run(source)
    assert peer.text == "abc"
    assert len(threads) == 4
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon
    await gone(threads)


async def test_context_variables_are_the_requests_and_stay_between_steps():
    seen = []

    def source(request):
        seen.append(variable.get())
        variable.set("by the source")
        yield "a"
        seen.append(variable.get())
        yield "b"
        seen.append(variable.get())

    async def app(scope, receive, send):
        token = variable.set("by the middleware")
        await EventStream(source)(scope, receive, send)
        seen.append(variable.get())
        variable.reset(token)

    async with Peer(app) as peer:
        pass
    assert peer.text == "ab"
    assert seen == ["by the middleware", "by the source", "by the source", "by the middleware"]


async def test_thread_locals_stay_between_steps():
    local = threading.local()

    def source(request):
        local.value = "kept"
        yield "a"
        yield local.value

    peer, _ = await run(source)
    assert peer.text == "akept"


async def test_an_iterable_is_made_an_iterator_in_its_thread():
    class Lines:
        def __iter__(self):
            self.thread = threading.current_thread()
            return iter(["a", "b"])

    lines = Lines()
    peer, _ = await run(lines)
    assert peer.text == "ab"
    assert lines.thread.name == "sse_asgi source"


async def test_an_error_of_the_source_fails_the_stream_with_its_traceback():
    def source(request):
        yield "a"
        raise LookupError("no more")

    peer, transcript = await run(source)
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(peer.failure, LookupError)
    traceback, names = peer.failure.__traceback__, []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "source"


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
async def test_a_stop_raised_by_hand_is_an_error(error):
    def source(request):
        yield "a"
        raise error

    peer, transcript = await run(source)
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(peer.failure, RuntimeError)


async def test_an_iter_that_raises_fails_the_stream():
    class Broken:
        def __iter__(self):
            raise LookupError

    peer, _ = await run(Broken())
    assert isinstance(peer.failure, LookupError)


async def test_a_step_that_blocks_when_the_client_leaves_ends_and_is_closed_in_its_thread():
    stepped, release, closed = threading.Event(), threading.Event(), []

    def source(request):
        try:
            yield "a"
            stepped.set()
            release.wait(PATIENCE)
            yield "late"
        finally:
            closed.append(threading.current_thread())

    record = Record()
    async with Peer(EventStream(source, on_complete=record)) as peer:
        await peer.received(b"data: a\n")
        assert await anyio.to_thread.run_sync(stepped.wait, PATIENCE)
        (thread,) = source_threads()
        peer.leave()
        await anyio.wait_all_tasks_blocked()
        assert closed == []
        release.set()
    assert closed == [thread]
    assert record.only.outcome is Outcome.DISCONNECTED
    assert record.only.text == "a"
    await gone([thread])


async def test_a_step_that_blocks_longer_than_the_bound_is_left_behind_and_closed_later(caplog):
    stepped, release, closed = threading.Event(), threading.Event(), threading.Event()

    def source(request):
        try:
            yield "a"
            stepped.set()
            release.wait(PATIENCE)
            yield "late"
        finally:
            closed.set()

    record = Record()
    try:
        async with Peer(EventStream(source, on_complete=record, cleanup_timeout=0.05)) as peer:
            await peer.received(b"data: a\n")
            assert await anyio.to_thread.run_sync(stepped.wait, PATIENCE)
            threads = source_threads()
            peer.leave()
        assert not closed.is_set()
    finally:
        release.set()
    await gone(threads)
    assert record.only.outcome is Outcome.DISCONNECTED
    assert "cleanup_timeout" in caplog.text
    assert closed.is_set()


async def test_an_idle_one_is_closed_when_its_on_chunk_fails():
    closed = []

    def source(request):
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(threading.current_thread().name)

    def on_chunk(chunk):
        raise LookupError

    peer, _ = await run(source, on_chunk=on_chunk)
    assert closed == ["sse_asgi source"]
    assert isinstance(peer.failure, LookupError)


async def test_an_error_while_it_is_closed_is_logged(caplog):
    def source(request):
        try:
            yield "a"
            yield 7
        finally:
            raise LookupError("while closing")

    _, transcript = await run(source)
    assert transcript.outcome is Outcome.FAILED


async def test_forty_idle_ones_leave_the_thread_pool_alone():
    release, before = threading.Event(), source_threads()

    def source(request):
        yield "a"
        release.wait(PATIENCE)

    app = EventStream(source)
    try:
        async with anyio.create_task_group() as tasks:
            peers = [Peer(app) for _ in range(40)]
            for peer in peers:
                tasks.start_soon(peer.run)
            for peer in peers:
                await peer.received(b"data: a\n")
            assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            with anyio.fail_after(PATIENCE):
                assert await anyio.to_thread.run_sync(lambda: "at once") == "at once"
            threads = source_threads() - before
            assert len(threads) == 40
            release.set()
    finally:
        release.set()
    assert [peer.text for peer in peers] == ["a"] * 40
    await gone(threads)


async def test_the_loop_runs_while_a_step_blocks():
    release, ticks = threading.Event(), []

    def source(request):
        release.wait(PATIENCE)
        yield "a"

    async with Peer(EventStream(source)) as peer:
        for tick in range(10):
            await anyio.sleep(0)
            ticks.append(tick)
        release.set()
    assert peer.text == "a"
    assert len(ticks) == 10


async def test_one_that_was_never_stepped_starts_no_thread():
    before = source_threads()
    await ThreadedIterator(iter(["a"])).aclose()
    assert source_threads() == before


async def test_closing_twice_is_closing_once():
    closed = []

    class Lines:
        def __iter__(self):
            return self

        def __next__(self):
            return "a"

        def close(self):
            closed.append(1)

    iterator = ThreadedIterator(Lines())
    assert await anext(iterator) == "a"
    threads = source_threads()
    await iterator.aclose()
    await iterator.aclose()
    assert closed == [1]
    await gone(threads)


async def test_sources_side_by_side_have_threads_of_their_own():
    barrier = threading.Barrier(3)

    def source(request):
        barrier.wait(PATIENCE)
        yield "met"

    app = EventStream(source)
    async with Peer(app) as one, Peer(app) as two, Peer(app) as three:
        pass
    assert one.text == two.text == three.text == "met"


async def test_leaving_before_the_first_step_ends_closes_it():
    release, began, closed = threading.Event(), anyio.Event(), []

    class Lines:
        def __iter__(self):
            return self

        def __next__(self):
            release.wait(PATIENCE)
            return "a"

        def close(self):
            closed.append(1)

    async def source(request):
        began.set()
        return Lines()

    async with Peer(EventStream(source)) as peer:
        await soon(began)
        peer.leave()
        await anyio.wait_all_tasks_blocked()
        release.set()
    assert closed == [1]
    assert peer.text == ""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("step", ["gives a chunk", "raises", "ends"])
def test_an_event_loop_that_is_gone_under_a_step_leaves_a_thread_that_closes_and_ends(
    step, backend, caplog
):
    """The step goes on in its thread; whom it would have told of its end is gone."""
    release, closed, stepping, threads = threading.Event(), [], threading.Event(), []

    class Lines:
        def __iter__(self):
            return self

        def __next__(self):
            threads.append(threading.current_thread())
            stepping.set()
            assert release.wait(PATIENCE)
            if step == "raises":
                raise LookupError
            if step == "ends":
                raise StopIteration
            return "late"

        def close(self):
            closed.append(threading.current_thread())

    async def step_once():
        iterator = ThreadedIterator(Lines())
        with anyio.move_on_after(0.05):
            await anext(iterator)

    anyio.run(step_once, backend=backend)
    assert stepping.is_set()
    release.set()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()
    assert closed == threads
    assert caplog.records == []
