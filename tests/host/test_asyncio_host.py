"""What only asyncio has: native cancellation, its counts, tasks, timers, and memory without gc."""

import asyncio
import contextlib
import gc
import itertools
import os
import signal
import sys
import time
import weakref

import anyio
import pytest

from sse_asgi import EventStream, Outcome, Shutdown
from tests.stream.conftest import LOOPS
from tests.stream.peer import (
    BODY,
    KEEP_ALIVE,
    PATIENCE,
    START,
    Block,
    Peer,
    Record,
    http_scope,
    logged_errors,
    soon,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request):
    return LOOPS[request.param]


@contextlib.asynccontextmanager
async def native(app, **options):
    """Run an app in a native task, as servers do; yield the peer and the task."""
    peer = Peer(app, **options)
    task = asyncio.create_task(peer.run())
    try:
        yield peer, task
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait((task,))
    finally:
        task.cancel()
        await asyncio.wait((task,))
    assert not peer.broken_rules


async def turns(number=5):
    for _ in range(number):
        await asyncio.sleep(0)


async def idle(request):
    yield "a"
    await asyncio.sleep(PATIENCE)


class TestScopesAroundTheStream:
    """A cancel scope of anyio, of a timeout middleware for instance, gets its own cancellation."""

    @pytest.mark.parametrize(
        ("end", "outcome"),
        [
            ("swallows", Outcome.COMPLETED),
            ("raises", Outcome.FAILED),
            ("passes on", Outcome.SHUT_DOWN),
        ],
    )
    async def test_absorbs_it_whatever_the_source_makes_of_it(self, end, outcome):
        async def source(request):
            try:
                yield "a"
                started.set()
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                if end == "raises":
                    raise KeyError("clean-up") from None
                if end == "passes on":
                    raise

        async def time_out():
            await soon(started)
            scope.cancel()

        started = anyio.Event()
        record = Record()
        peer = Peer(EventStream(source, on_complete=record))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(time_out)
            with anyio.CancelScope() as scope:
                await peer.run()
        assert scope.cancelled_caught
        assert record.only.outcome is outcome


class Endless:
    """A clean-up that swallows every cancellation, until the test ends it."""

    def __init__(self):
        self.ended = asyncio.Event()
        self.cancelled = 0

    async def __call__(self):
        while not self.ended.is_set():
            try:
                await self.ended.wait()
            except asyncio.CancelledError:
                self.cancelled += 1

    def end(self):
        self.ended.set()


class TestSlowClientAndCleanUp:
    """The time that a slow client takes is not the source's."""

    @pytest.mark.parametrize("end", ["by itself", "by an error"])
    @pytest.mark.matrix("anyio_backend")
    async def test_the_clean_up_has_its_time_after_a_send_that_blocked(self, end, caplog):
        async def source(request):
            try:
                yield "a"
                if end == "by an error":
                    yield 42
            finally:
                await asyncio.sleep(0.01)
                saved.append(True)

        saved = []
        block = Block(b"data: a")
        app = EventStream(source, cleanup_timeout=0.5)
        async with native(app, on_send=block) as (_, _):
            await soon(block.reached)
            await asyncio.sleep(0.7)  # longer than the timeout
            block.opened.set()
        assert saved
        assert "abandoned" not in caplog.text

    @pytest.mark.matrix("anyio_backend")
    async def test_a_clean_up_that_never_ends_is_still_given_up_after_it(self, caplog):
        endless = Endless()

        async def source(request):
            try:
                yield "a"
                yield 42
            finally:
                await endless()

        block, record = Block(b"data: a"), Record()
        app = EventStream(source, cleanup_timeout=0.1, on_complete=record)
        async with native(app, on_send=block) as (peer, _):
            await soon(block.reached)
            block.opened.set()
            async with asyncio.timeout(PATIENCE):
                while not record:
                    await asyncio.sleep(0.01)
            assert peer.closed
            assert "abandoned" in caplog.text
            endless.end()
        assert record.only.outcome is Outcome.FAILED


class TestServerCancels:
    """The server cancels the request's task: the cancellation is raised again at the end."""

    @pytest.mark.parametrize(
        "where", ["idle", "send", "start", "keep-alive", "last words", "clean-up", "prefetch"]
    )
    async def test_the_clean_up_is_awaited_and_the_outcome_is_shut_down(self, where):
        parts = {
            "send": b"data: a",
            "start": b"start",
            "keep-alive": KEEP_ALIVE,
            "last words": b"[DONE]",
        }
        block, record, log = Block(parts.get(where, b"nowhere")), Record(), []
        standing = asyncio.Event()

        async def source(request):
            log.append("opened")
            try:
                if where == "prefetch":
                    standing.set()
                    await asyncio.sleep(PATIENCE)
                yield "a"
                if where not in ("last words", "clean-up"):
                    standing.set()
                    await asyncio.sleep(PATIENCE)
            finally:
                for _ in range(3):
                    await asyncio.sleep(0.001)
                    standing.set()
                log.append("cleaned")

        options = {"heartbeat": 0.01} if where == "keep-alive" else {}
        app = EventStream(source, on_complete=record, prefetch=where == "prefetch", **options)
        async with native(app, on_send=block) as (peer, task):
            await soon(block.reached if where in parts else standing)
            task.cancel()
        assert task.cancelled()
        assert record.only.outcome is Outcome.SHUT_DOWN
        assert record.only.error is None
        if where == "clean-up":  # it is this await that is cancelled
            assert log == ["opened"]
        else:
            assert log == ["opened", "cleaned"]
        assert not peer.closed

    async def test_a_source_that_swallows_it_does_not_hide_it_from_the_server(self):
        record = Record()

        async def source(request):
            try:
                yield "a"
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                yield "swallowed"

        async with native(EventStream(source, on_complete=record)) as (peer, task):
            await peer.received(b"data: a\n")
            task.cancel()
        assert task.cancelled()
        assert len(record) == 1

    async def test_while_on_complete_runs_it_waits_for_the_hook(self):
        began, done = asyncio.Event(), []

        async def on_complete(transcript):
            began.set()
            await asyncio.sleep(0.03)
            done.append(transcript.outcome)

        async with native(EventStream(["a"], on_complete=on_complete)) as (_, task):
            await soon(began)
            for _ in range(3):
                task.cancel()
                await turns(2)
        assert done == [Outcome.COMPLETED]
        assert task.cancelled()

    async def test_a_native_task_group_around_the_app_does_not_cut_the_clean_up(self):
        record, cleaned = Record(), []

        async def source(request):
            try:
                yield "a"
                await asyncio.sleep(PATIENCE)
            finally:
                await asyncio.sleep(0.01)
                cleaned.append(1)

        peer = Peer(EventStream(source, on_complete=record))

        async def fail():
            await peer.received(b"data: a\n")
            raise LookupError

        with pytest.raises(ExceptionGroup):
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                group.create_task(peer.run())
                group.create_task(fail())
        assert cleaned == [1]
        assert record.only.outcome is Outcome.SHUT_DOWN

    @pytest.mark.parametrize("where", ["idle", "send", "last words"])
    async def test_an_anyio_scope_around_the_app_knows_its_own_cancellation(self, where):
        parts = {"send": b"data: a", "last words": b"[DONE]"}
        block, record, standing = Block(parts.get(where, b"nowhere")), Record(), asyncio.Event()

        async def source(request):
            yield "a"
            if where != "last words":
                standing.set()
                await asyncio.sleep(PATIENCE)

        peer = Peer(EventStream(source, on_complete=record), on_send=block)
        with anyio.CancelScope() as scope:

            async def cancel():
                await soon(standing if where == "idle" else block.reached)
                scope.cancel()

            canceller = asyncio.create_task(cancel())
            await peer.app(peer.scope, peer.receive, peer.send)
        await canceller
        assert scope.cancelled_caught
        assert record.only.outcome is Outcome.SHUT_DOWN
        assert asyncio.current_task().cancelling() == 0
        await turns()

    async def test_a_timeout_around_the_app_works(self):
        record = Record()
        peer = Peer(EventStream(idle, on_complete=record))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await peer.app(peer.scope, peer.receive, peer.send)
        assert asyncio.current_task().cancelling() == 0
        assert record.only.outcome is Outcome.SHUT_DOWN
        await turns()


class TestCancelling:
    """`Task.cancelling()` of the host is what it was, and no cancellation is left to come."""

    @pytest.mark.parametrize("older", [0, 1])
    @pytest.mark.parametrize(
        "end", ["completed", "disconnected", "failed", "timed_out", "stuck", "last words"]
    )
    async def test_is_restored(self, end, older):
        record, seen = Record(), []

        async def source(request):
            try:
                yield "a"
                if end == "failed":
                    raise LookupError
                if end not in ("completed", "last words"):
                    await asyncio.sleep(PATIENCE)
            finally:
                if end == "stuck":
                    await asyncio.sleep(PATIENCE)

        async def app(scope, receive, send):
            task = asyncio.current_task()
            if older:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            stream = EventStream(
                source, on_complete=record, cleanup_timeout=0.03, send_timeout=0.03
            )
            with contextlib.suppress(LookupError):
                await stream(scope, receive, send)
            seen.append(task.cancelling())
            await turns()
            seen.append("went on")

        parts = {"timed_out": b"data: a", "last words": b"[DONE]"}
        block = Block(parts.get(end, b"nowhere"))
        async with native(app, on_send=block) as (peer, task):
            if end in ("disconnected", "stuck"):
                await peer.received(b"data: a\n")
                peer.leave()
        assert seen == [older, "went on"]
        assert not task.cancelled()
        assert len(record) == 1


async def wait_within(kind, seconds):
    """Wait for ever within a timeout of this kind."""
    if kind == "timeout":
        async with asyncio.timeout(seconds):
            await asyncio.sleep(PATIENCE)
    elif kind == "wait_for":
        await asyncio.wait_for(asyncio.sleep(PATIENCE), seconds)
    else:
        with anyio.fail_after(seconds):
            await anyio.sleep(PATIENCE)


async def open_later(block):
    """Let a blocked send go on once the source's own timeouts have passed, if they do."""
    await soon(block.reached)
    await asyncio.sleep(0.06)
    block.opened.set()


def assert_nothing_lost_in_silence(peer, transcript, *, end):
    """A timeout around a `yield` may cut a send: then the stream has failed, and says so."""
    if transcript.outcome is Outcome.COMPLETED:
        assert peer.text == transcript.text
        assert transcript.text.endswith(end)
        assert transcript.sent_chunks == transcript.chunks
    else:
        assert transcript.outcome is Outcome.FAILED
        assert transcript.text.startswith(peer.text)
        assert peer.events[-1].type == "error"
        assert peer.closed


class TestOwnTimeouts:
    """A source's own timeout fires while a send is blocked: nothing is lost, nothing doubled."""

    @pytest.mark.parametrize("prefetch", [False, True])
    @pytest.mark.parametrize("kind", ["timeout", "wait_for", "fail_after"])
    async def test_that_awaits_inside_gets_its_timeout_and_the_send_goes_on(self, kind, prefetch):
        block, record = Block(b"data: a", *([b"start"] if prefetch else [])), Record()
        caught = []

        async def source(request):
            yield "a"
            try:
                await wait_within(kind, 0.03)
            except TimeoutError:
                caught.append(block.cancelled)
            yield "b"
            await asyncio.sleep(0)
            yield "c"

        app = EventStream(source, on_complete=record, prefetch=prefetch)
        async with native(app, on_send=block) as (peer, _):
            await open_later(block)
        assert caught == [False]
        assert peer.raised is None
        assert peer.text == "abc"
        assert (record.only.outcome, record.only.sent_chunks) == (Outcome.COMPLETED, 3)

    @pytest.mark.parametrize("kind", ["timeout", "fail_after"])
    async def test_that_yields_inside_gets_its_timeout_at_its_next_await(self, kind):
        """A fast source inside of its own timeout: the send that blocks is none of its awaits."""
        block, record, caught = Block(b"xxx"), Record(), []

        async def source(request):
            try:
                with anyio.fail_after(0.03) if kind == "fail_after" else contextlib.nullcontext():
                    async with asyncio.timeout(0.03 if kind == "timeout" else None):
                        for _ in range(3):
                            yield "x" * 70_000
                            await asyncio.sleep(0)
                        await asyncio.sleep(PATIENCE)
            except TimeoutError:
                caught.append("timeout")
            yield "end"

        async with native(EventStream(source, on_complete=record), on_send=block) as (peer, _):
            await open_later(block)
        assert caught == ["timeout"]
        assert peer.raised is None
        assert_nothing_lost_in_silence(peer, record.only, end="end")

    async def test_that_pass_one_after_the_other_behind_one_slow_send_keep_the_order(self):
        block, record = Block(b"first"), Record()

        async def source(request):
            yield "first"
            for number in range(4):
                try:
                    async with asyncio.timeout(0.01):
                        await asyncio.sleep(PATIENCE)
                except TimeoutError:
                    yield f" {number}"
            yield " end"

        async with native(EventStream(source, on_complete=record), on_send=block) as (peer, _):
            await open_later(block)
        assert peer.text == "first 0 1 2 3 end"
        assert record.only.outcome is Outcome.COMPLETED

    async def test_that_pass_while_the_start_is_slow_keep_the_order(self):
        block = Block(b"start")

        async def source(request):
            for number in range(3):
                yield f"{number} "
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await asyncio.sleep(PATIENCE)
            yield "end"

        async with native(EventStream(source), on_send=block) as (peer, _):
            await open_later(block)
        assert peer.text == "0 1 2 end"

    async def test_that_pass_again_and_again_pile_up_no_sends(self):
        block, tasks = Block(b"tick"), []

        async def source(request):
            for _ in range(60):
                yield "tick "
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await asyncio.sleep(PATIENCE)
                tasks.append(len(asyncio.all_tasks()))

        async with native(EventStream(source), on_send=block) as (peer, _):
            await open_later(block)
        assert peer.text == "tick " * 60
        assert max(tasks) <= tasks[0] + 1

    async def test_that_passes_in_a_hook_is_told_and_its_chunk_is_sent(self):
        block, told = Block(b"x"), asyncio.Event()

        async def source(request):
            try:
                async with asyncio.timeout(0.02):
                    yield "x" * 20_000
            except TimeoutError:
                told.set()
            yield "end"

        async def on_chunk(chunk):
            if chunk != "end":
                await asyncio.sleep(0.05)

        async with native(EventStream(source, on_chunk=on_chunk), on_send=block) as (peer, _):
            await open_later(block)
        assert told.is_set()
        assert peer.text == "x" * 20_000 + "end"

    @pytest.mark.parametrize("where", ["on_chunk", "pause", "slow send"])
    async def test_that_yields_inside_gets_its_native_timeout_where_it_stands(self, where):
        block, record, caught = Block(b"xxx" if where == "slow send" else b"no"), Record(), []

        async def source(request):
            try:
                async with asyncio.timeout(0.03):
                    while True:
                        yield "x" * 70_000 if where == "slow send" else "x"
            except TimeoutError:
                caught.append(asyncio.current_task().cancelling())
            yield "end"

        async def on_chunk(chunk):
            await asyncio.sleep(0.01)

        app = EventStream(
            source, on_complete=record, on_chunk=on_chunk if where == "on_chunk" else None
        )
        async with native(app, on_send=block) as (peer, task):
            if where == "slow send":
                await open_later(block)
        assert caught == [0]
        assert task.cancelling() == 0
        assert peer.raised is None
        assert_nothing_lost_in_silence(peer, record.only, end="xend")

    async def test_an_on_chunk_that_cancels_itself_is_a_failure_and_no_business_of_the_source(self):
        record, told = Record(), []

        async def source(request):
            try:
                yield "a"
            except asyncio.CancelledError:
                told.append(1)
                raise

        async def on_chunk(chunk):
            raise asyncio.CancelledError

        async with native(EventStream(source, on_complete=record, on_chunk=on_chunk)) as (peer, _):
            pass
        assert told == []
        assert record.only.outcome is Outcome.FAILED
        assert peer.events[-1].type == "error"

    @pytest.mark.parametrize("where", ["on_chunk", "pause"])
    async def test_a_server_s_cancellation_reaches_the_source_where_it_stands(self, where):
        record, told, standing = Record(), [], asyncio.Event()

        async def source(request):
            try:
                while True:
                    yield "a"
                    standing.set()
            except asyncio.CancelledError:
                await asyncio.sleep(0.001)
                told.append(1)
                raise

        async def on_chunk(chunk):
            standing.set()
            await asyncio.sleep(PATIENCE)

        app = EventStream(
            source, on_complete=record, on_chunk=on_chunk if where == "on_chunk" else None
        )
        peer = Peer(app)
        task = asyncio.create_task(app(peer.scope, peer.receive, peer.send))
        await soon(standing)
        task.cancel()
        await asyncio.wait((task,), timeout=PATIENCE)
        assert task.cancelled()
        assert told == [1]
        assert record.only.outcome is Outcome.SHUT_DOWN

    @pytest.mark.parametrize("error", [OSError("pipe"), RuntimeError("server")])
    async def test_a_send_that_fails_after_it_ends_the_idle_source(self, error):
        reached, go, record, cleaned = asyncio.Event(), asyncio.Event(), Record(), []

        async def on_send(message):
            if b"data: a" in message.get("body", b""):
                reached.set()
                await go.wait()
                raise error

        async def source(request):
            try:
                yield "a"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await asyncio.sleep(PATIENCE)
                await asyncio.sleep(PATIENCE)
            finally:
                await asyncio.sleep(0.001)
                cleaned.append(1)

        began = time.monotonic()
        async with native(EventStream(source, on_complete=record), on_send=on_send) as (peer, _):
            await soon(reached)
            await asyncio.sleep(0.04)
            go.set()
        assert time.monotonic() - began < PATIENCE / 2
        assert cleaned == [1]
        failed = isinstance(error, RuntimeError)
        assert record.only.outcome is (Outcome.FAILED if failed else Outcome.DISCONNECTED)
        assert peer.raised is None
        assert logged_errors(peer.log) == ([error] if failed else [])

    @pytest.mark.parametrize("behind", ["nothing", "keep-alive"])
    async def test_no_send_is_left_when_the_client_leaves_after_it(self, behind):
        """Also when two wait in a row: a keep-alive that blocks, and a chunk behind it."""
        block, record = Block(KEEP_ALIVE if behind == "keep-alive" else b"data: a"), Record()

        async def source(request):
            if behind == "keep-alive":
                await block.reached.wait()
            yield "a"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await asyncio.sleep(PATIENCE)
            await asyncio.sleep(PATIENCE)

        before = asyncio.all_tasks()
        app = EventStream(
            source, on_complete=record, heartbeat=0.01 if behind == "keep-alive" else None
        )
        async with native(app, on_send=block) as (peer, _):
            await soon(block.reached)
            await asyncio.sleep(0.05)
            peer.leave()
        await turns()
        assert block.cancelled
        assert asyncio.all_tasks() == before
        assert record.only.outcome is Outcome.DISCONNECTED
        # A send that was cut counts, one that waited behind a keep-alive does not.
        assert record.only.sent_chunks == (0 if behind == "keep-alive" else 1)

    async def test_a_child_of_its_native_task_group_fails_while_a_send_blocks(self):
        block, record, failing = Block(b"data: a"), Record(), asyncio.Event()

        async def child():
            await failing.wait()
            raise LookupError("child")

        async def source(request):
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                yield "a"
                await asyncio.sleep(PATIENCE)

        async with native(EventStream(source, on_complete=record), on_send=block) as (peer, task):
            await soon(block.reached)
            failing.set()
            await turns()
            block.opened.set()
        assert isinstance(peer.failure, ExceptionGroup)
        assert peer.failure.subgroup(LookupError) is not None
        assert peer.text == "a"
        assert record.only.outcome is Outcome.FAILED
        assert not task.cancelled()


class TestSendThatBlocks:
    """What ends a stream ends also a send for which the clean-up stands still."""

    @pytest.mark.parametrize("why", ["timed_out", "disconnected"])
    @pytest.mark.parametrize("how", ["shutdown", "hook"])
    async def test_is_given_up(self, how, why):
        shutdown, record = Shutdown(grace=0, signals=False), Record()
        block = Block(b"data: last")

        async def source(request):
            try:
                yield "a"
                await asyncio.sleep(0.001)
                yield "last"
                if how == "hook":
                    yield "poison"
                else:
                    await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                yield "last words"
            finally:
                await asyncio.sleep(0.001)

        def on_chunk(chunk):
            if chunk == "poison":
                raise LookupError

        if how == "shutdown":
            block.parts = (b"data: last words",)
        app = EventStream(
            source, on_complete=record, on_chunk=on_chunk, shutdown=shutdown, cleanup_timeout=60.0,
            send_timeout=0.3 if why == "timed_out" else None,
        )  # fmt: skip
        async with native(app, on_send=block) as (peer, task):
            await peer.received(b"data: a")
            if how == "shutdown":
                shutdown.begin()
            await soon(block.reached)
            if why == "disconnected":
                peer.leave()
        # A source that waits for its chunk to be sent has not come to what would fail it.
        assert record.only.outcome in (("shut_down",) if how == "shutdown" else ("failed", why))
        assert block.cancelled
        assert task.cancelling() == 0

    @pytest.mark.parametrize("part", [b"start", b"data: a"])
    @pytest.mark.parametrize("beside", [False, True])
    async def test_a_send_that_cancels_itself_after_a_while_is_the_servers_end(self, part, beside):
        record = Record()

        async def on_send(message):
            if part in message.get("body", b"start"):
                await asyncio.sleep(0.03 if beside else 0.001)
                raise asyncio.CancelledError

        async def source(request):
            yield "a"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01 if beside else None):
                    await asyncio.sleep(PATIENCE)
            await asyncio.sleep(PATIENCE)

        async with native(EventStream(source, on_complete=record), on_send=on_send) as (peer, _):
            pass
        assert record.only.outcome is Outcome.SHUT_DOWN
        assert peer.text == ""


class TestScopesThatGoOnCancelling:
    async def test_leave_a_send_that_takes_its_time_to_be_cancelled_its_end(self):
        """anyio cancels a task with every turn of the loop for as long as a scope is not left."""
        reached, record = asyncio.Event(), Record()

        async def on_send(message):
            if b"data: a" in message.get("body", b""):
                reached.set()
                try:
                    await asyncio.sleep(PATIENCE)
                finally:
                    await asyncio.sleep(0.03)

        async def source(request):
            with anyio.move_on_after(0.02):
                yield "a"
                await asyncio.sleep(PATIENCE)

        app = EventStream(source, on_complete=record)
        async with native(app, on_send=on_send) as (peer, task):
            await soon(reached)
            peer.leave()  # and the scope's time passes while the send ends
        assert record.only.outcome is Outcome.DISCONNECTED
        assert task.cancelling() == 0


class TestOneCancellation:
    async def test_a_cancel_scope_in_finally_is_left_alone(self):
        """The clean-up may use timeouts and scopes of its own."""
        log = []

        async def source(request):
            try:
                yield "a"
                await asyncio.sleep(PATIENCE)
            finally:
                async with asyncio.timeout(PATIENCE):
                    await asyncio.sleep(0.001)
                with anyio.move_on_after(0.01) as scope:
                    await anyio.sleep(PATIENCE)
                log.append(scope.cancelled_caught)

        async with native(EventStream(source)) as (peer, _):
            await peer.received(b"data: a\n")
            peer.leave()
        assert log == [True]
        assert peer.raised is None

    @pytest.mark.parametrize("part", [b"start", b"data: a"])
    async def test_a_client_that_leaves_while_a_source_that_failed_cleans_up_does_not_cut_it(
        self, part
    ):
        cleaning, cleaned, record = asyncio.Event(), [], Record()

        async def source(request):
            try:
                yield "a"
                yield 7
            finally:
                cleaning.set()
                for _ in range(10):
                    await asyncio.sleep(0.001)
                cleaned.append(1)

        async with native(EventStream(source, on_complete=record)) as (peer, _):
            await soon(cleaning)
            peer.leave()
        assert cleaned == [1]
        assert record.only.outcome is Outcome.FAILED

    async def test_a_source_that_swallows_many_cancels_lets_the_server_go_in_the_end(
        self, monkeypatch
    ):
        """It is cancelled again and again; the server's task has none of that left over."""
        for module in ("lifecycle", "stream"):
            monkeypatch.setattr(f"sse_asgi.stream.{module}.LAST_CHANCE", 0.01)
        record, swallowed = Record(), []

        async def source(request):
            yield "a"
            while len(swallowed) < 6:
                try:
                    await asyncio.sleep(PATIENCE)
                except asyncio.CancelledError:
                    swallowed.append(1)

        app = EventStream(source, on_complete=record, cleanup_timeout=0.01)
        async with native(app) as (peer, task):
            await peer.received(b"data: a\n")
            peer.leave()
        assert len(swallowed) == 6
        assert not task.cancelled()
        assert task.cancelling() == 0
        assert record.only.outcome is Outcome.DISCONNECTED

    @pytest.mark.matrix("anyio_backend")
    async def test_a_finally_that_swallows_every_cancel_is_abandoned(self, caplog):
        """Its stream is over, and reported, in time; the server's task is freed when it likes."""
        record, endless = Record(), Endless()

        async def source(request):
            try:
                yield "a"
                await asyncio.sleep(PATIENCE)
            finally:
                await endless()

        before = asyncio.all_tasks()
        began = time.monotonic()
        app = EventStream(source, on_complete=record, cleanup_timeout=0.05)
        async with native(app) as (peer, task):
            await peer.received(b"data: a\n")
            peer.leave()
            async with asyncio.timeout(PATIENCE):
                while not record:
                    await asyncio.sleep(0.01)
            assert time.monotonic() - began < 3
            endless.end()
        assert record.only.outcome is Outcome.DISCONNECTED
        assert endless.cancelled >= 1  # it is cancelled again and again
        assert peer.raised is None
        assert not task.cancelled()
        assert task.cancelling() == 0
        assert "cleanup_timeout" in caplog.text
        await turns()
        assert asyncio.all_tasks() == before


class Scope(dict):
    """A scope that can be watched for being freed."""

    __slots__ = ("__weakref__",)


ENDS = ["completed", "disconnected", "while a send blocks", "failed", "broken send", "timed out",
        "cancelled", "prefetch failed", "sync", "hook failed", "after its own timeout"]  # fmt: skip


class TestNothingIsLeft:
    """No task, no timer, no reference, without the help of the collector."""

    @pytest.fixture
    def uncollected(self):
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    async def drive(self, end):
        """Serve one stream to this end; return weak references to what it was made of."""

        async def source(request):
            try:
                if end == "prefetch failed":
                    raise LookupError
                yield "a"
                if end == "after its own timeout":
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.01):
                            await asyncio.sleep(PATIENCE)
                elif end == "failed":
                    raise LookupError
                elif end not in ("completed", "hook failed"):
                    await asyncio.sleep(PATIENCE)
            finally:
                await asyncio.sleep(0)

        async def on_complete(transcript):
            await asyncio.sleep(0)

        def on_chunk(chunk):
            if end == "hook failed":
                raise LookupError

        def on_send_fails(message):
            if b"data: a" in message.get("body", b""):
                raise OSError

        async def on_send(message):
            if end == "broken send":
                on_send_fails(message)
            elif end in ("while a send blocks", "timed out", "after its own timeout"):
                await block(message)

        block = Block(b"data: a")
        generator = (word for word in "abc") if end == "sync" else source(None)
        app = EventStream(
            generator, on_complete=on_complete, on_chunk=on_chunk,
            prefetch=end == "prefetch failed",
            send_timeout=0.02 if end == "timed out" else 30,
        )  # fmt: skip
        scope = Scope(http_scope())  # whatever serves the request holds it
        references = [weakref.ref(each) for each in (app, generator, scope)]
        del generator
        async with native(app, on_send=on_send) as (peer, task):
            peer.scope = scope
            del scope
            if end in ("disconnected", "cancelled"):
                await peer.received(b"data: a\n")
            if end == "disconnected":
                peer.leave()
            elif end == "cancelled":
                task.cancel()
            elif end == "while a send blocks":
                await soon(block.reached)
                peer.leave()
            elif end == "after its own timeout":
                await open_later(block)
        peer.forget()
        return references

    @pytest.mark.parametrize("end", ENDS)
    async def test_all_is_freed_without_the_collector(self, end, uncollected):
        references = await self.drive(end)
        await turns(10)
        async with asyncio.timeout(PATIENCE):
            while any(reference() is not None for reference in references) and end == "sync":
                await asyncio.sleep(0.001)  # its thread still ends
        assert [reference() for reference in references] == [None, None, None]

    @pytest.mark.parametrize("end", ENDS)
    async def test_no_task_is_left(self, end):
        before = asyncio.all_tasks()
        await self.drive(end)
        await turns()
        assert asyncio.all_tasks() == before

    @pytest.mark.parametrize("end", ENDS)
    async def test_no_timer_is_left(self, end):
        loop = asyncio.get_running_loop()
        if not hasattr(loop, "_scheduled"):
            pytest.skip("only asyncio's own loop tells its timers")

        def timers():
            return [each for each in loop._scheduled if not each.cancelled()]

        before = timers()
        await self.drive(end)
        await turns()
        soon_due = loop.time() + 1  # those of the source and the test may still have to pass
        assert [each for each in timers() if each not in before and each.when() > soon_due] == []


class TestSeveralLoops:
    def test_one_app_serves_event_loops_one_after_the_other(self):
        app = EventStream(lambda request: ["a"])

        async def serve():
            async with native(app) as (peer, _):
                pass
            return peer.text

        assert [asyncio.run(serve()) for _ in range(3)] == ["a"] * 3

    def test_an_app_made_in_no_loop_blocks_none(self):
        async def serve():
            async with native(EventStream(idle)) as (peer, _):
                await peer.received(b"data: a\n")
                peer.leave()
            return asyncio.all_tasks() - {asyncio.current_task()}

        assert asyncio.run(serve()) == set()


class OnlyNext:
    """An awaitable as granian has: an iterator that is no generator, over a future."""

    def __init__(self, future, result=None):
        self.future, self.yielded = future, False

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if not self.yielded and not self.future.done():
            self.yielded = True
            self.future._asyncio_future_blocking = True
            return self.future
        self.future.result()
        raise StopIteration


class TestServersOwnAwaitable:
    @pytest.mark.parametrize("part", [b"start", b"data: 3\n", b"[DONE]"])
    @pytest.mark.parametrize("error", [None, OSError("gone"), RuntimeError("server")])
    async def test_that_blocks_is_waited_for(self, part, error):
        loop, record, bodies = asyncio.get_running_loop(), Record(), []

        def send(message):
            future = loop.create_future()
            bodies.append(message.get("body", b"start"))
            if part not in bodies[-1]:
                future.set_result(None)
            elif error is None:
                loop.call_later(0.01, future.set_result, None)
            else:
                loop.call_later(0.01, future.set_exception, error)
            return OnlyNext(future)

        async def receive():
            await asyncio.sleep(PATIENCE)

        async def source(request):
            for number in range(5):
                yield f"{number}"
                await asyncio.sleep(0)

        app = EventStream(source, on_complete=record)
        with contextlib.suppress(RuntimeError):
            await app({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
        if error is None:
            assert record.only.outcome is Outcome.COMPLETED
            assert b"".join(bodies).count(b"data: ") == 6
        else:
            gone = isinstance(error, OSError)
            assert record.only.outcome is (Outcome.DISCONNECTED if gone else Outcome.FAILED)
            assert record.only.error is (None if gone else error)

    async def test_that_blocks_is_cancelled_by_the_deadline(self):
        loop, record, futures = asyncio.get_running_loop(), Record(), []

        def send(message):
            futures.append(loop.create_future())
            if b"data" not in message.get("body", b""):
                futures[-1].set_result(None)
            return OnlyNext(futures[-1])

        async def receive():
            await asyncio.sleep(PATIENCE)

        app = EventStream(idle, on_complete=record, send_timeout=0.05)
        async with asyncio.timeout(PATIENCE):
            await app({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
        assert record.only.outcome is Outcome.TIMED_OUT


async def test_a_timeout_of_the_source_that_passes_in_a_pause_reaches_its_next_await():
    record, caught = Record(), []

    async def source(request):
        try:
            async with asyncio.timeout(0.01):
                for number in itertools.count():
                    yield f"{number}"
                    if number % 1_000 == 0:
                        await asyncio.sleep(0)
        except TimeoutError:
            caught.append(1)
        yield "after"

    async with native(EventStream(source, on_complete=record)) as (_, task):
        pass
    assert caught == [1]
    assert record.only.outcome is Outcome.COMPLETED
    assert record.only.text.endswith("after")
    assert not task.cancelled()


async def test_a_signal_is_heard_from_the_first_wait_on():
    record, served = Record(), []
    before = signal.signal(signal.SIGTERM, lambda *_: served.append(1))
    try:

        async def source(request):
            yield "a"
            await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(PATIENCE)

        app = EventStream(source, on_complete=record, shutdown=Shutdown(grace=0))
        async with native(app):
            pass
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert served == [1]
    assert record.only.outcome is Outcome.SHUT_DOWN


async def test_a_stream_that_never_waits_touches_no_signal_handler():
    handlers, before = [], signal.signal(signal.SIGTERM, lambda *_: None)
    try:

        async def source(request):
            handlers.append(signal.getsignal(signal.SIGTERM))
            yield "a"

        mine = signal.getsignal(signal.SIGTERM)
        async with native(EventStream(source)):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == [mine]


async def test_a_chunk_that_waits_behind_a_keep_alive_leaves_that_its_deadline():
    block, record = Block(KEEP_ALIVE), Record()

    async def source(request):
        await block.reached.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                yield "a"
                await asyncio.sleep(PATIENCE)
        await asyncio.sleep(PATIENCE)

    app = EventStream(source, on_complete=record, heartbeat=0.02, send_timeout=0.2)
    async with native(app, on_send=block):
        pass
    assert block.cancelled
    assert record.only.outcome is Outcome.TIMED_OUT
    assert record.only.sent_chunks == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs eager tasks, of Python 3.12")
async def test_eager_tasks_send_keep_alives_too():
    loop = asyncio.get_running_loop()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop knows no eager tasks")
    before = loop.get_task_factory()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        async with native(EventStream(idle, heartbeat=0.02)) as (peer, _):
            await peer.until(lambda: peer.body.count(KEEP_ALIVE) >= 3)
            peer.leave()
    finally:
        loop.set_task_factory(before)


async def test_a_send_that_is_cancelled_by_nobody_here_ends_the_stream_and_its_source():
    record, cleaned = Record(), []

    async def on_send(message):
        if b"data: a" in message.get("body", b""):
            raise asyncio.CancelledError

    async def source(request):
        try:
            yield "a"
            await asyncio.sleep(PATIENCE)
        finally:
            cleaned.append(1)

    async with native(EventStream(source, on_complete=record), on_send=on_send):
        pass
    assert cleaned == [1]
    assert record.only.outcome is Outcome.SHUT_DOWN


EXPECTING = [(b"expect", b"100-continue"), (b"content-length", b"4")]


class TestExpectContinue:
    """A client holds its body back: the server asks for it before the response starts, or never."""

    async def test_the_body_is_asked_for_before_the_start(self):
        calls = []

        async def receive():
            if "receive" in calls:
                await asyncio.sleep(PATIENCE)
            calls.append("receive")
            return {"type": "http.request", "body": b"body", "more_body": False}

        async def send(message):
            calls.append(message["type"])

        async def source(request):
            yield "a"
            yield (await request.body()).decode()

        app = EventStream(source)
        await app(http_scope(headers=EXPECTING), receive, send)
        assert calls[:2] == ["receive", START]
        assert calls.count(BODY) >= 1

    @pytest.mark.parametrize("waits", [False, True])
    @pytest.mark.matrix("anyio_backend")
    async def test_a_body_that_does_not_come_holds_up_only_who_waits_for_it(self, waits):
        """And it holds that up for a second: then the headers leave."""

        async def source(request):
            if waits:
                await request.body()
            yield "a"
            await asyncio.sleep(PATIENCE)

        begun = time.monotonic()
        async with native(EventStream(source), body=(), headers=EXPECTING) as (peer, _):
            await peer.until(lambda: peer.messages)
            took = time.monotonic() - begun
            if not waits:
                await peer.received(b"data: a")
            peer.leave()
        assert (took > 0.5) is waits
        assert peer.text == ("" if waits else "a")

    @pytest.mark.parametrize("who", ["client", "server", "source"])
    @pytest.mark.matrix("anyio_backend")
    async def test_a_cancellation_meanwhile_reaches_the_source(self, who):
        record, told = Record(), []

        async def source(request):
            try:
                async with asyncio.timeout(0.01 if who == "source" else None):
                    await request.body()
            except TimeoutError:
                yield "timeout"
            except asyncio.CancelledError:
                await asyncio.sleep(0.001)
                told.append(1)
                raise

        app = EventStream(source, on_complete=record)
        async with native(app, body=(), headers=EXPECTING) as (peer, task):
            await turns()
            if who == "client":
                peer.leave()
            elif who == "server":
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        assert told == ([] if who == "source" else [1])
        assert peer.text == ("timeout" if who == "source" else "")
        outcomes = {"client": "disconnected", "server": "shut_down", "source": "completed"}
        assert record.only.outcome == outcomes[who]
