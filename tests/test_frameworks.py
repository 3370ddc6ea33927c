"""One behaviour suite for every framework: the examples of the how-tos, served by uvicorn."""

import itertools
import os
import signal
import time
from contextlib import ExitStack

import pytest

from tests.conftest import require
from tests.documents import blocks_of
from tests.report import wait_for
from tests.servers import ROOT, SERVERS, serve
from tests.together import together

pytestmark = pytest.mark.matrix

EXAMPLES = ROOT / "docs" / "examples"
FRAMEWORKS = {
    "no framework": ("on_bare_asgi", ()),
    "Starlette": ("on_starlette", ("starlette",)),
    "FastAPI": ("on_fastapi", ("fastapi",)),
    "Litestar": ("on_litestar", ("litestar",)),
    "Quart": ("on_quart", ("quart",)),
    "Django": ("on_django", ("django",)),
    "BlackSheep": ("on_blacksheep", ("blacksheep",)),
    "Falcon": ("on_falcon", ("falcon",)),
}
PAGES = {
    "bare-asgi": "on_bare_asgi.py",
    "starlette": "on_starlette.py",
    "fastapi": "on_fastapi.py",
    "litestar": "on_litestar.py",
    "quart": "on_quart.py",
    "django": "on_django.py",
    "blacksheep": "on_blacksheep.py",
    "falcon": "on_falcon.py",
    "existing-endpoints": "existing_endpoint.py",
    "nginx": "nginx.conf",
    "browser": "in_the_browser.mjs",
}
DONE = b"data: [DONE]\n\n"
SECRET = {"authorization": "Bearer secret"}
GRACE = 0.2  # seconds

run_numbers = itertools.count()


def serves(running):
    """Tell whether the example answers: with a refusal, for nobody is authorized yet."""
    with running.open("/answer") as client:
        return client.read_status(within=1.0) == 401


def environment():
    """Let the examples find the library, and a model that does what the tests want."""
    paths = [ROOT, ROOT / "tests" / "example_model", EXAMPLES]
    return {"PYTHONPATH": os.pathsep.join(map(str, paths)), "SSE_TEST_GRACE": str(GRACE)}


class Pool:
    """Each framework's server, started when a first test asks for it."""

    def __init__(self, factory, stack):
        self._factory, self._stack = factory, stack
        self._started = {}

    def __call__(self, name):
        if name not in self._started:
            module, needs = FRAMEWORKS[name]
            for part in needs:
                require(part)
            running = serve(
                SERVERS["uvicorn-httptools"],
                directory=self._factory.mktemp(module),
                app=f"{module}:app",
                ready=serves,
                environment=environment(),
            )
            self._started[name] = self._stack.enter_context(running)
        return self._started[name]

    def forget(self, name):
        del self._started[name]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with ExitStack() as stack:
        yield Pool(tmp_path_factory, stack)


@pytest.fixture(params=FRAMEWORKS)
def name(request):
    return request.param


@pytest.fixture
def server(name, pool):
    return pool(name)


class Stream:
    """One stream of an example, and what its server keeps of it."""

    def __init__(self, server, kind, **request):
        self.server = server
        self.run = f"run-{next(run_numbers)}"
        self.prompt = f"{kind}:{self.run}"
        self.saved = len(self.saves())
        self.log_start = len(server.log)
        request.setdefault("headers", SECRET)
        path = "/answer" if "json" in request else f"/answer?prompt={self.prompt}"
        if "json" in request:
            request["json"] = {"prompt": self.prompt}
        self.client = server.open(path, **request)

    def saves(self):
        return self.server.report.notes("saved", "complete")

    def save(self):
        """Wait for the one transcript of this stream."""
        wait_for(lambda: len(self.saves()) > self.saved, what="a transcript")
        assert len(self.saves()) == self.saved + 1
        return self.saves()[-1]

    def noise(self):
        return self.server.noise(self.log_start)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.socket.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
@together("name")
def test_stream_arrives_and_its_text_is_kept(name, pool, method):
    server = pool(name)
    request = {"method": "POST", "json": True} if method == "POST" else {}
    with Stream(server, "words", **request) as stream:
        assert stream.client.read_status() in (200, 201)
        headers = stream.client.headers
        body = stream.client.read_all()
        assert body == b"data: one \n\ndata: two \n\ndata: three\n\n" + DONE
        save = stream.save()
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-accel-buffering"] == "no"
    assert "no-transform" in headers["cache-control"]
    assert "content-length" not in headers
    assert (save["outcome"], save["text"]) == ("completed", "one two three")
    assert (save["chunks"], save["sent_chunks"]) == (3, 3)
    assert stream.noise() == []


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves_ends_the_source_and_its_text_is_kept(server, how):
    with Stream(server, "waits") as stream:
        stream.client.read_until(b"data: one \n\n")
        left = stream.client.leave(how)
        save = stream.save()
        finally_at = server.report.wait(stream.run, "finally")["at"]
    assert (save["outcome"], save["text"]) == ("disconnected", "one ")
    assert finally_at - left < 2.0
    assert stream.noise() == []


def test_source_that_fails_ends_with_an_error_event_and_is_logged(server):
    with Stream(server, "fails") as stream:
        body = stream.client.read_all()
        save = stream.save()
    assert body.startswith(b"data: one \n\ndata: two \n\nevent: error\ndata: {")
    assert body.endswith(b"}\n\n")
    assert b"fell over" not in body
    assert (save["outcome"], save["text"]) == ("failed", "one two ")
    wait_for(lambda: "fell over" in server.log[stream.log_start :], what="the log tells of it")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_framework_rejects_before_the_stream(server, method):
    request = {"method": "POST", "json": True} if method == "POST" else {}
    with Stream(server, "words", headers={"authorization": "Bearer wrong"}, **request) as stream:
        assert stream.client.read_status() == 401
        stream.client.read_all()
    with Stream(server, "words") as other:
        other.client.read_all()
        other.save()
    assert server.report.notes(stream.run, "finally") == []
    assert len(other.saves()) == other.saved + 1
    assert stream.noise() == []


@together("name")
def test_server_that_is_told_to_stop_ends_the_stream_cleanly_and_exits(name, pool):
    server = pool(name)
    pool.forget(name)  # nobody else gets a server that has been stopped
    with Stream(server, "waits") as stream:
        stream.client.read_until(b"data: one \n\n")
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        body = stream.client.read_all()
        server.process.wait(10)
        seconds = time.monotonic() - begun
        save = stream.save()
    assert body == b"data: one \n\n"
    assert (save["outcome"], save["text"]) == ("shut_down", "one ")
    assert len(server.report.notes(stream.run, "finally")) == 1
    assert GRACE <= seconds < GRACE + 1.0
    assert stream.noise() == []


@pytest.mark.parametrize("page", PAGES)
def test_how_to_shows_the_example_that_is_tested(page):
    block, *_ = blocks_of(ROOT / "docs" / "how-to" / f"{page}.md")
    assert block.text == (EXAMPLES / PAGES[page]).read_text()


def test_endpoint_that_streams_already_is_taken_care_of(tmp_path):
    require("starlette")
    kind = SERVERS["uvicorn-httptools"]
    settings = {"app": "existing_endpoint:app", "environment": environment()}
    with serve(kind, directory=tmp_path, ready=listens, **settings) as server:
        with Stream(server, "words") as stream:
            body = stream.client.read_all()
            assert body == b"data: one \n\ndata: two \n\ndata: three\n\n" + DONE
            assert stream.client.headers["x-accel-buffering"] == "no"
            assert stream.save()["text"] == "one two three"
        with Stream(server, "waits") as stream:
            stream.client.read_until(b"data: one \n\n")
            stream.client.leave()
            assert stream.save()["outcome"] == "disconnected"


def listens(running):
    with running.open("/nowhere") as client:
        return client.read_status(within=1.0) == 404
