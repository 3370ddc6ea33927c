"""The twins for scripts, with real synchronous clients."""

import pytest

from sse_asgi import JSONFraming, MessageEvent, Outcome, Reasoning, TextFraming
from sse_asgi.client import collect_text, iter_events
from sse_asgi.errors import (
    EventTooLargeError,
    IncompleteStreamError,
    StreamFailedError,
    StreamLostError,
    StreamRefusedError,
)
from tests.client.scripted import redirect, status, stream
from tests.dialects.streams import FRAMINGS
from tests.wire.cases import CASES


@pytest.fixture
def open_stream(serve, each_library):
    """Open what a server answers with each each_library."""
    with each_library.Client(verify=False) as client:
        yield lambda *answers: client.stream("GET", serve(*answers).url)


def test_every_case_of_the_wire_table(serve, each_library):
    server = serve(lambda request: stream(CASES[int(request.path[1:])].stream))
    with each_library.Client(verify=False) as client:
        for number, case in enumerate(CASES):
            with client.stream("GET", f"{server.url}/{number}") as response:
                assert list(iter_events(response)) == list(case.events), case.name


def test_events_come_as_they_arrive(open_stream):
    with open_stream(stream(b"data: a\n\n", end="open")) as response:
        assert next(iter_events(response)) == MessageEvent("a")


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming(), *FRAMINGS.values()])
def test_the_text_up_to_the_end_marker(open_stream, framing):
    encoder = framing.encoder()
    body = encoder.begin() + encoder.text(["a", "[DONE]"]) + encoder.text(["b"]) + encoder.end()
    with open_stream(stream(body, end="open")) as response:
        assert collect_text(response, framing) == "a[DONE]b"


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_a_failure_in_the_words_of_a_dialect(open_stream, framing):
    encoder = framing.encoder()
    body = encoder.begin() + encoder.part(Reasoning("so")) + encoder.text(["Hel", "lo"])
    failed = body + encoder.fail("boom", Outcome.FAILED)
    with open_stream(stream(failed)) as response, pytest.raises(StreamFailedError) as caught:
        collect_text(response, framing)
    assert (caught.value.message, caught.value.text) == ("boom", "Hello")


def test_without_an_end_marker_the_text_ends_with_the_body(open_stream):
    with open_stream(stream(b"data: a\n\n")) as response:
        assert collect_text(response, TextFraming(done=None)) == "a"


@pytest.mark.parametrize("end", ["clean", "cut"])
def test_a_stream_without_its_end_marker(open_stream, end):
    with (
        open_stream(stream(b"data: a\n\n", end=end)) as response,
        pytest.raises(IncompleteStreamError) as caught,
    ):
        collect_text(response)
    assert caught.value.text == "a"


def test_an_error_event(open_stream):
    with (
        open_stream(stream(b"data: a\n\nevent: error\ndata: broken\n\n")) as response,
        pytest.raises(StreamFailedError, match="broken") as caught,
    ):
        collect_text(response)
    assert (caught.value.text, caught.value.message) == ("a", "broken")


def test_a_connection_that_breaks_off(open_stream):
    with open_stream(stream(b"data: a\n\n", end="cut")) as response:
        events = iter_events(response)
        assert next(events).data == "a"
        with pytest.raises(StreamLostError):
            next(events)


def test_204_has_no_events(open_stream):
    with open_stream(status(204)) as response:
        assert list(iter_events(response)) == []


@pytest.mark.parametrize("answer", [status(404), status(503), stream(content_type="text/html")])
def test_a_response_that_is_no_event_stream(open_stream, answer):
    with open_stream(answer) as response, pytest.raises(StreamRefusedError) as caught:
        iter_events(response)
    assert caught.value.status == answer.status


@pytest.mark.parametrize("read", [collect_text, iter_events])
@pytest.mark.parametrize(
    ("number", "content_type", "remedy"),
    [
        (200, "text/html", "this is a page; check the path, and the credentials"),
        (200, "application/json", "check the path, and that the request asks for a stream"),
        (200, "text/plain", "have the server send content-type: text/event-stream"),
        (302, "text/html", "a redirect must name a location"),
        (401, "application/json", "check the credentials in the headers"),
        (404, "text/html", "check the path"),
        (422, "application/json", "check the method and the body"),
        (429, "application/json", "try again later"),
        (500, None, "see the server's log"),
    ],
)
def test_a_refusal_names_status_content_type_and_remedy(
    open_stream, read, number, content_type, remedy
):
    with (
        open_stream(status(number, content_type=content_type)) as response,
        pytest.raises(StreamRefusedError) as caught,
    ):
        read(response)
    message = str(caught.value)
    found = f"the content type {content_type}" if content_type else "no content type"
    assert f"{response.url} answered with status {number} and {found}; an event str" in message
    assert f"has 200 and text/event-stream: {remedy}" in message


def test_an_event_over_the_limit(open_stream):
    with (
        open_stream(stream(b"data: %b\n\n" % (b"x" * 100))) as response,
        pytest.raises(EventTooLargeError),
    ):
        list(iter_events(response, max_event_size=50))


def test_a_response_made_by_hand(each_library):
    body = b"id: 1\ndata: a\n\ndata: [DONE]\n\n"
    assert collect_text(each_library.Response(200, content=body)) == "a"
    with pytest.raises(StreamRefusedError, match="the server answered with status 500"):
        collect_text(each_library.Response(500, content=body))


def test_bytes_from_elsewhere():
    events = list(iter_events([b"da", b"ta: a\n", b"\n"], last_event_id="7"))
    assert events == [MessageEvent("a", last_event_id="7")]


def test_a_redirect_that_was_not_followed_is_told_with_its_remedy(open_stream):
    with (
        open_stream(redirect(307, "/answer/")) as response,
        pytest.raises(StreamRefusedError, match=r"status 307 .*have your client follow redirects"),
    ):
        list(iter_events(response))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_response_of_an_async_client_is_told_with_its_remedy(serve, each_library):
    server = serve(stream(b"data: a\n\n"))
    async with (
        each_library.AsyncClient(verify=False) as client,
        client.stream("GET", server.url) as response,
    ):
        with pytest.raises(TypeError, match=r"of an AsyncClient: .* EventSource"):
            iter_events(response)
        await response.aread()
        assert list(iter_events(response)) == [MessageEvent("a")]
