"""Hooks that take a second argument are told whose answer it is."""

import functools

import anyio
import pytest

from sse_asgi import EventStream, EventStreamMiddleware, Outcome, Request, ServerSentEvent
from tests.stream.peer import BODY, START, Peer, Record, run, soon

pytestmark = pytest.mark.anyio


class Hooks:
    """Hooks of one kind, and what they were given."""

    def __init__(self, kind):
        self.chunks, self.transcripts = [], []
        self.on_chunk = getattr(self, f"{kind}_chunk")()
        self.on_complete = getattr(self, f"{kind}_complete")()

    def function_chunk(self):
        return lambda chunk, request: self.chunks.append((chunk, request))

    def function_complete(self):
        return lambda transcript, request: self.transcripts.append((transcript, request))

    def async_chunk(self):
        async def on_chunk(chunk, request):
            await anyio.sleep(0)
            self.chunks.append((chunk, request))

        return on_chunk

    def async_complete(self):
        async def on_complete(transcript, request):
            await anyio.sleep(0)
            self.transcripts.append((transcript, request))

        return on_complete

    def partial_chunk(self):
        return functools.partial(self._note, self.chunks)

    def partial_complete(self):
        return functools.partial(self._note, self.transcripts)

    def _note(self, where, value, request):
        where.append((value, request))

    def object_chunk(self):
        return Noting(self.chunks)

    def object_complete(self):
        return Noting(self.transcripts)

    def check(self, *paths):
        """Check that each chunk and transcript came with the request for its path."""
        assert all(isinstance(request, Request) for _, request in self.chunks + self.transcripts)
        assert sorted(request.path for _, request in self.transcripts) == sorted(paths)
        for chunk, request in self.chunks:
            assert request.path == f"/{chunk}"
        for transcript, request in self.transcripts:
            assert request.path == f"/{transcript.text}"


class Noting:
    """A callable object."""

    def __init__(self, where):
        self.where = where

    async def __call__(self, value, request):
        self.where.append((value, request))


async def source(request):
    await anyio.sleep(0)
    yield request.path.removeprefix("/")


async def endpoint(scope, receive, send):
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": START, "status": 200, "headers": headers})
    body = f"data: {scope['path'].removeprefix('/')}\n\n".encode()
    await send({"type": BODY, "body": body, "more_body": False})


def ours(hooks):
    return EventStream(source, on_chunk=hooks.on_chunk, on_complete=hooks.on_complete)


def wrapped(hooks):
    return EventStreamMiddleware(
        endpoint, on_chunk=hooks.on_chunk, on_complete=hooks.on_complete, shutdown=None
    )


@pytest.mark.parametrize("kind", ["function", "async", "partial", "object"])
@pytest.mark.parametrize("make", [ours, wrapped])
async def test_each_is_given_the_request_of_its_own_stream(make, kind):
    hooks = Hooks(kind)
    app = make(hooks)
    async with Peer(app, path="/a"), Peer(app, path="/b"):
        pass
    async with Peer(app, path="/c"):
        pass
    hooks.check("/a", "/b", "/c")
    assert len(hooks.chunks) == 3


async def test_the_request_is_the_one_that_the_source_has():
    seen = []

    async def noting(request):
        seen.append(request)
        yield "a"

    hooks = Hooks("async")
    app = EventStream(noting, on_chunk=hooks.on_chunk, on_complete=hooks.on_complete)
    async with Peer(app):
        pass
    assert [hooks.chunks[0][1], hooks.transcripts[0][1]] == [seen[0]] * 2


async def test_the_body_may_be_read_from_it_when_all_is_over():
    bodies = []

    async def on_complete(transcript, request):
        bodies.append(await request.json())

    async def source_that_reads(request):
        yield (await request.json())["prompt"]

    app = EventStream(source_that_reads, on_complete=on_complete)
    async with Peer(app, body=(b'{"prompt":', b'"hi"}'), method="POST"):
        pass
    assert bodies == [{"prompt": "hi"}]


@pytest.mark.parametrize("make", [ours, wrapped])
async def test_the_hook_has_it_however_the_stream_ended(make):
    seen, hooks = [], Hooks("function")

    def on_complete(transcript, request):
        seen.append((transcript.outcome, request.path))

    def on_chunk(chunk, request):
        raise LookupError

    hooks.on_complete, hooks.on_chunk = on_complete, on_chunk
    async with Peer(make(hooks), path="/x"):
        pass
    assert seen == [(Outcome.FAILED, "/x")]


async def test_one_that_takes_one_argument_is_given_one():
    chunks = []
    _, transcript = await run(["a", "b"], on_chunk=chunks.append)
    assert chunks == ["a", "b"]
    assert transcript.text == "ab"


@pytest.mark.parametrize("name", ["on_chunk", "on_complete"])
@pytest.mark.parametrize("hook", [lambda: None, lambda a, b, c: None, lambda a, *, b: None])
@pytest.mark.parametrize("kind", [EventStream, EventStreamMiddleware])
def test_one_that_can_take_neither_is_refused(kind, hook, name):
    app = ["a"] if kind is EventStream else endpoint
    with pytest.raises(TypeError, match=name):
        kind(app, **{name: hook})


async def test_a_sync_source_in_its_thread_has_its_hooks_told_too():
    def in_thread(request):
        yield request.path.removeprefix("/")

    hooks = Hooks("async")
    app = EventStream(in_thread, on_chunk=hooks.on_chunk, on_complete=hooks.on_complete)
    async with Peer(app, path="/a"):
        pass
    hooks.check("/a")


# Code after a `yield`


class TestCodeAfterAYield:
    """It runs after that chunk has been handed over, where chunks come one by one."""

    @pytest.mark.parametrize("slow", [False, True])
    @pytest.mark.parametrize("kind", ["chunk", "event"])
    async def test_finds_its_chunk_sent(self, kind, slow):
        sent = []

        async def source(request):
            await peer.until(lambda: peer.bodies)  # what comes before may leave together
            for number in range(10):
                await anyio.sleep(0.002)
                text = f"<{number}>"
                yield text if kind == "chunk" else ServerSentEvent(data=text, event="tick")
                sent.append(text.encode() in peer.body)

        async def on_send(message):
            if slow:
                await anyio.sleep(0.001)

        async with Peer(EventStream(source), on_send=on_send) as peer:
            pass
        assert sent == [True] * 10

    async def test_waits_for_a_client_that_does_not_read(self):
        produced, record, go = [], Record(), anyio.Event()
        blocked = anyio.Event()

        async def on_send(message):
            if b"data: b" in message.get("body", b""):
                blocked.set()
                await go.wait()

        async def source(request):
            await peer.until(lambda: peer.bodies)
            for word in "abc":
                await anyio.sleep(0.002)
                yield word
                produced.append(word)

        async with Peer(EventStream(source, on_complete=record), on_send=on_send) as peer:
            await soon(blocked)
            await anyio.sleep(0.02)
            assert produced == ["a"]
            go.set()
        assert produced == ["a", "b", "c"]
        assert peer.text == record.only.text == "abc"

    async def test_is_counted_as_sent_then(self):
        """Whoever pays by the chunk may count there."""
        seen = []

        async def source(request):
            await peer.until(lambda: peer.bodies)
            for number in range(5):
                await anyio.sleep(0.002)
                yield f"{number};"
                seen.append(peer.body.count(b";\n"))

        async with Peer(EventStream(source)) as peer:
            pass
        assert seen == [1, 2, 3, 4, 5]


def test_one_that_takes_neither_one_nor_two_is_refused_with_both_in_the_message():
    with pytest.raises(TypeError, match="the Transcript, or with the Transcript and the Request: "):
        EventStream(["a"], on_complete=lambda one, two, three: None)
