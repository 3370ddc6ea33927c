"""What makes a request: what users pass, wrongly or rightly, and the HTTP library."""

import subprocess
import sys

import pytest

from sse_asgi.client import EventSource, follow
from sse_asgi.client.request import client_of
from tests.client.conftest import LIBRARIES, import_library
from tests.client.scripted import status
from tests.documents import ROOT

URL = "http://localhost/"


def run_without(*modules):
    code = f"""
import sys
for name in {modules!r}:
    sys.modules[name] = None
import sse_asgi.client
from sse_asgi.client.request import client_of
try:
    print(type(client_of(None, "Client")).__module__)
    sse_asgi.client.EventSource("http://127.0.0.1/")
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_without_a_library_the_error_says_how_to_install_one():
    message = run_without("httpx", "httpx2")
    assert message.endswith('needs httpx: pip install "sse-asgi[client]"')
    assert "\n" not in message


def test_httpx2_will_do():
    pytest.importorskip("httpx2")
    assert run_without("httpx").partition(".")[0] == "httpx2"


def test_a_library_that_cannot_be_imported_is_no_missing_one(monkeypatch):
    def fail(_):
        raise ModuleNotFoundError("no httpcore", name="httpcore")

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="no httpcore"):
        client_of(None, "Client")


@pytest.mark.parametrize("kind", ["AsyncClient", "Client"])
def test_a_client_of_its_own_waits_for_ever_to_read(kind):
    timeout = client_of(None, kind).timeout
    assert (timeout.read, timeout.pool) == (None, None)
    assert timeout.connect == timeout.write == 10


@pytest.fixture(params=[EventSource, follow])
def receive(request):
    """Give each of the two that take a request."""
    return request.param


@pytest.mark.parametrize("url", [None, 5, b"http://localhost/", str, object()])
def test_a_url_of_a_wrong_type(receive, url):
    with pytest.raises(TypeError, match="url must be"):
        receive(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://[::1", "http://a\0b/"])
def test_a_url_that_is_none(receive, url):
    with pytest.raises(ValueError, match="cannot be requested"):
        receive(url)


@pytest.mark.anyio
async def test_a_url_of_either_library_s_class(each_library, serve):
    server = serve(status(204))
    for library in LIBRARIES:
        url = import_library(library).URL(f"{server.url}/path?a=1")
        async with each_library.AsyncClient() as client:
            assert [event async for event in EventSource(url, client=client)] == []
    assert [request.path for request in server.requests] == ["/path?a=1"] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("method", 5), ("method", b"GET")),
        *(("reconnect", "no"), ("reconnect", 0), ("reconnect", None)),
        *(("on_error", "x"), ("on_comment", 0), ("on_error", 3)),
        *(("max_wait", "5"), ("max_wait", None), ("read_timeout", "1"), ("read_timeout", True)),
        *(("content", iter([b""])), ("content", 5), ("reconnection_time", "3")),
        *(("last_event_id", None), ("last_event_id", 5), ("last_event_id", 0)),
        *(("headers", "abc"), ("headers", b"abc"), ("headers", 5)),
        *(("headers", [("a", "b", "c")]), ("headers", [5]), ("headers", {"a": 5})),
        ("headers", {"a": "\ud800"}),
        *(("json", object()), ("json", {(1, 2): 3}), ("json", {"a": b"x"})),
        ("client", 5),
    ],
)
def test_an_option_of_a_wrong_type(receive, name, value):
    with pytest.raises(TypeError, match=name):
        receive(URL, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("json", float("nan")), ("json", "\ud800"), ("reconnection_time", -1)),
        *(("max_wait", 0), ("read_timeout", 0), ("read_timeout", -1), ("max_event_size", 0)),
        *(("last_event_id", "a\n"), ("headers", {"a": "\x7f"})),
        ("headers", {"a": "b\r\nc"}),
    ],
)
def test_an_option_of_a_wrong_value(receive, name, value):
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        receive(URL, **{name: value})


def test_two_bodies(receive):
    with pytest.raises(TypeError, match="not both"):
        receive(URL, json={}, content=b"")


def test_a_circle_is_no_json(receive):
    circle = []
    circle.append(circle)
    with pytest.raises(ValueError, match="json"):
        receive(URL, json=circle)


def test_a_client_of_the_wrong_kind(each_library):
    for client in (each_library.AsyncClient, each_library.Client(), object()):
        with pytest.raises(TypeError, match=r"client must be an \w+.AsyncClient .*not"):
            EventSource(URL, client=client)
    for client in (each_library.Client, each_library.AsyncClient(), object()):
        with pytest.raises(TypeError, match=r"client must be an \w+.Client .*not"):
            follow(URL, client=client)


@pytest.mark.anyio
async def test_a_client_that_is_false_is_used(serve):
    httpx = import_library("httpx")

    class Empty(httpx.AsyncClient):
        def __len__(self):
            return 0

    def handle(request):
        return httpx.Response(
            200, headers={"content-type": "text/event-stream"}, text="data: a\n\n"
        )

    async with (
        Empty(transport=httpx.MockTransport(handle)) as client,
        EventSource(URL, client=client, reconnect=False) as source,
    ):
        assert [event.data async for event in source] == ["a"]
