"""The twins for scripts, with real synchronous clients."""

import inspect
import tracemalloc

import pytest

from sse_asgi import JSONFraming, MessageEvent, Outcome, Reasoning, TextFraming
from sse_asgi.client import EventSource, collect_text, follow, iter_events
from sse_asgi.client.request import client_of
from sse_asgi.client.sync import FollowOptions
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
        (302, "text/html", "follow redirects, or see why there are so many"),
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
        pytest.raises(StreamRefusedError, match=r"status 307 .*follow redirects"),
    ):
        list(iter_events(response))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_response_of_an_async_client_is_told(serve, each_library):
    server = serve(stream(b"data: a\n\n"))
    async with (
        each_library.AsyncClient(verify=False) as client,
        client.stream("GET", server.url) as response,
    ):
        with pytest.raises(RuntimeError, match="sync iterator on an async stream"):
            next(iter_events(response))
        await response.aread()
        assert list(iter_events(response)) == [MessageEvent("a")]


# Wrong arguments


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


# follow


@pytest.fixture
def followed(serve, each_library, quick_waits):
    """Follow what a server answers, with each library."""
    with each_library.Client(verify=False) as client:

        def start(*answers, **options):
            server = serve(*answers)
            options = {"client": client, "reconnection_time": 1, **options}
            return server, follow(f"{server.url}/path", **options)

        yield start
        assert not client.is_closed


def test_follow_goes_on_over_connections(followed):
    server, events = followed(
        stream(b"id: 1\ndata: a\n\ndata: b\n\n", end="cut"),
        stream(b"data: c\n\nid: 2\n\n"),
        status(503),
        stream(b"\xef\xbb\xbfdata: d\n\n"),
        status(204),
    )
    assert [(event.data, event.last_event_id) for event in events] == [
        *(("a", "1"), ("b", "1"), ("c", "1"), ("d", "2"))
    ]
    ids = [request.get("last-event-id") for request in server.requests]
    assert ids == [None, b"1", b"2", b"2", b"2"]


def test_follow_sends_what_it_is_given(followed):
    server, events = followed(
        status(204), headers={"X-Mine": "1"}, json={"a": 1}, last_event_id="7"
    )
    assert list(events) == []
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/path", b'{"a":1}')
    assert (request.get("x-mine"), request.get("last-event-id")) == (b"1", b"7")
    assert request.get("accept") == b"text/event-stream"


def test_follow_sends_by_the_client_that_it_is_given(serve, each_library):
    server = serve(status(204))
    with each_library.Client(headers={"X-Token": "t"}) as client:
        assert list(follow(server.url, client=client)) == []
    assert server.requests[0].get("x-token") == b"t"


def test_follow_gives_every_case_of_the_wire_table(serve, each_library):
    server = serve(lambda request: stream(CASES[int(request.path[1:])].stream))
    with each_library.Client(verify=False) as client:
        for number, case in enumerate(CASES):
            events = follow(f"{server.url}/{number}", client=client, reconnect=False)
            assert list(events) == list(case.events), case.name


def test_follow_gives_events_as_they_come_and_lets_go_when_it_is_left(followed):
    server, events = followed(stream(b"data: a\n\n", end="open"))
    assert next(events) == MessageEvent("a")
    events.close()
    server.wait_until_left(0)


def test_follow_tells_of_comments_and_errors(followed):
    seen = []
    _, events = followed(
        stream(b": hello\ndata: a\n\n", end="cut"),
        status(503),
        status(204),
        on_comment=seen.append,
        on_error=seen.append,
    )
    for event in events:
        seen.append(event)
    assert seen[:2] == ["hello", MessageEvent("a")]
    assert [type(error) for error in seen[2:]] == [StreamLostError, StreamRefusedError]


@pytest.mark.parametrize("hook", ["on_comment", "on_error"])
@pytest.mark.parametrize("error", [ValueError, ConnectionError, StreamLostError])
def test_what_a_hook_raises_ends_it(followed, hook, error):
    def fail(_):
        raise error("mine")

    server, events = followed(stream(b": a\n", end="cut"), **{hook: fail})
    with pytest.raises(error, match="mine"):
        next(events)
    assert list(events) == []
    assert len(server.requests) == 1


@pytest.mark.matrix("each_library")
def test_follow_waits_as_long_as_the_server_asks(followed):
    server, events = followed(
        stream(b"retry: 300\n\n"), status(503, headers={"retry-after": "60"}), status(204),
        max_wait=0.4,
    )  # fmt: skip
    assert list(events) == []
    first, second, third = (request.at for request in server.requests)
    assert second - first >= 0.3
    assert third - second >= 0.4


def test_follow_takes_silence_for_a_lost_connection(followed):
    errors = []
    _, events = followed(
        stream(b":\n", end="open"), status(204), read_timeout=0.2, on_error=errors.append
    )
    assert list(events) == []
    assert [type(error) for error in errors] == [StreamLostError]


def test_follow_without_reconnect_ends_with_the_stream(followed):
    _, events = followed(stream(b"data: a\n\n"), reconnect=False)
    assert [event.data for event in events] == ["a"]
    for answer in (stream(b"data: a\n\n", end="cut"), status(503)):
        _, events = followed(answer, reconnect=False)
        with pytest.raises((StreamLostError, StreamRefusedError)):
            list(events)


def test_follow_does_not_follow_what_is_no_event_stream(followed):
    server, events = followed(stream(b"no", status=404, content_type="text/plain"))
    with pytest.raises(StreamRefusedError, match="check the path") as caught:
        next(events)
    assert caught.value.body == "no"
    assert len(server.requests) == 1
    _, events = followed(stream(b"data: a\n\n", headers={"content-encoding": "br"}))
    with pytest.raises(StreamRefusedError, match="content coding is br"):
        next(events)


def test_follow_takes_redirects_as_event_source_does(serve, each_library):
    elsewhere = serve(stream(b"data: a\n\n"))
    server = serve(redirect(307, "/same"), redirect(302, elsewhere.url))
    events = follow(server.url, headers={"Cookie": "a=1", "X-API-Key": "k"}, reconnect=False)
    assert [event.data for event in events] == ["a"]
    kept = [(request.get("cookie"), request.get("x-api-key")) for request in server.requests]
    assert kept == [(b"a=1", b"k")] * 2
    (request,) = elsewhere.requests
    assert (request.get("cookie"), request.get("x-api-key")) == (None, None)


def test_follow_leaves_a_circle_of_redirects(followed):
    server, events = followed(redirect(302, "/path"))
    with pytest.raises(StreamRefusedError, match="so many"):
        next(events)
    assert len(server.requests) == 21


def test_follow_closes_a_client_of_its_own(serve, monkeypatch):
    made = []

    def make(*arguments):
        made.append(client_of(*arguments))
        return made[-1]

    monkeypatch.setattr("sse_asgi.client.source.client_of", make)
    server = serve(stream(b"data: a\n\n", end="open"))
    events = follow(server.url)
    assert next(events).data == "a"
    assert not made[0].is_closed
    events.close()
    assert made[0].is_closed


def test_follow_takes_the_options_of_event_source():
    assert ["url", *FollowOptions.__annotations__] == [*inspect.signature(EventSource).parameters]
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeout'"):
        follow("http://localhost/", timeout=5)


def test_follow_refuses_hooks_that_wait(followed):
    async def note(_):
        seen.append(1)

    seen = []
    _, events = followed(stream(b": a\n"), status(204), on_comment=note)
    assert (list(events), seen) == ([], [1])

    class Never:
        def __await__(self):
            yield

    async def suspend(_):
        await Never()

    _, events = followed(stream(b": a\n"), status(204), on_comment=suspend)
    with pytest.raises(TypeError, match="hooks of follow must be sync"):
        list(events)


# What a refusal says


@pytest.mark.parametrize("read", [iter_events, collect_text])
def test_a_refusal_carries_what_the_server_says(open_stream, read):
    answer = stream(b'{"error": "no key"}', status=401, content_type="application/json")
    with open_stream(answer) as response, pytest.raises(StreamRefusedError) as caught:
        read(response)
    assert caught.value.body == '{"error": "no key"}'
    assert caught.value.content_type == "application/json"


def test_a_refusal_carries_the_beginning_of_a_long_body(open_stream):
    answer = stream(b"x" * 1500, b"\xff" * 1500, end="open", content_type="text/plain")
    with open_stream(answer) as response, pytest.raises(StreamRefusedError) as caught:
        iter_events(response)
    assert caught.value.body == "x" * 1500 + "\ufffd" * 500


def test_a_body_that_comes_slowly_is_not_waited_for(open_stream, monkeypatch):
    monkeypatch.setattr("sse_asgi.client.connection._BODY_TIMEOUT", 0.2)
    answer = stream(*[b"x", 0.1] * 100, end="open", status=500)
    with open_stream(answer) as response, pytest.raises(StreamRefusedError) as caught:
        iter_events(response)
    assert 0 < len(caught.value.body) < 100


def test_what_had_come_of_a_body_that_breaks_off_is_told(open_stream):
    with (
        open_stream(stream(b"because", end="cut", status=500)) as response,
        pytest.raises(StreamRefusedError) as caught,
    ):
        iter_events(response)
    assert caught.value.body == "because"


def test_a_response_that_was_read_already_has_its_body(each_library):
    with pytest.raises(StreamRefusedError) as caught:
        iter_events(each_library.Response(500, content=b"because"))
    assert caught.value.body == "because"


def test_a_body_of_any_size_comes_in_bounded_pieces():
    events = iter_events([b"data\n\n" * 1_000_000])
    tracemalloc.start()
    assert next(events) == MessageEvent("")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
