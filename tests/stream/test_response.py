"""A chunk's way and an ending's way, on every event loop."""

import contextvars
import gc
import json
import time
import tracemalloc
import weakref

import anyio
import anyio.lowlevel
import pytest

from sse_asgi import EventStream, JSONFraming, Outcome, ServerSentEvent, TextFraming
from sse_asgi.stream import lifecycle
from sse_asgi.stream.outbox import MAX_SIZE
from sse_asgi.wire.text_framing import TextEncoder
from tests.sources import cleaning_up
from tests.stage import on_trio
from tests.stream.peer import (
    BODY,
    PATIENCE,
    START,
    Block,
    Peer,
    Record,
    logged_errors,
    run,
    soon,
)

pytestmark = pytest.mark.anyio

variable = contextvars.ContextVar("variable", default="unset")

GENERIC = "The stream failed on the server."


def error_message(peer):
    """The message of the error event, which must be the last."""
    assert peer.events[-1].type == "error"
    return json.loads(peer.events[-1].data)["message"]


class Answer:
    """An awaitable that nobody has awaited."""

    def __await__(self):
        yield


class Model:
    """A model, as pydantic's are: an iterable of its fields that encodes itself."""

    def __iter__(self):
        return iter([("a", 1)])

    def model_dump_json(self):
        return '{"a":1}'


class PeersEvent(Model):
    """The event of another library, of the same name; FastAPI's is a model."""


PeersEvent.__name__ = PeersEvent.__qualname__ = "ServerSentEvent"


class TestOnTheWire:
    async def test_start_an_empty_body_the_chunks_and_the_end(self):
        async def source(request):
            await peer.until(lambda: peer.bodies)
            yield "a"
            yield "b"

        record = Record()
        app = EventStream(source, on_complete=record, status=201, headers={"x-name": "1"})
        async with Peer(app) as peer:
            pass
        transcript = record.only
        assert peer.status == 201
        assert (b"x-name", b"1") in peer.headers
        assert peer.bodies[0] == b""
        assert peer.body == b"data: a\n\ndata: b\n\ndata: [DONE]\n\n"
        assert peer.closed
        assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("ab", 2, 2)
        assert (transcript.outcome, transcript.error) == (Outcome.COMPLETED, None)

    @pytest.mark.parametrize("where", ["in its function", "in its first step"])
    async def test_headers_reach_the_client_when_the_source_waits(self, where):
        async def headers_sent():
            await peer.until(lambda: [each["type"] for each in peer.messages] == [START, BODY])

        async def function(request):
            await headers_sent()
            return ["a"]

        async def generator(request):
            await headers_sent()
            yield "a"

        source = function if where == "in its function" else generator
        async with Peer(EventStream(source)) as peer:
            pass
        assert peer.text == "a"

    async def test_what_is_ready_at_once_takes_two_messages(self):
        async def source(request):
            yield "a"
            yield "b"

        peer, _ = await run(source)
        assert [message["type"] for message in peer.messages] == [START, BODY]

    async def test_a_middleware_that_changes_the_headers_changes_them_for_one_response(self):
        async def add(message):
            if message["type"] == START:
                message["headers"].append((b"x-added", b"1"))

        app = EventStream(["a"])
        for _ in range(2):
            async with Peer(app, on_send=add) as peer:
                pass
            assert [name for name, _ in peer.headers].count(b"x-added") == 1

    async def test_an_empty_source_completes(self):
        peer, transcript = await run([])
        assert peer.body == b"data: [DONE]\n\n"
        assert (transcript.text, transcript.chunks) == ("", 0)
        assert transcript.time_to_first_chunk is None

    async def test_an_empty_chunk_is_a_chunk(self):
        _, transcript = await run([""])
        assert transcript.chunks == transcript.sent_chunks == 1

    async def test_a_lone_chunk_with_a_newline_is_one_event_of_two_lines(self):
        peer, transcript = await run(["two\nlines"])
        assert peer.body == b"data: two\ndata: lines\n\ndata: [DONE]\n\n"
        assert peer.text == transcript.text == "two\nlines"

    async def test_the_framing_is_the_users(self):
        peer, _ = await run(["a\r\n", "b"], framing=JSONFraming(done=None))
        assert peer.body == b'data: "a\\r\\n"\n\ndata: "b"\n\n'

    async def test_no_end_event_still_ends_the_body(self):
        peer, _ = await run(["a"], framing=TextFraming(done=None))
        assert peer.body == b"data: a\n\n"
        assert peer.closed

    async def test_an_event_goes_out_as_it_is_and_is_no_text(self):
        chunks = []
        peer, transcript = await run(
            ["a", ServerSentEvent(event="tick", data="1", id="7"), "b"], on_chunk=chunks.append
        )
        assert [event.type for event in peer.events] == ["message", "tick", "message", "message"]
        assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("ab", 2, 2)
        assert chunks == ["a", "b"]

    async def test_none_is_skipped(self):
        chunks = []
        peer, transcript = await run([None, "a", None], on_chunk=chunks.append)
        assert peer.body == b"data: a\n\ndata: [DONE]\n\n"
        assert (transcript.text, transcript.chunks) == ("a", 1)
        assert chunks == ["a"]

    async def test_none_sends_nothing_at_all(self):
        async def source(request):
            yield "a"
            for _ in range(5):
                await anyio.sleep(0)
                yield None

        peer, _ = await run(source)
        assert b"" not in peer.bodies[1:]

    @pytest.mark.parametrize("chunk", [7, b"bytes", 1.5, ["a"], {"a": 1}, object()])
    async def test_anything_else_fails_the_stream_and_is_named(self, chunk):
        async def source(request):
            yield "a"
            yield chunk

        peer, transcript = await run(source)
        assert transcript.outcome is Outcome.FAILED
        assert transcript.text == "a"
        assert isinstance(peer.failure, TypeError)
        assert type(chunk).__name__ in str(peer.failure)
        assert peer.text == "a"
        assert error_message(peer) == GENERIC

    @pytest.mark.parametrize(
        ("chunk", "remedy"),
        [
            (b"data: a\n\n", "None: yield text, not frames; the framing encodes it"),
            ({"a": 1}, "None: encode it with json.dumps, or name its fields in a ServerSentEvent"),
            (["a"], "None: encode it with json.dumps, or name its fields in a ServerSentEvent"),
            (iter("ab"), "None: yield what it holds, one by one"),
            (7, "None: yield str() of it, if that is what clients are to read"),
            (Answer(), "None: await it first"),
            (Model(), "None: yield its model_dump_json()"),
            (PeersEvent(), "None: this one is of tests; import ServerSentEvent from sse_asgi"),
        ],
    )
    async def test_what_is_no_chunk_is_told_with_a_remedy(self, chunk, remedy):
        peer, _ = await run([chunk])
        assert str(peer.failure).endswith(remedy)

    async def test_a_subclass_of_str_is_text(self):
        class Word(str):
            __slots__ = ()

        peer, _ = await run([Word("a")])
        assert peer.text == "a"

    async def test_a_framing_that_holds_text_back_sends_nothing_for_it(self):
        class PairsEncoder(TextEncoder):
            held = ""

            def text(self, chunks):
                encoded = b""
                for chunk in chunks:
                    self.held += chunk
                    if len(self.held) == 2:
                        encoded += super().text([self.held])
                        self.held = ""
                return encoded

        class Pairs(TextFraming):
            def encoder(self):
                return PairsEncoder(self.done)

        async def source(request):
            for chunk in "abcd":
                yield chunk
                await anyio.sleep(0)

        peer, transcript = await run(source, framing=Pairs())
        assert peer.body == b"data: ab\n\ndata: cd\n\ndata: [DONE]\n\n"
        assert b"" not in peer.bodies[1:]
        assert transcript.sent_chunks == 4


class TestCoalescing:
    async def test_chunks_that_are_ready_together_leave_in_one_send(self):
        async def source(request):
            for word in ("a", "b", "c"):
                yield word
            await anyio.sleep(0)
            yield "d"

        together = 0
        for _ in range(20):  # a busy machine may cut one of them
            peer, _ = await run(source)
            assert peer.text == "abcd"
            together += any(b"data: a\n\ndata: b\n\ndata: c\n\n" in body for body in peer.bodies)
        assert together > 0

    async def test_a_send_is_bounded(self):
        frame = TextFraming().encoder().text(["x" * 1_000])

        async def source(request):
            for _ in range(300):
                yield "x" * 1_000

        peer, _ = await run(source)
        assert max(map(len, peer.bodies)) < MAX_SIZE + 2 * len(frame) + len(b"data: [DONE]\n\n")
        assert peer.text == "x" * 300_000

    async def test_a_chunk_never_waits_for_a_later_one(self):
        """The source yields a chunk only when the client has the one before."""

        async def source(request):
            for number in range(20):
                yield f"{number};"
                await peer.received(b"%d;" % number)

        async with Peer(EventStream(source)) as peer:
            pass
        assert peer.text == "".join(f"{number};" for number in range(20))

    async def test_a_chunk_does_not_wait_for_on_chunk_of_a_later_one(self):
        async def on_chunk(chunk):
            if chunk == "b":
                await peer.received(b"data: a\n")

        async with Peer(EventStream(["a", "b"], on_chunk=on_chunk)) as peer:
            pass
        assert peer.text == "ab"

    async def test_a_chunk_does_not_wait_for_the_clean_up_of_the_source(self):
        async def source(request):
            try:
                yield "a"
            finally:
                with anyio.CancelScope(shield=True):
                    await peer.received(b"data: a\n")

        async with Peer(EventStream(source)) as peer:
            pass
        assert peer.text == "a"

    async def test_a_chunk_does_not_wait_for_a_slow_source_that_keeps_computing(self):
        """A source that never awaits: its first chunk leaves while it still runs."""
        sent_before = []

        async def source(request):
            for number in range(100_000):
                yield f"{number};"
                if b"0;" in peer.body:
                    sent_before.append(number)
                    return

        async with Peer(EventStream(source)) as peer:
            pass
        assert sent_before[0] < 99_999

    async def test_a_slow_client_slows_the_source(self):
        produced = 0

        async def source(request):
            nonlocal produced
            for _ in range(100):
                produced += 1
                yield "x" * 10_000
                await anyio.sleep(0)

        block = Block(b"x" * 10_000)
        async with Peer(EventStream(source), on_send=block) as peer:
            await soon(block.reached)
            for _ in range(100):
                await anyio.sleep(0)
            assert produced <= 2 * MAX_SIZE / 10_000 + 2
            block.opened.set()
        assert peer.text == "x" * 1_000_000


class TestTaskAndContext:
    async def test_the_source_lives_in_one_task_and_one_context(self):
        tasks, values = [], []

        def note():
            tasks.append(anyio.get_current_task().id)
            values.append(variable.get())

        class Source:
            def __init__(self, request):
                self.left = 3
                note()

            def __aiter__(self):
                note()
                variable.set("set")
                return self

            async def __anext__(self):
                await anyio.sleep(0)
                note()
                self.left -= 1
                if not self.left:
                    raise StopAsyncIteration
                return "a"

            async def aclose(self):
                note()

        def on_chunk(chunk):
            note()

        await run(Source, on_chunk=on_chunk)
        assert len(tasks) >= 8  # made, iterated, three steps, two hooks, closed
        assert len(set(tasks)) == 1
        assert set(values[-6:]) == {"set"}

    async def test_a_context_variable_can_be_reset_in_finally(self):
        async def source(request):
            token = variable.set("mine")
            try:
                yield variable.get()
                await anyio.sleep_forever()
            finally:
                variable.reset(token)

        async with Peer(EventStream(source)) as peer:
            await peer.received(b"data: mine\n")
            peer.leave()
        assert peer.raised is None

    async def test_the_source_sees_the_context_of_the_request(self):
        async def source(request):
            yield variable.get()

        async def app(scope, receive, send):
            variable.set("by the middleware")
            await EventStream(source)(scope, receive, send)

        async with Peer(app) as peer:
            pass
        assert peer.text == "by the middleware"

    @pytest.mark.parametrize("end", ["completed", "disconnected"])
    async def test_a_source_may_yield_inside_a_task_group(self, end):
        cancelled = []

        async def child():
            try:
                await anyio.sleep_forever()
            except BaseException:
                cancelled.append(1)
                raise

        async def source(request):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child)
                for word in ("a", "b"):
                    yield word
                    await anyio.sleep(0)
                if end == "disconnected":
                    await anyio.sleep_forever()
                tasks.cancel_scope.cancel()
            yield "c"

        async with Peer(EventStream(source)) as peer:
            if end == "disconnected":
                await peer.received(b"data: b\n")
                peer.leave()
        assert cancelled == [1]
        assert peer.raised is None
        assert peer.text == ("abc" if end == "completed" else "ab")

    async def test_a_child_of_the_sources_task_group_that_fails_fails_the_stream(self):
        failing = anyio.Event()

        async def child():
            await failing.wait()
            raise LookupError("child")

        async def source(request):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child)
                yield "a"
                failing.set()
                await anyio.sleep_forever()

        peer, transcript = await run(source)
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(peer.failure, ExceptionGroup)
        assert peer.failure.subgroup(LookupError) is not None
        assert peer.text == "a"

    async def test_a_cancel_scope_that_spans_yields_keeps_its_deadline(self):
        async def source(request):
            with anyio.move_on_after(0.05) as scope:
                while True:
                    yield "a"
                    await anyio.sleep(0.01)
            yield "late" if scope.cancelled_caught else "never"

        peer, transcript = await run(source)
        assert peer.text == transcript.text
        assert transcript.text.endswith("late")
        assert transcript.outcome is Outcome.COMPLETED


def busy(seconds):
    """Compute; nobody else runs meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


class TestCancelledAtAYield:
    """A source's own scope cancels while the source stands at a `yield`: it learns of it there."""

    @pytest.mark.real_pauses
    @pytest.mark.parametrize("where", ["on_chunk", "pause", "both"])
    async def test_a_timeout_around_yields_ends_what_it_is_around(self, where):
        async def source(request):
            with anyio.move_on_after(0.03) as scope:
                while True:
                    if where != "on_chunk":
                        busy(0.002)
                    yield "a"
            yield f" {scope.cancelled_caught}"
            await anyio.sleep(0)
            yield " end"

        async def on_chunk(chunk):
            await anyio.sleep(0.005)

        peer, transcript = await run(source, on_chunk=None if where == "pause" else on_chunk)
        assert peer.raised is None
        assert transcript.outcome is Outcome.COMPLETED
        assert transcript.text.endswith("a True end")
        assert peer.text == transcript.text
        assert transcript.sent_chunks == transcript.chunks
        assert peer.closed

    async def test_an_expired_timeout_that_the_source_lets_out_fails_the_stream(self):
        async def source(request):
            with anyio.fail_after(0.02):
                while True:
                    yield "a"

        peer, transcript = await run(source)
        assert isinstance(peer.failure, TimeoutError)
        assert (transcript.outcome, transcript.error) == (Outcome.FAILED, peer.failure)
        assert peer.events[-1].type == "error"
        assert peer.text == transcript.text
        assert peer.closed

    async def test_a_child_that_fails_while_on_chunk_waits_fails_the_stream_with_its_error(self):
        waiting, cleaned = anyio.Event(), []

        async def fail():
            await waiting.wait()
            raise LookupError("child")

        async def source(request):
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(fail)
                    yield "a"
                    await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0)
                cleaned.append(1)

        async def on_chunk(chunk):
            waiting.set()
            await anyio.sleep_forever()

        peer, transcript = await run(source, on_chunk=on_chunk)
        assert peer.failure.subgroup(LookupError) is not None
        assert transcript.outcome is Outcome.FAILED
        assert peer.text == transcript.text == "a"
        assert error_message(peer) == GENERIC
        assert peer.closed
        assert cleaned == [1]

    async def test_the_source_may_cancel_itself_at_every_yield(self):
        """Others, the sender among them, get their turns all the same."""

        async def source(request):
            for _ in range(20):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    busy(0.002)
                    yield "x" * MAX_SIZE

        peer, transcript = await run(source)
        assert transcript.outcome is Outcome.COMPLETED
        assert peer.text == transcript.text == "x" * 20 * MAX_SIZE

    async def test_no_end_stands_in_the_way_of_being_freed(self):
        class Source:
            def __init__(self, request):
                refs.append(weakref.ref(self))

            async def __aiter__(self):
                with anyio.move_on_after(0.02):
                    while True:
                        yield "a"
                raise LookupError

        async def on_chunk(chunk):
            await anyio.sleep(0.005)

        refs = []
        gc.collect()
        gc.disable()
        try:
            for hook in (None, on_chunk):
                async with Peer(EventStream(Source, on_chunk=hook)) as peer:
                    pass
                assert isinstance(peer.failure, LookupError)
                peer.forget()
            assert [each() for each in refs] == [None, None]
        finally:
            gc.enable()

    async def test_a_source_that_is_no_generator_fails_with_what_it_cannot_be_told(self):
        """Nobody but the source can take it back, so nobody may take it for the server's."""

        class ByHand:
            scope = None

            def __init__(self, request):
                pass

            def __aiter__(self):
                return self

            async def __anext__(self):
                if self.scope is None:
                    self.scope = anyio.CancelScope().__enter__()
                    self.scope.cancel()
                return "a"

            async def aclose(self):
                self.scope.__exit__(None, None, None)

        async def on_chunk(chunk):
            await anyio.sleep_forever()

        peer, transcript = await run(ByHand, on_chunk=on_chunk)
        assert transcript.outcome is Outcome.FAILED
        assert transcript.error is not None
        assert transcript.text == "a"
        assert error_message(peer) == GENERIC
        assert peer.closed


class TestOnChunk:
    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_sees_every_text_chunk_in_order_before_it_is_sent(self, kind):
        chunks = []

        def sync_hook(chunk):
            assert chunk.encode() not in peer.body
            chunks.append(chunk)

        async def async_hook(chunk):
            await anyio.sleep(0)
            sync_hook(chunk)

        on_chunk = sync_hook if kind == "sync" else async_hook
        async with Peer(EventStream(["1", "2", "3"], on_chunk=on_chunk)) as peer:
            pass
        assert chunks == ["1", "2", "3"]
        assert peer.text == "123"

    @pytest.mark.matrix("anyio_backend")
    async def test_the_first_chunk_counts_as_come_before_it(self):
        async def on_chunk(chunk):
            await anyio.sleep(0.3)

        _, transcript = await run(["a"], on_chunk=on_chunk)
        assert transcript.time_to_first_chunk < 0.25

    async def test_what_it_returns_is_nothing_to_await(self):
        """Such as `file.write`, which returns a number."""
        peer, transcript = await run(["a", "b"], on_chunk=len)
        assert peer.raised is None
        assert transcript.outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_that_raises_fails_the_stream_as_the_source_would(self, kind):
        closed = []

        async def source(request):
            try:
                yield "a"
                await anyio.sleep(0)
                yield "b"
            finally:
                closed.append(1)

        def sync_hook(chunk):
            if chunk == "b":
                raise LookupError("hook")

        async def async_hook(chunk):
            sync_hook(chunk)

        peer, transcript = await run(source, on_chunk=sync_hook if kind == "sync" else async_hook)
        assert transcript.outcome is Outcome.FAILED
        assert peer.failure is transcript.error
        assert isinstance(peer.failure, LookupError)
        assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("ab", 2, 1)
        assert peer.text == "a"
        assert error_message(peer) == GENERIC
        assert closed == [1]

    async def test_that_blocks_is_cancelled_when_the_client_leaves(self):
        blocked, closed = anyio.Event(), []

        async def source(request):
            try:
                yield "a"
            finally:
                closed.append(1)

        async def on_chunk(chunk):
            blocked.set()
            await anyio.sleep_forever()

        record = Record()
        async with Peer(EventStream(source, on_chunk=on_chunk, on_complete=record)) as peer:
            await soon(blocked)
            peer.leave()
        assert closed == [1]
        assert record.only.outcome is Outcome.DISCONNECTED


class TestOnComplete:
    async def test_is_told_after_the_last_byte(self):
        closed = []

        async def on_complete(transcript):
            closed.append(peer.closed)
            await anyio.sleep(0)

        async with Peer(EventStream(["a"], on_complete=on_complete)) as peer:
            pass
        assert closed == [True]

    async def test_may_be_sync_and_return_anything(self):
        transcripts = {}

        def on_complete(transcript):
            transcripts["one"] = transcript
            return 7

        async with Peer(EventStream(["a"], on_complete=on_complete)) as peer:
            pass
        assert peer.raised is None
        assert transcripts["one"].text == "a"

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_that_raises_is_logged_and_nothing_else(self, kind, caplog):
        calls = []

        def sync_hook(transcript):
            calls.append(1)
            raise LookupError("hook")

        async def async_hook(transcript):
            await anyio.sleep(0)
            sync_hook(transcript)

        app = EventStream(["secret"], on_complete=sync_hook if kind == "sync" else async_hook)
        async with Peer(app) as peer:
            pass
        assert peer.raised is None
        assert peer.text == "secret"
        assert calls == [1]
        (entry,) = caplog.records
        assert entry.name == "sse_asgi"
        assert isinstance(entry.exc_info[1], LookupError)
        assert "secret" not in entry.getMessage()

    async def test_that_raises_does_not_hide_what_the_source_raised(self):
        async def source(request):
            yield "a"
            raise LookupError("source")

        async def on_complete(transcript):
            raise ValueError("hook")

        async with Peer(EventStream(source, on_complete=on_complete)) as peer:
            pass
        assert peer.raised is None
        assert sorted(type(each).__name__ for each in logged_errors(peer.log)) == [
            "LookupError", "ValueError",
        ]  # fmt: skip

    async def test_is_shielded_from_a_cancelled_scope_around_the_app(self):
        began, done = anyio.Event(), []

        async def on_complete(transcript):
            began.set()
            for _ in range(20):
                await anyio.sleep(0.001)
            done.append(transcript.outcome)

        peer = Peer(EventStream(["a"], on_complete=on_complete))
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.run)
                await began.wait()
                tasks.cancel_scope.cancel()
        assert done == [Outcome.COMPLETED]

    async def test_is_told_once_when_a_scope_around_the_app_is_cancelled(self):
        record, cleaned = Record(), []

        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                cleaned.append(1)

        peer = Peer(EventStream(source, on_complete=record))
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.run)
                await peer.received(b"data: a\n")
                tasks.cancel_scope.cancel()
        assert cleaned == [1]
        assert record.only.outcome is Outcome.SHUT_DOWN
        assert record.only.text == "a"


class TestFailure:
    async def source(self, request):
        yield "a"
        raise LookupError("password=secret")

    async def test_an_error_event_a_clean_end_and_the_exception_in_the_log(self):
        peer, transcript = await run(self.source)
        assert error_message(peer) == GENERIC
        assert b"[DONE]" not in peer.body
        assert b"secret" not in peer.body
        assert peer.closed
        assert isinstance(peer.failure, LookupError)
        assert transcript.error is peer.failure
        assert (transcript.text, transcript.sent_chunks) == ("a", 1)

    async def test_describe_error_says_more(self):
        peer, _ = await run(
            self.source, describe_error=lambda error: f"{type(error).__name__}\n\u2028"
        )
        assert error_message(peer) == "LookupError\n\u2028"

    @pytest.mark.parametrize(
        "describe",
        [lambda error: 1 / 0, lambda error: error, lambda error: None, lambda error: b"x"],
    )
    async def test_a_describe_error_that_fails_is_logged_and_the_message_generic(
        self, describe, caplog
    ):
        peer, transcript = await run(self.source, describe_error=describe)
        assert error_message(peer) == GENERIC
        assert peer.closed
        assert peer.raised is None
        assert isinstance(transcript.error, LookupError)
        assert logged_errors(peer.log).count(transcript.error) == 1
        assert "describe_error" in caplog.text

    async def test_an_event_yielded_just_before_the_raise_arrives(self):
        async def source(request):
            yield "a"
            yield ServerSentEvent(event="error", data="mine")
            raise LookupError

        peer, _ = await run(source)
        assert [event.type for event in peer.events] == ["message", "error", "error"]

    async def test_a_framing_that_fails_fails_the_stream(self):
        class BrokenEncoder(TextEncoder):
            def text(self, chunks):
                raise LookupError("encode")

        class Broken(TextFraming):
            def encoder(self):
                return BrokenEncoder(self.done)

        peer, transcript = await run(["a"], framing=Broken())
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(peer.failure, LookupError)
        assert peer.closed

    @pytest.mark.parametrize("when", ["it waits", "it has ended"])
    async def test_a_framing_that_fails_later_fails_the_stream(self, when):
        closed, sent = [], anyio.Event()

        async def note(message):
            if message.get("body") == b"good":
                sent.set()

        class PlainEncoder(TextEncoder):
            def text(self, chunks):
                return "".join(chunks).encode()

        class Framing(TextFraming):
            def encoder(self):
                return PlainEncoder(self.done)

        async def source(request):
            try:
                yield "good"
                await soon(sent)
                yield "\ud800"
                if when == "it waits":
                    await anyio.sleep(PATIENCE)
            finally:
                with cleaning_up():
                    await anyio.sleep(0)
                closed.append(1)

        peer, transcript = await run(source, framing=Framing(), peer={"on_send": note})
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(peer.failure, UnicodeEncodeError)
        assert (transcript.chunks, transcript.sent_chunks) == (2, 1)
        assert peer.body.startswith(b"good")
        assert b"event: error" in peer.body
        assert peer.closed
        if when == "it waits":  # else it is the clean-up that is cancelled
            assert closed == [1]

    async def test_a_framing_that_encodes_to_str_fails_the_stream(self):
        class StrEncoder(TextEncoder):
            def text(self, chunks):
                return "".join(chunks)

        class Framing(TextFraming):
            def encoder(self):
                return StrEncoder(self.done)

        peer, transcript = await run(["a"], framing=Framing())
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(peer.failure, TypeError)
        assert error_message(peer) == GENERIC
        assert peer.closed

    async def test_a_framing_whose_end_fails_still_closes_the_body(self):
        class BrokenEncoder(TextEncoder):
            def end(self, outcome=Outcome.COMPLETED):
                raise LookupError("end")

        class Broken(TextFraming):
            def encoder(self):
                return BrokenEncoder(self.done)

        peer, transcript = await run(["a"], framing=Broken())
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(peer.failure, LookupError)
        assert peer.text == "a"
        assert peer.closed

    async def test_an_oserror_of_the_source_is_a_failure_not_a_disconnect(self):
        async def source(request):
            yield "a"
            raise ConnectionResetError("upstream")

        peer, transcript = await run(source)
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(peer.failure, ConnectionResetError)
        assert error_message(peer) == GENERIC

    async def test_an_error_in_the_finally_after_a_disconnect_is_logged(self, caplog):
        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                raise LookupError("clean-up")

        record = Record()
        async with Peer(EventStream(source, on_complete=record)) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
        assert peer.raised is None
        assert record.only.outcome is Outcome.DISCONNECTED
        assert isinstance(record.only.error, LookupError)
        assert any(
            entry.exc_info and entry.exc_info[1] is record.only.error for entry in caplog.records
        )


class TestPrefetch:
    async def test_the_response_starts_with_the_first_chunk(self):
        go, opened = anyio.Event(), anyio.Event()

        async def source(request):
            opened.set()
            await go.wait()
            yield "a"
            await peer.received(b"data: a\n")
            yield "b"

        async with Peer(EventStream(source, prefetch=True)) as peer:
            await soon(opened)
            await anyio.wait_all_tasks_blocked()
            assert peer.attempts == 0
            go.set()
        assert peer.text == "ab"

    @pytest.mark.parametrize("first", ["nothing", "none"])
    async def test_a_failure_before_it_is_the_frameworks(self, first):
        async def source(request):
            if first == "none":
                yield None
                await anyio.sleep(0)
            raise LookupError("no model")
            yield

        peer, transcript = await run(source, prefetch=True)
        assert peer.messages == []
        assert isinstance(peer.raised, LookupError)
        assert logged_errors(peer.log) == []  # it is the framework's to answer, and to log
        assert transcript.outcome is Outcome.FAILED

    async def test_an_on_chunk_that_fails_at_it_is_the_frameworks(self):
        def on_chunk(chunk):
            raise LookupError

        peer, _ = await run(["a"], prefetch=True, on_chunk=on_chunk)
        assert peer.messages == []
        assert isinstance(peer.raised, LookupError)

    async def test_a_failure_after_it_is_an_error_event(self):
        async def source(request):
            yield "a"
            raise LookupError

        peer, _ = await run(source, prefetch=True)
        assert peer.text == "a"
        assert error_message(peer) == GENERIC
        assert peer.closed

    async def test_an_event_is_a_first_chunk_too(self):
        async def source(request):
            yield ServerSentEvent(event="meta", data="1")
            await peer.received(b"meta")
            raise LookupError

        async with Peer(EventStream(source, prefetch=True)) as peer:
            pass
        assert [event.type for event in peer.events] == ["meta", "error"]

    async def test_a_disconnect_before_it_sends_nothing(self):
        opened, record, closed = anyio.Event(), Record(), []

        async def source(request):
            opened.set()
            try:
                await anyio.sleep_forever()
            finally:
                closed.append(1)
            yield "never"

        async with Peer(EventStream(source, prefetch=True, on_complete=record)) as peer:
            await soon(opened)
            peer.leave()
        assert peer.attempts == 0
        assert closed == [1]
        assert record.only.outcome is Outcome.DISCONNECTED
        assert peer.raised is None

    async def test_an_empty_source_is_an_empty_stream(self):
        peer, transcript = await run([], prefetch=True)
        assert peer.body == b"data: [DONE]\n\n"
        assert peer.status == 200
        assert transcript.outcome is Outcome.COMPLETED

    async def test_no_keep_alive_before_the_start(self):
        async def source(request):
            await anyio.sleep(0.1)
            yield "a"

        peer, _ = await run(source, prefetch=True, heartbeat=0.01)
        assert peer.messages[0]["type"] == START
        assert peer.text == "a"

    @pytest.mark.parametrize("slow", [b"start", b"data: a"])
    async def test_the_order_holds_when_the_first_sends_are_slow(self, slow):
        """The source goes on, and ends, while the first chunk is still being sent."""
        block = Block(slow)

        async def source(request):
            yield "a"
            await anyio.sleep(0)
            yield "b"
            await anyio.sleep(0)

        async with Peer(EventStream(source, prefetch=True), on_send=block) as peer:
            await soon(block.reached)
            await anyio.wait_all_tasks_blocked()
            block.opened.set()
        assert peer.text == "ab"
        assert peer.body.endswith(b"data: [DONE]\n\n")


class TestDisconnect:
    """The client leaves: the source's await is cancelled once, its clean-up runs to its end."""

    def source(self, where, log, blocked):
        """Yield, then stand where the client is to leave; await in `finally`."""

        async def source(request):
            try:
                if where != "before the first chunk":
                    yield "a"
                blocked.set()
                await anyio.sleep_forever()
                yield "never"
            finally:
                log.append("finally")
                with cleaning_up():
                    await anyio.sleep(0)
                log.append("cleaned")

        return source

    @pytest.mark.parametrize("where", ["before the first chunk", "while idle"])
    async def test_while_the_source_waits(self, where):
        log, blocked, record = [], anyio.Event(), Record()
        app = EventStream(self.source(where, log, blocked), on_complete=record)
        async with Peer(app) as peer:
            await soon(blocked)
            peer.leave()
        assert log == ["finally", "cleaned"]
        assert record.only.outcome is Outcome.DISCONNECTED
        assert record.only.text.startswith(peer.text)  # nothing is sent once the client is gone
        assert peer.raised is None
        assert not peer.closed

    async def test_awaits_in_finally_run_to_their_end(self, caplog):
        log, record = [], Record()

        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                with cleaning_up():
                    for number in range(3):
                        await anyio.sleep(0.01)
                        log.append(number)

        async with Peer(EventStream(source, on_complete=record)) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
        assert log == [0, 1, 2]
        assert record.only.outcome is Outcome.DISCONNECTED
        assert peer.raised is None
        assert not caplog.records

    async def test_while_a_function_makes_the_source(self):
        opened, cleaned, record = anyio.Event(), [], Record()

        async def source(request):
            opened.set()
            try:
                await anyio.sleep_forever()
            finally:
                with cleaning_up():
                    await anyio.sleep(0.01)
                cleaned.append(1)

        async with Peer(EventStream(source, on_complete=record)) as peer:
            await soon(opened)
            peer.leave()
        assert cleaned == [1]
        assert record.only.outcome is Outcome.DISCONNECTED

    @pytest.mark.parametrize("part", [b"start", b"", b"data: a", b"[DONE]"])
    async def test_while_a_send_blocks_that_returns_then(self, part):
        """As on most servers: the disconnect lets the send return."""
        block, record, opened, cleaned = Block(), Record(), [], []

        async def on_send(message):
            body = message.get("body", b"start")
            if body == part or (part and part in body):
                block.reached.set()
                await block.opened.wait()

        async def source(request):
            opened.append(1)
            try:
                if not part:
                    await block.reached.wait()
                yield "a"
                if part != b"[DONE]":
                    await anyio.sleep_forever()
            finally:
                with cleaning_up():
                    await anyio.sleep(0)
                cleaned.append(1)

        async with Peer(EventStream(source, on_complete=record), on_send=on_send) as peer:
            await soon(block.reached)
            peer.leave()
            block.opened.set()
        assert peer.raised is None
        assert cleaned == opened
        assert record.only.outcome is (Outcome.COMPLETED if peer.closed else Outcome.DISCONNECTED)
        assert peer.closed == (part == b"[DONE]")

    @pytest.mark.parametrize("part", [b"start", b"data: a"])
    async def test_while_a_send_blocks_for_ever(self, part):
        """The send is cancelled; what it carried does not count as sent."""
        block, record, cleaned = Block(part), Record(), []

        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                with cleaning_up():
                    await anyio.sleep(0.01)
                cleaned.append(1)

        async with Peer(EventStream(source, on_complete=record), on_send=block) as peer:
            await soon(block.reached)
            peer.leave()
        assert block.cancelled
        assert cleaned == [1]
        assert record.only.outcome is Outcome.DISCONNECTED
        assert (record.only.text, record.only.chunks) == ("a", 1)
        # A send that was cut counts: some servers have written it before they wait.
        assert record.only.sent_chunks == (0 if part == b"start" else 1)
        assert peer.raised is None

    async def test_while_the_last_send_blocks_it_gets_a_moment_then_is_cancelled(self, monkeypatch):
        monkeypatch.setattr(lifecycle, "CLIENT_GRACE", 0.1)
        block, record = Block(b"[DONE]"), Record()
        async with Peer(EventStream(["a"], on_complete=record), on_send=block) as peer:
            await soon(block.reached)
            began = time.monotonic()
            peer.leave()
        assert 0.09 < time.monotonic() - began < PATIENCE / 2
        assert block.cancelled
        assert record.only.outcome is Outcome.DISCONNECTED
        assert peer.raised is None

    async def test_nothing_is_sent_after_it(self):
        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                sent_then.append(peer.attempts)

        sent_then = []
        async with Peer(EventStream(source, heartbeat=0.01, framing=TextFraming())) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
        assert sent_then == [peer.attempts]

    async def test_a_source_that_swallows_the_cancel_and_yields_on_is_closed(self):
        log, record = [], Record()

        async def source(request):
            try:
                yield "a"
                try:
                    await anyio.sleep_forever()
                except BaseException:
                    log.append("swallowed")
                yield "b"
                log.append("went on")
                yield "c"
            finally:
                log.append("closed")

        async with Peer(EventStream(source, on_complete=record)) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
        assert log == ["swallowed", "closed"]
        assert record.only.outcome is Outcome.DISCONNECTED
        assert peer.text == "a"
        assert peer.raised is None

    async def test_a_source_that_swallows_the_cancel_and_ends_is_no_failure(self):
        record = Record()

        async def source(request):
            yield "a"
            try:
                await anyio.sleep_forever()
            except BaseException:
                return

        async with Peer(EventStream(source, on_complete=record)) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
        assert record.only.outcome is Outcome.DISCONNECTED
        assert peer.raised is None

    async def test_logs_nothing(self, caplog):
        async def source(request):
            yield "a"
            await anyio.sleep_forever()

        async with Peer(EventStream(source)) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
        assert not caplog.records


class TestCleanUpTimeout:
    @pytest.mark.parametrize("why", ["disconnected", "failed"])
    async def test_a_stuck_finally_ends_within_the_bound_and_is_logged(self, why, caplog):
        record, cancelled = Record(), []

        async def source(request):
            try:
                yield "a"
                if why == "disconnected":
                    await anyio.sleep_forever()
                await anyio.sleep(0)
                yield "b"
            finally:
                try:
                    await anyio.sleep_forever()
                except BaseException:
                    cancelled.append(1)
                    raise

        def on_chunk(chunk):
            if chunk == "b":
                raise LookupError

        app = EventStream(source, on_complete=record, on_chunk=on_chunk, cleanup_timeout=0.05)
        began = time.monotonic()
        async with Peer(app) as peer:
            await peer.received(b"data: a\n")
            if why == "disconnected":
                peer.leave()
        assert time.monotonic() - began < 3
        assert cancelled == [1]
        assert record.only.outcome == why
        by_trios_rules = on_trio() and why == "disconnected"  # there it is cut at once
        assert ("cleanup_timeout" in caplog.text) is not by_trios_rules
        if why == "failed":
            assert peer.closed
            assert isinstance(peer.failure, LookupError)

    async def test_a_finally_that_swallows_a_second_cancel_ends_within_the_bound_and_is_logged(
        self, caplog
    ):
        record, swallowed = Record(), []

        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                try:
                    await anyio.sleep_forever()
                except BaseException:
                    swallowed.append(1)

        began = time.monotonic()
        async with Peer(EventStream(source, on_complete=record, cleanup_timeout=0.05)) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
        assert time.monotonic() - began < 3
        assert swallowed == [1]
        assert record.only.outcome is Outcome.DISCONNECTED
        assert ("cleanup_timeout" in caplog.text) is not on_trio()
        assert peer.raised is None

    async def test_a_stuck_close_of_a_source_that_has_ended_takes_nothing_from_its_text(
        self, caplog
    ):
        class Source:
            def __init__(self, request):
                self.words = ["a", "b"]

            def __aiter__(self):
                return self

            async def __anext__(self):
                if not self.words:
                    raise StopAsyncIteration
                return self.words.pop(0)

            async def aclose(self):
                await anyio.sleep_forever()

        peer, transcript = await run(Source, cleanup_timeout=0.05)
        assert (transcript.outcome, transcript.error) == (Outcome.COMPLETED, None)
        assert peer.raised is None
        assert peer.body.endswith(b"data: [DONE]\n\n")
        assert peer.text == transcript.text == "ab"
        assert "cleanup_timeout" in caplog.text

    async def test_a_clean_up_within_the_bound_is_not_logged(self, caplog):
        async def source(request):
            try:
                yield "a"
            finally:
                await anyio.sleep(0.01)

        _, transcript = await run(source)
        assert transcript.outcome is Outcome.COMPLETED
        assert not caplog.records


class TestBrokenSend:
    """`send` raises: an `OSError` is a disconnect, anything else is a failure of the server."""

    PARTS = (b"start", b"", b"data: a", b"data: b", b"[DONE]")

    @pytest.mark.parametrize(
        "error", [OSError("pipe"), ConnectionResetError(), RuntimeError("server")]
    )
    @pytest.mark.parametrize("part", PARTS)
    async def test_ends_the_stream(self, part, error):
        record, cleaned = Record(), []

        async def on_send(message):
            body = message.get("body", b"start")
            if body == part or (part and part in body):
                raise error

        async def source(request):
            try:
                if not part:
                    await anyio.sleep(PATIENCE)
                yield "a"
                await anyio.sleep(0)
                yield "b"
                await anyio.sleep(0 if part == b"[DONE]" else PATIENCE)
            finally:
                with cleaning_up():
                    await anyio.sleep(0)
                cleaned.append(1)

        async with Peer(EventStream(source, on_complete=record), on_send=on_send) as peer:
            pass
        failed = isinstance(error, RuntimeError)
        assert record.only.outcome is (Outcome.FAILED if failed else Outcome.DISCONNECTED)
        assert record.only.error is (error if failed else None)
        if part != b"start":  # else whether the response has started is for nobody to say
            assert peer.raised is None
            assert logged_errors(peer.log) == ([error] if failed else [])
        assert peer.attempts == len(peer.messages) + 1  # none after the one that failed
        assert cleaned == [1]

    @pytest.mark.parametrize("error", [OSError("pipe"), RuntimeError("server")])
    async def test_before_the_first_chunk_cancels_the_source_at_its_first_await(self, error):
        log = []

        async def on_send(message):
            raise error

        async def source(request):
            try:
                await anyio.sleep(PATIENCE)
                log.append("went on")
                yield "a"
            finally:
                log.append("cleaned")

        record = Record()
        async with Peer(EventStream(source, on_complete=record), on_send=on_send):
            pass
        assert len(record) == 1
        assert log == ["cleaned"]

    @pytest.mark.parametrize("error", [OSError("pipe"), RuntimeError("server")])
    async def test_with_the_error_event_keeps_the_first_error(self, error):
        async def on_send(message):
            if b"event: error" in message.get("body", b""):
                raise error

        async def source(request):
            yield "a"
            raise LookupError

        record = Record()
        async with Peer(EventStream(source, on_complete=record), on_send=on_send) as peer:
            pass
        assert peer.raised is None
        assert isinstance(record.only.error, LookupError)
        assert logged_errors(peer.log).count(record.only.error) == 1
        assert record.only.outcome is Outcome.FAILED


@pytest.mark.real_pauses
class TestHotSource:
    """A source that never awaits: others run, and it can be stopped."""

    async def ticks(self, app, **options):
        """Stream for a moment; return the longest CPU time between two turns of another task."""
        record, longest = Record(), 0.0
        async with Peer(EventStream(app, on_complete=record, record=False), **options) as peer:
            await peer.until(lambda: peer.attempts >= 2)
            end, last = time.monotonic() + 0.3, time.thread_time()
            while time.monotonic() < end:
                await anyio.lowlevel.checkpoint()
                now = time.thread_time()
                longest, last = max(longest, now - last), now
                peer.messages[2:] = []
            peer.leave()
        assert record.only.outcome is Outcome.DISCONNECTED
        assert peer.raised is None
        return longest, record.only

    async def test_text(self):
        async def source(request):
            while True:
                yield "word "

        longest, transcript = await self.ticks(source)
        assert longest < 0.2
        assert transcript.chunks > 1_000

    async def test_none(self):
        async def source(request):
            while True:
                yield None

        longest, transcript = await self.ticks(source)
        assert longest < 0.2
        assert transcript.chunks == 0

    async def test_its_finally_may_await(self):
        cleaned = []

        async def source(request):
            try:
                while True:
                    yield "word "
            finally:
                with cleaning_up():
                    await anyio.sleep(0.01)
                cleaned.append(1)

        await self.ticks(source)
        assert cleaned == [1]


class TestMemory:
    @pytest.mark.matrix("anyio_backend")
    async def test_record_false_does_not_grow(self):
        async def forget(message):
            peer.messages.clear()
            peer.times.clear()

        async def source(request):
            for number in range(30_000):
                yield f"{number:06}" + "x" * 50
                if number % 10_000 == 9_999:
                    sizes.append(tracemalloc.get_traced_memory()[0])

        sizes, record = [], Record()
        peer = Peer(EventStream(source, record=False, on_complete=record), on_send=forget)
        peer._check = lambda message: None  # it looks at what is forgotten
        tracemalloc.start()
        try:
            async with peer:
                pass
        finally:
            tracemalloc.stop()
        assert record.only.chunks == record.only.sent_chunks == 30_000
        assert record.only.text == ""
        assert sizes[2] - sizes[0] < 4 * MAX_SIZE
