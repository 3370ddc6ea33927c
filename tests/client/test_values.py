"""What users pass wrongly, told when it is passed."""

import pytest

from sse_asgi import TextFraming
from sse_asgi.client import EventSource, collect_text, iter_events
from tests.client.conftest import import_library

URL = "http://localhost/"


@pytest.mark.parametrize("url", [None, 5, b"http://localhost/", str, object()])
def test_a_url_of_a_wrong_type(url):
    with pytest.raises(TypeError, match="url must be"):
        EventSource(url)


def test_an_empty_url():
    with pytest.raises(ValueError, match="url must not be empty"):
        EventSource("")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("method", None), ("method", 5), ("method", b"GET")),
        *(("reconnect", "no"), ("reconnect", 0), ("reconnect", None)),
        *(("on_error", "x"), ("on_comment", 0), ("on_open", 3)),
        *(("temporary_statuses", 503), ("temporary_statuses", "503")),
        *(("temporary_statuses", b"503"), ("temporary_statuses", None)),
        *(("temporary_statuses", ["503"]), ("temporary_statuses", [True])),
        *(("last_event_id", None), ("last_event_id", 5), ("last_event_id", 0)),
        *(("headers", "abc"), ("headers", b"abc"), ("headers", 5), ("headers", ["ab"])),
        *(("headers", [("a", "b", "c")]), ("headers", [5]), ("headers", {"a": 5})),
        *(("json", object()), ("json", {(1, 2): 3}), ("json", {"a": b"x"})),
        ("client", 5),
    ],
)
def test_an_option_of_a_wrong_type(name, value):
    with pytest.raises(TypeError, match=name):
        EventSource(URL, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("method", ""), ("method", "G T"), ("method", "GET\r\n")),
        *(("json", float("nan")), ("json", "\ud800")),
        *(("headers", {"a b": "c"}), ("headers", {"a": "b\r\nc"}), ("headers", {"a": "\ud800"})),
    ],
)
def test_an_option_of_a_wrong_value(name, value):
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        EventSource(URL, **{name: value})


def test_a_circle_is_no_json():
    circle = []
    circle.append(circle)
    with pytest.raises(ValueError, match="json"):
        EventSource(URL, json=circle)


def test_a_client_that_is_a_class(each_library):
    with pytest.raises(TypeError, match="client must be"):
        EventSource(URL, client=each_library.AsyncClient)


@pytest.mark.parametrize("read", [iter_events, collect_text])
@pytest.mark.parametrize("response", [5, None, "data: x\n\n", b"data: x\n\n", bytearray(), list])
def test_what_is_no_response(read, response):
    with pytest.raises(TypeError, match="response must be"):
        read(response)


def test_a_response_class_is_no_response(each_library):
    with pytest.raises(TypeError, match="response must be"):
        iter_events(each_library.Response)
    with pytest.raises(TypeError, match="response must be"):
        iter_events(each_library.AsyncClient())


@pytest.mark.parametrize("framing", [TextFraming, None, "text"])
def test_what_is_no_framing(framing):
    with pytest.raises(TypeError, match="framing must be"):
        collect_text([b"data: x\n\n"], framing)


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
