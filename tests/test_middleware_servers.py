"""The middleware around endpoints of every framework, on real servers."""

import gzip
import itertools
import signal
import threading
import zlib
from contextlib import ExitStack

import pytest

from sse_asgi import EventStreamDecoder
from tests.apps_retrofit import FAREWELL, FRAMEWORKS, PIECES
from tests.conftest import require
from tests.report import wait_for
from tests.servers import SERVERS, serve
from tests.test_servers import until_stuck
from tests.together import together

pytestmark = pytest.mark.matrix

MODULES = {
    "by-hand": (),
    "starlette": ("starlette",),
    "starlette-middleware": ("starlette",),
    "fastapi": ("fastapi",),
    "sse-starlette": ("sse_starlette", "starlette"),
    "litestar": ("litestar",),
    "litestar-compressing": ("litestar",),
    "quart": ("quart",),
    "django": ("django",),
    "django-compressing": ("django",),
}
COMPRESSING = ("litestar-compressing", "django-compressing")
PLAIN = tuple(name for name in FRAMEWORKS if name not in COMPRESSING)
RAW = ("by-hand", "starlette", "starlette-middleware", "quart", "django")  # they pass bytes on
MAIN = "uvicorn-h11"
PAIRS = [
    *((MAIN, framework) for framework in PLAIN),
    *(
        (server, framework)
        for server in ("uvicorn-httptools", "hypercorn-trio", "granian", "daphne")
        for framework in ("by-hand", "starlette")
    ),
]
# Starlette's BaseHTTPMiddleware ends the body cleanly before it raises what the endpoint raised.
HIDES_ERRORS = ("starlette-middleware",)
KEEP_ALIVE = b": keep-alive\n"
EVENTS = (b"data: first ", b"data: second")
run_numbers = itertools.count()


class Pool:
    """Each server, started when a first test asks for it."""

    def __init__(self, factory, stack):
        self._factory, self._stack = factory, stack
        self._started = {}
        self._lock = threading.Lock()

    def __call__(self, name):
        with self._lock:
            return self._get(name)

    def _get(self, name):
        if name not in self._started:
            for part in itertools.chain.from_iterable(MODULES.values()):
                require(part)
            chosen = FRAMEWORKS if name == MAIN else ("by-hand", "starlette")
            running = serve(
                SERVERS[name],
                directory=self._factory.mktemp(name),
                app="tests.apps_retrofit:app",
                environment={"SSE_TEST_FRAMEWORKS": ",".join(chosen)},
            )
            self._started[name] = self._stack.enter_context(running)
        return self._started[name]

    def forget(self, name):
        del self._started[name]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with ExitStack() as stack:
        yield Pool(tmp_path_factory, stack)


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request):
    return request.param


class Stream:
    """One stream and what became of it."""

    def __init__(self, server, framework, source, **request):
        self.server = server
        self.run = f"{framework}-{next(run_numbers)}"
        self.log_start = len(server.log)
        self.client = server.open(f"/{framework}/{source}?run={self.run}", **request)

    def complete(self, **options):
        """Wait for the end of everything; give the one transcript."""
        transcript = self.server.report.wait(self.run, "complete", **options)
        self.server.report.wait(self.run, "returned")
        assert len(self.server.report.notes(self.run, "complete")) == 1
        return transcript

    def assert_quiet(self):
        assert self.server.report.notes(self.run, "raised") == []
        assert self.server.noise(self.log_start) == []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.socket.close()


def texts(body):
    return [event.data for event in EventStreamDecoder().feed(bytes(body))]


def open_stream(pool, pair, source, **request):
    server, framework = pair
    return Stream(pool(server), framework, source, **request)


def test_stream_has_the_headers_and_is_transcribed(pool, pair):
    with open_stream(pool, pair, "words") as stream:
        body = stream.client.read_all()
        headers = stream.client.headers
        complete = stream.complete()
    assert texts(body) == ["one ", "two\nlines ", "three"]
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-accel-buffering"] == "no"
    assert "no-transform" in headers["cache-control"]
    assert "content-length" not in headers
    assert (complete["outcome"], complete["text"]) == ("completed", "one two\nlines three")
    assert (complete["chunks"], complete["sent_chunks"]) == (3, 3)
    stream.assert_quiet()


@together("pair")
def test_keep_alives_fill_the_silence(pool, pair):
    with open_stream(pool, pair, "heartbeat") as stream:
        stream.client.read_until(KEEP_ALIVE * 3)
        body = bytes(stream.client.body)
        stream.client.leave()
        complete = stream.complete()
    assert texts(body) == ["first ", "second"]
    assert (complete["outcome"], complete["text"]) == ("disconnected", "first second")
    stream.assert_quiet()


@pytest.mark.parametrize("framework", RAW)
@together("framework")
def test_keep_alives_never_come_inside_of_an_event(pool, framework):
    with open_stream(pool, (MAIN, framework), "pieces") as stream:
        body = bytes(stream.client.read_all())
        stream.complete()
    stream.assert_quiet()
    first, second = PIECES[0] + PIECES[1] + b"\n", PIECES[2][1:]
    assert body.count(KEEP_ALIVE) >= 2
    assert body.startswith(first)
    assert body.replace(KEEP_ALIVE, b"") == first + second
    silence = body.partition(first)[2].partition(second)
    assert silence[0] == b""  # the second event came in the same send as the first one's end


@pytest.mark.parametrize("source", ["silent", "idle", "paced", "big"])
@together("pair")
def test_client_that_leaves_is_noticed_and_the_text_is_kept(pool, pair, source):
    small = 4096 if source == "big" else None
    with open_stream(pool, pair, source, receive_buffer=small) as stream:
        stream.client.read_status()
        if source == "big":
            until_stuck(stream.server, stream.client, stream.run)
        elif source == "silent":
            stream.server.report.wait(stream.run, "started")
        else:
            stream.client.read_until(EVENTS[1] if source == "idle" else b"data: 5 ")
        stream.client.leave()
        complete = stream.complete()
    assert complete["outcome"] == "disconnected"
    assert complete["error"] == "None"
    assert complete["sent_chunks"] <= complete["chunks"]
    if source == "idle":
        assert complete["text"] == "first second"
    elif source == "paced":
        numbers = complete["text"].split()
        assert numbers == [str(number) for number in range(len(numbers))]
        assert len(numbers) >= 6
    # A framework that is cancelled in a send leaves its generator, which stands at a `yield`, to
    # the garbage collector: a big one's client always leaves in that moment, a paced one's may.
    collected = source in ("big", "paced") and pair[1] != "by-hand"

    def ended():
        if collected:
            stream.server.get("/collect")
        return stream.server.report.notes(stream.run, "finally")

    wait_for(ended, what="the source's end")
    stream.assert_quiet()


def test_endpoint_that_fails_ends_with_an_error_event(pool, pair):
    with open_stream(pool, pair, "failing") as stream:
        body = stream.client.read_all()
        complete = stream.complete()
    if pair[1] in HIDES_ERRORS:
        assert texts(body) == ["one ", "two"][: len(texts(body))]
        assert (complete["outcome"], complete["text"]) == ("completed", "".join(texts(body)))
        return
    *first, error = EventStreamDecoder().feed(bytes(body))
    assert [event.data for event in first] == ["one ", "two"][: len(first)]
    assert error.type == "error"
    assert "fell over" not in error.data
    assert complete["outcome"] == "failed"
    assert complete["text"] == "".join(event.data for event in first)
    assert stream.server.report.notes(stream.run, "raised") == []
    log_start = stream.log_start
    wait_for(lambda: "fell over" in stream.server.log[log_start:], what="the log tells of it")


@pytest.mark.parametrize("framework", PLAIN)
@together("framework")
def test_client_that_takes_too_long_ends_the_stream(pool, framework):
    with open_stream(pool, (MAIN, framework), "send-timeout", receive_buffer=4096) as stream:
        stream.client.read_status()
        complete = stream.complete(within=15.0)
    assert complete["outcome"] == "timed_out"
    stream.assert_quiet()


@pytest.mark.parametrize("framework", COMPRESSING)
def test_compressed_stream_passes_as_it_is(pool, framework):
    headers = {"accept-encoding": "gzip"}
    with open_stream(pool, (MAIN, framework), "words", headers=headers) as stream:
        body = stream.client.read_all()
        assert stream.client.headers["content-encoding"] == "gzip"
        complete = stream.complete()
    assert texts(gzip.decompress(body)) == ["one ", "two\nlines ", "three"]
    assert (complete["outcome"], complete["text"]) == ("completed", "")
    stream.assert_quiet()


def unpack(packed):
    """Decompress what is there so far; Django makes a gzip member of every item."""
    text = b""
    while packed:
        member = zlib.decompressobj(wbits=31)
        text += member.decompress(packed)
        packed = member.unused_data
    return text


@pytest.mark.parametrize("framework", COMPRESSING)
def test_compressed_events_arrive_as_they_come(pool, framework):
    headers = {"accept-encoding": "gzip"}
    with open_stream(pool, (MAIN, framework), "heartbeat", headers=headers) as stream:
        stream.client.read_status()

        def unpacked():
            text = unpack(bytes(stream.client.read_for(0.02)))
            return text if EVENTS[1] + b"\n" in text.replace(b"\r", b"") else None

        text = wait_for(unpacked, what="both events")
        stream.client.leave()
        complete = stream.complete()
    assert texts(text) == ["first ", "second"]
    assert complete["outcome"] == "disconnected"
    stream.assert_quiet()


@pytest.mark.parametrize("framework", COMPRESSING)
def test_stream_of_a_compressing_framework_is_read_where_the_client_takes_it_plain(pool, framework):
    with open_stream(pool, (MAIN, framework), "words") as stream:
        assert texts(stream.client.read_all()) == ["one ", "two\nlines ", "three"]
        assert stream.complete()["text"] == "one two\nlines three"


@pytest.mark.parametrize("framework", ["starlette", "starlette-middleware"])
def test_other_responses_are_the_same_with_and_without(pool, framework):
    server = pool(MAIN)
    answers = []
    for extra in ("", "&plain=1"):
        with server.open(f"/{framework}/download?run=d{extra}") as client:
            client.read_status()
            body = bytes(client.read_all())
            headers = {name: value for name, value in client.headers.items() if name != "date"}
            answers.append((client.status, headers, body))
    assert answers[0] == answers[1]
    assert len(answers[0][2]) == 1_900_000


@pytest.mark.parametrize("framework", ["starlette", "starlette-middleware"])
def test_upload_and_work_after_the_response_are_left_alone(pool, framework):
    import hashlib
    import json

    server, run = pool(MAIN), f"upload-{framework}"
    payload = "x" * 3_000_000
    with server.open(f"/{framework}/upload?run={run}", method="POST", json=payload) as client:
        seen = json.loads(client.read_all())
        client.leave()
    expected = hashlib.sha256(json.dumps(payload).encode()).hexdigest()
    assert seen == {"digest": expected, "gone": False}
    server.report.wait(run, "background")
    server.report.wait(run, "returned")
    assert server.report.notes(run, "complete") == []
    assert server.report.notes(run, "raised") == []


def test_server_that_is_told_to_stop_ends_the_streams_of_all_frameworks(pool):
    server = pool(MAIN)
    pool.forget(MAIN)  # nobody else gets a server that has been stopped
    with ExitStack() as stack:
        streams = {
            name: stack.enter_context(open_stream(lambda _: server, (MAIN, name), "idle"))
            for name in PLAIN
        }
        for stream in streams.values():
            stream.client.read_until(EVENTS[1])
        server.signal(signal.SIGTERM)
        for name, stream in streams.items():
            body = bytes(stream.client.read_all())
            assert texts(body) == ["first ", "second", "back soon"], name
            assert body.endswith(FAREWELL.encode()), name
            complete = stream.complete()
            assert (complete["outcome"], complete["text"]) == ("shut_down", "first second"), name
            stream.assert_quiet()
        assert server.process.wait(5) in (0, -signal.SIGTERM)
