"""EventSource against a server that does what it is told, rule by rule of the HTML standard."""

import gzip
import inspect
import itertools
import math

import anyio
import pytest

from sse_asgi import EventStream, EventTooLargeError, MessageEvent
from sse_asgi.client import EventSource
from sse_asgi.errors import StreamLostError, StreamRefusedError
from tests.client.conftest import in_thread
from tests.client.scripted import PATIENCE, redirect, status, stream
from tests.servers import SERVERS, free_port
from tests.servers import serve as serve_app
from tests.wire.cases import CASES

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick_waits")]

SOON = 10  # ms: a reconnection time for tests
DONE = status(204)


async def receive(url, **options):
    """Return the events of a source to its end, and the source."""
    with anyio.fail_after(PATIENCE):
        async with EventSource(url, **{"reconnection_time": SOON, **options}) as source:
            return [event async for event in source], source


async def data_of(url, **options):
    events, _ = await receive(url, **options)
    return [event.data for event in events]


async def until(condition):
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.005)


# The format


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [10**6, 1])
@pytest.mark.matrix("anyio_backend", "each_library")
async def test_every_case_of_the_wire_table(serve, each_client, size):
    streams = [case.stream if size > 1 else case.stream[:150] for case in CASES]
    cases = [case for case, cut in zip(CASES, streams, strict=False) if cut == case.stream]

    def answer(request):
        return stream(*pieces(cases[int(request.path[1:])].stream, max(size, 1)))

    server = serve(answer)
    for number, case in enumerate(cases):
        events, source = await receive(
            f"{server.url}/{number}", client=each_client, reconnect=False
        )
        assert events == list(case.events), case.name
        assert source.last_event_id == case.last_event_id, case.name
        expected = SOON if case.reconnection_time is None else case.reconnection_time
        assert source.reconnection_time == expected, case.name


@pytest.mark.parametrize("charset", ["windows-1252", "utf-16", "bogus"])
async def test_a_charset_is_ignored(serve, client, charset):
    server = serve(
        stream("data: é\n\n".encode(), content_type=f"text/event-stream;charset={charset}")
    )
    assert await data_of(server.url, client=client, reconnect=False) == ["é"]


async def test_a_byte_order_mark_is_dropped_from_each_connection(serve, client):
    body = b"\xef\xbb\xbfdata: a\n\n"
    server = serve(stream(body), stream(body), DONE)
    assert await data_of(server.url, client=client) == ["a", "a"]


async def test_an_unfinished_event_does_not_reach_into_the_next_connection(serve, client):
    server = serve(stream(b"id: 1\ndata: a\n"), stream(b"data: b\n\n"), DONE)
    events, _ = await receive(server.url, client=client)
    assert events == [MessageEvent("b")]
    assert server.requests[1].get("last-event-id") is None


async def test_a_long_line(serve, client):
    text = "x" * 3_000_000
    server = serve(stream(b"data: %b\n\n" % text.encode()))
    assert await data_of(server.url, client=client, reconnect=False) == [text]


async def test_an_event_over_the_limit_ends_the_source(serve, client):
    server = serve(stream(b"id: 1\ndata: a\n\n", b"data: " + b"x" * 200, end="open"))
    async with EventSource(server.url, client=client, max_event_size=100) as source:
        assert await anext(source) == MessageEvent("a", last_event_id="1")
        with pytest.raises(EventTooLargeError, match="max_event_size"):
            await anext(source)
        await in_thread(server.wait_until_left, 0)
        assert [event async for event in source] == []
    assert len(server.requests) == 1


# The libraries leave generators of their own to the collector where they cannot decode.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_compressed_stream_that_is_broken_counts_as_lost(serve, each_client):
    body = gzip.compress(b"data: a\n\n")
    headers = {"content-encoding": "gzip"}
    server = serve(stream(b"junk" + body, headers=headers), stream(body, headers=headers), DONE)
    errors = []
    assert await data_of(server.url, client=each_client, on_error=errors.append) == ["a"]
    assert [type(error) for error in errors] == [StreamLostError]


async def test_comments_come_in_order_with_the_events(serve, client):
    body = b":Hello\n: a\ndata: 1\n:b\n\n: c\n:\n::d\r\n: e\rdata: 2\n\n"
    seen = []
    server = serve(stream(*pieces(body, 5)))
    async with EventSource(
        server.url, client=client, reconnect=False, on_comment=seen.append
    ) as source:
        async for event in source:
            seen.append(event)
    assert seen == ["Hello", "a", "b", MessageEvent("1"), "c", "", ":d", "e", MessageEvent("2")]


async def test_a_comment_counts_before_any_event(serve, client):
    came = anyio.Event()

    async def note(_):
        came.set()

    server = serve(stream(b":Hello\n", end="open"))
    async with (
        EventSource(server.url, client=client, on_comment=note) as source,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(anext, source, None)
        await came.wait()
        await source.aclose()


async def test_every_case_of_the_wire_table_with_comments_noted(serve, client):
    server = serve(lambda request: stream(CASES[int(request.path[1:])].stream))
    for number, case in enumerate(CASES):
        events, source = await receive(
            f"{server.url}/{number}", client=client, reconnect=False, on_comment=len
        )
        assert events == list(case.events), case.name
        assert source.last_event_id == case.last_event_id, case.name


# The request


async def test_a_plain_request(serve, client):
    server = serve(DONE)
    await receive(f"{server.url}/path?query=1", client=client)
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("GET", "/path?query=1", b"")
    assert request.get("accept") == b"text/event-stream"
    assert request.get("cache-control") == b"no-cache"
    assert request.get("last-event-id") is None
    assert request.get("content-type") is None


async def test_header_fields_are_added_or_replace_defaults(serve, client):
    headers = {"X-One": "1", "ACCEPT": "text/event-stream, */*", "x-name": "é"}
    given = dict(headers)
    server = serve(DONE)
    before = dict(client.headers)
    await receive(server.url, client=client, headers=headers)
    (request,) = server.requests
    assert request.get("x-one") == b"1"
    assert request.get("accept") == b"text/event-stream, */*"
    assert request.get("x-name") == "é".encode()
    assert headers == given
    assert dict(client.headers) == before


async def test_a_client_of_the_caller_s_adds_its_own(serve, library):
    server = serve(DONE)
    async with library.AsyncClient(
        headers={"x-mine": "1"}, base_url=server.url, cookies={"c": "2"}, params={"p": "3"}
    ) as client:
        await receive("/stream", client=client)
        assert not client.is_closed
    (request,) = server.requests
    assert request.path == "/stream?p=3"
    assert request.get("x-mine") == b"1"
    assert request.get("cookie") == b"c=2"


@pytest.mark.parametrize("method", ["POST", "REPORT", "PUT", "GET", "DELETE"])
async def test_a_body_is_sent_with_every_connection(serve, client, method):
    server = serve(stream(b"data: a\n\n", end="cut"), stream(b"data: b\n\n"), DONE)
    headers = {"content-type": "application/json; charset=utf-8"}
    content = '{"hello": "wörld"}'
    data = await data_of(server.url, client=client, method=method, content=content, headers=headers)
    assert data == ["a", "b"]
    for request in server.requests:
        assert (request.method, request.body) == (method, content.encode())
        assert request.get("content-type") == b"application/json; charset=utf-8"


@pytest.mark.parametrize("options", [{}, {"method": "POST"}])
async def test_a_json_body(serve, client, options):
    server = serve(DONE)
    await receive(server.url, client=client, json={"prompt": "é"}, **options)
    (request,) = server.requests
    assert request.body == '{"prompt":"é"}'.encode()
    assert request.get("content-type") == b"application/json"


@pytest.mark.parametrize(
    ("options", "method"),
    [
        *(({}, "GET"), ({"json": {}}, "POST"), ({"json": 0}, "POST"), ({"content": "a"}, "POST")),
        *(({"content": b""}, "POST"), ({"json": {}, "method": "QUERY"}, "QUERY")),
    ],
)
async def test_a_body_makes_it_a_post(serve, client, options, method):
    server = serve(DONE)
    await receive(server.url, client=client, **options)
    assert server.requests[0].method == method


async def test_a_first_last_event_id(serve, client):
    server = serve(DONE, DONE)
    await receive(server.url, client=client, last_event_id="ümlaut")
    await receive(server.url, client=client, headers={"Last-Event-ID": "7"})
    assert [request.get("last-event-id") for request in server.requests] == [
        "ümlaut".encode(),
        b"7",
    ]


# The answer


@pytest.mark.parametrize(
    "content_type",
    [
        *(
            "text/event-stream",
            "TEXT/Event-Stream",
            "text/event-stream;",
            "text/event-stream;bogus",
        ),
        *("text/event-stream ; charset=x", "text/html, text/event-stream"),
    ],
)
async def test_a_content_type_that_is_right(serve, client, content_type):
    server = serve(stream(b"data: a\n\n", content_type=content_type))
    assert await data_of(server.url, client=client, reconnect=False) == ["a"]


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "text/event-streamx", "xtext/event-stream", "text/x-event-stream", "text/html"),
        *("text/event-stream charset=utf-8", "text /event-stream", "text/event-stream, text/html"),
        *("x text/event-stream", "application/json", "text/event-stream/x", "event-stream"),
    ],
)
async def test_a_content_type_that_is_wrong(serve, client, content_type):
    server = serve(stream(b"data: a\n\n", content_type=content_type))
    with pytest.raises(StreamRefusedError, match="content type") as caught:
        await receive(server.url, client=client)
    assert (caught.value.status, caught.value.body) == (200, "data: a\n\n")
    assert len(server.requests) == 1


async def test_204_ends_the_source_for_good(serve, client):
    server = serve(DONE)
    async with EventSource(server.url, client=client) as source:
        assert [event async for event in source] == []
        assert [event async for event in source] == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "number", [201, 205, 206, 210, 299, 300, 304, 305, 400, 401, 403, 404, 405, 410, 422, 501, 505]
)
async def test_a_status_that_is_final(serve, client, number):
    server = serve(stream(b"data: a\n\n", status=number))
    errors = []
    with pytest.raises(StreamRefusedError, match=f"status {number}") as caught:
        await receive(server.url, client=client, on_error=errors.append)
    assert caught.value.status == number
    assert caught.value.url.rstrip("/") == server.url
    assert errors == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("number", [408, 425, 429, 500, 502, 503, 504])
async def test_a_status_that_is_temporary(serve, client, number):
    server = serve(status(number), stream(b"data: a\n\n"), DONE)
    errors = []
    assert await data_of(server.url, client=client, on_error=errors.append) == ["a"]
    assert [error.status for error in errors] == [number]


@pytest.mark.matrix("anyio_backend")
async def test_retry_after_is_waited_for(serve, client):
    server = serve(status(503, headers={"retry-after": "1"}), DONE)
    await receive(server.url, client=client)
    assert server.requests[1].at - server.requests[0].at >= 1.0


async def test_a_refusal_carries_what_the_server_says(serve, client, monkeypatch):
    monkeypatch.setattr("sse_asgi.client.connection._BODY_TIMEOUT", 0.3)
    server = serve(stream(b'{"error": "no key"}', 60, status=401, content_type="application/json"))
    with pytest.raises(StreamRefusedError, match="credentials") as caught:
        await receive(server.url, client=client)
    assert caught.value.body == '{"error": "no key"}'
    assert caught.value.content_type == "application/json"


# Redirects


def at_target(request):
    return stream(b"data: a\n\n") if request.path.startswith("/target") else DONE


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/target?x=1", "target?x=1", "{url}/target?x=1"])
async def test_a_redirect_is_followed(serve, client, number, location):
    server = serve(lambda _: redirect(number, location.format(url=server.url)), at_target)
    assert await data_of(server.url, client=client, reconnect=False) == ["a"]
    assert [request.path for request in server.requests] == ["/", "/target?x=1"]
    assert server.requests[1].get("accept") == b"text/event-stream"


@pytest.mark.parametrize(
    ("number", "method", "becomes"),
    [
        *((301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET")),
        *((307, "POST", "POST"), (308, "POST", "POST"), (307, "PUT", "PUT"), (308, "PUT", "PUT")),
        *((301, "GET", "GET"), (303, "GET", "GET"), (301, "PUT", "PUT")),
    ],
)
async def test_the_method_and_the_body_of_a_redirect(serve, each_client, number, method, becomes):
    server = serve(redirect(number, "/target"), at_target)
    options = {"content": b"body", "headers": {"content-type": "text/plain", "x-kept": "1"}}
    data = await data_of(server.url, client=each_client, reconnect=False, method=method, **options)
    assert data == ["a"]
    request = server.requests[1]
    assert (request.method, request.body) == (becomes, b"body" if becomes == method else b"")
    assert request.get("x-kept") == b"1"


async def test_a_reconnection_begins_at_the_first_url(serve, client):
    hop = redirect(301, "/target")
    server = serve(hop, stream(b"id: 5\ndata: a\n\n"), hop, DONE)
    assert await data_of(server.url, client=client) == ["a"]
    assert [request.path for request in server.requests] == ["/", "/target", "/", "/target"]
    assert [r.get("last-event-id") for r in server.requests] == [None, None, b"5", b"5"]


async def test_within_the_origin_a_redirect_carries_every_header(serve, each_client):
    headers = {"Authorization": "Bearer x", "Cookie": "a=1; b=2", "X-API-Key": "k", "X-Mine": "1"}
    server = serve(redirect(307, "/same"), redirect(302, "/again"), DONE)
    await receive(server.url, client=each_client, headers=headers)
    assert len(server.requests) == 3
    for request in server.requests:
        for name, value in headers.items():
            assert request.get(name.lower()) == value.encode()


async def test_the_cookies_that_a_client_has_as_a_header_are_kept_too(serve, each_library):
    hop = redirect(307, "/same")
    hop.headers["set-cookie"] = "b=2; Path=/"
    server = serve(hop, DONE)
    async with each_library.AsyncClient(headers={"Cookie": "a=1"}) as client:
        await receive(server.url, client=client)
    assert [request.get("cookie") for request in server.requests] == [b"a=1", b"a=1; b=2"]


async def test_across_origins_a_redirect_carries_only_harmless_headers(serve, each_library):
    elsewhere = serve(redirect(307, "/further"), DONE)
    server = serve(redirect(307, f"{elsewhere.url}/there"))
    harmless = {"Accept-Language": "cy", "User-Agent": "mine", "Accept": "text/event-stream;q=1"}
    secret = {"Authorization": "Bearer x", "Cookie": "a=1", "X-API-Key": "k", "Api-Key": "k"}
    async with each_library.AsyncClient(
        headers={"X-Token": "t"}, cookies={"session": "s"}, auth=("me", "secret")
    ) as client:
        await receive(
            server.url,
            client=client,
            headers={**harmless, **secret},
            json={"a": 1},
            last_event_id="7",
        )
    (first,) = server.requests
    assert first.get("x-token") == b"t"
    assert first.get("authorization").startswith(b"Basic")  # httpx puts the client's in its place
    assert len(elsewhere.requests) == 2
    for request in elsewhere.requests:
        sent = dict(request.headers)
        for name, value in harmless.items():
            assert sent.pop(name.lower()) == value.encode()
        assert sent.pop("host") == elsewhere.url.removeprefix("http://").encode()
        assert sent.pop("last-event-id") == b"7"
        assert (sent.pop("content-type"), request.body) == (b"application/json", b'{"a":1}')
        del sent["content-length"]
        assert sent.keys() == {"accept-encoding", "cache-control", "connection"}


async def test_what_a_client_has_for_any_host_does_not_come_back_by_a_detour(serve, each_library):
    elsewhere = serve(lambda _: redirect(307, f"{server.url}/back"))
    server = serve(redirect(307, elsewhere.url), DONE)
    async with each_library.AsyncClient(auth=("me", "secret")) as client:
        await receive(server.url, client=client, headers={"X-API-Key": "k"})
    (_, back) = server.requests
    assert (back.path, back.get("authorization"), back.get("x-api-key")) == ("/back", None, None)


async def test_a_redirect_to_no_port_is_told(serve, each_client):
    server = serve(redirect(302, "http://127.0.0.1:99999/"))
    with pytest.raises(ValueError, match="cannot be requested: its port is over"):
        await receive(server.url, client=each_client)


async def test_cookies_that_a_redirect_sets_are_sent(serve, client):
    hop = redirect(302, "/target")
    hop.headers["set-cookie"] = "seen=1; Path=/"
    server = serve(hop, DONE)
    await receive(server.url, client=client)
    assert server.requests[1].get("cookie") == b"seen=1"


async def test_a_circle_of_redirects_is_left(serve, client):
    server = serve(redirect(302, "/"))
    with pytest.raises(StreamRefusedError, match=r"status 302 .*so many"):
        await receive(server.url, client=client)
    assert len(server.requests) == 21


async def test_a_redirect_to_nowhere_is_refused(serve, client):
    with pytest.raises(StreamRefusedError, match="follow redirects"):
        await receive(serve(status(302)).url, client=client)
    with pytest.raises(ValueError, match="cannot be requested"):
        await receive(serve(redirect(302, "ftp://127.0.0.1/")).url, client=client)


# Reconnection


@pytest.mark.parametrize("end", ["clean", "cut"])
async def test_a_stream_that_ends_is_connected_again(serve, each_client, end):
    server = serve(
        stream(b"id: 1\ndata: a\n\ndata: b\n\n", end=end), stream(b"data: c\n\n", end=end), DONE
    )
    errors = []
    events, source = await receive(server.url, client=each_client, on_error=errors.append)
    assert [event.data for event in events] == ["a", "b", "c"]
    assert events[2].last_event_id == source.last_event_id == "1"
    assert [r.get("last-event-id") for r in server.requests] == [None, b"1", b"1"]
    assert [type(error) for error in errors] == ([] if end == "clean" else [StreamLostError] * 2)


async def test_an_id_without_an_event_is_sent_and_an_empty_one_resets(serve, client):
    server = serve(stream(b"id: 1\n\n"), stream(b"id: 2\ndata: a\n\nid\n\n"), DONE)
    await receive(server.url, client=client)
    assert [r.get("last-event-id") for r in server.requests] == [None, b"1", None]


async def test_a_given_id_goes_once_the_server_resets_it(serve, client):
    server = serve(stream(b"id\ndata: a\n\n"), DONE)
    await receive(server.url, client=client, headers={"Last-Event-ID": "7"})
    assert [r.get("last-event-id") for r in server.requests] == [b"7", None]


@pytest.mark.parametrize(
    ("last_id", "sent"),
    [
        *(("é€\U0001f600", "é€\U0001f600".encode()), ("a b\tc", b"a b\tc"), (" a ", b"a")),
        *(
            ("\xa0", "\xa0".encode()),
            ("\x0b", None),
            ("a\x01b", None),
            ("a\x7f", None),
            (" ", None),
        ),
        *(("\x0c1", None), ("\x1b", None), ("x" * 5000, b"x" * 5000)),
    ],
)
async def test_an_id_is_sent_as_utf_8_or_not_at_all(serve, client, last_id, sent):
    server = serve(stream(f"id: {last_id}\ndata: a\n\n".encode()), DONE)
    events, source = await receive(server.url, client=client)
    assert events == [MessageEvent("a", last_event_id=last_id)]
    assert source.last_event_id == last_id
    assert server.requests[1].get("last-event-id") == sent


async def test_the_attributes_are_live(serve, client):
    server = serve(stream(b"id: 1\ndata: a\n\nid: 2\nretry: 77\ndata: b\n\nid: 3\n\n", end="open"))
    async with EventSource(server.url, client=client) as source:
        assert (source.last_event_id, source.reconnection_time) == ("", 3000)
        await anext(source)
        assert source.last_event_id == "1"
        await anext(source)
        assert (source.last_event_id, source.reconnection_time) == ("2", 77)


@pytest.mark.matrix("anyio_backend")
async def test_the_server_s_reconnection_time_is_waited_for(serve, client):
    server = serve(stream(b"retry: 300\n"), stream(b"retry:\nretry: x\nretry: -1\n"), DONE)
    _, source = await receive(server.url, client=client, reconnection_time=0)
    assert source.reconnection_time == 300
    first, second, third = (request.at for request in server.requests)
    assert second - first >= 0.3
    assert third - second >= 0.3


@pytest.mark.parametrize("retry", [2**31, 2**63 - 1, 10**40])
@pytest.mark.matrix("anyio_backend")
async def test_a_huge_reconnection_time_is_waited_for_up_to_max_wait(serve, client, retry):
    server = serve(stream(b"retry: %d\ndata: a\n\n" % retry), DONE)
    events, source = await receive(server.url, client=client, max_wait=0.3)
    assert [event.data for event in events] == ["a"]
    assert source.reconnection_time == min(retry, 2**63 - 1)
    assert server.requests[1].at - server.requests[0].at >= 0.3


@pytest.mark.matrix("anyio_backend")
async def test_retry_after_is_waited_for_up_to_max_wait(serve, client):
    server = serve(status(503, headers={"retry-after": "86400"}), DONE)
    await receive(server.url, client=client, max_wait=0.3)
    assert server.requests[1].at - server.requests[0].at >= 0.3


async def test_no_reconnection_time_at_all_is_a_tenth_of_a_second(serve, client, monkeypatch):
    monkeypatch.undo()  # of `quick_waits`
    server = serve(*[stream(b"retry: 0\ndata: a\n\n")] * 3, DONE)
    assert await data_of(server.url, client=client, reconnection_time=5000) == ["a"] * 3
    times = [request.at for request in server.requests]
    assert all(later - earlier >= 0.1 for earlier, later in itertools.pairwise(times))


@pytest.mark.matrix("anyio_backend")
async def test_failures_in_a_row_are_waited_for_ever_longer(serve, client):
    server = serve(*[status(503)] * 4, stream(b"data: a\n\n"), status(503), DONE)
    await receive(server.url, client=client, reconnection_time=20)
    times = [request.at for request in server.requests]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(wait >= least for wait, least in zip(waits, [0.02, 0.04, 0.08, 0.16], strict=False))


async def test_a_server_that_is_not_there_is_tried_again(client):
    port = free_port()
    errors, tries = [], anyio.Event()

    async def note(error):
        errors.append(error)
        if len(errors) == 3:
            tries.set()
            await anyio.sleep(math.inf)

    source = EventSource(
        f"http://127.0.0.1:{port}", client=client, on_error=note, reconnection_time=1
    )
    async with source, anyio.create_task_group() as tasks:
        tasks.start_soon(anext, source, None)
        await tries.wait()
        tasks.cancel_scope.cancel()
    assert all("Connection refused" in str(error) for error in errors)
    assert all(isinstance(error, StreamLostError) and error.__cause__ for error in errors)


async def test_what_on_error_raises_ends_the_source(serve, client):
    def give_up(error):
        raise error

    server = serve(status(503))
    async with EventSource(server.url, client=client, on_error=give_up) as source:
        with pytest.raises(StreamRefusedError):
            await anext(source)
        assert [event async for event in source] == []


def test_four_missed_keep_alives_are_silence():
    timeout = inspect.signature(EventSource).parameters["read_timeout"].default
    heartbeat = inspect.signature(EventStream).parameters["heartbeat"].default
    assert timeout == 4 * heartbeat


async def test_silence_is_a_lost_connection(serve, each_client):
    server = serve(stream(b"id: 1\ndata: a\n\n", end="open"), stream(end="open"), DONE)
    errors = []
    assert await data_of(
        server.url, client=each_client, read_timeout=0.2, on_error=errors.append
    ) == ["a"]
    assert [type(error) for error in errors] == [StreamLostError] * 2
    assert server.requests[1].get("last-event-id") == b"1"
    await in_thread(server.wait_until_left, 0)


@pytest.mark.matrix("anyio_backend")
async def test_silence_may_last(serve, client):
    server = serve(stream(0.3, b"data: a\n\n"))
    options = {"client": client, "reconnect": False, "read_timeout": None}
    assert await data_of(server.url, **options) == ["a"]


@pytest.mark.matrix("anyio_backend")
async def test_any_byte_is_no_silence(serve, client):
    server = serve(stream(*[b":", 0.1] * 6, b"\ndata: a\n\n"))
    assert await data_of(server.url, client=client, read_timeout=0.4, reconnect=False) == ["a"]


@pytest.mark.matrix("anyio_backend")
async def test_the_client_s_own_read_timeout_is_not_for_streams(serve, library):
    server = serve(stream(0.5, b"data: a\n\n"))
    async with library.AsyncClient(timeout=0.1) as client:
        assert await data_of(server.url, client=client, reconnect=False) == ["a"]


async def test_without_reconnect_a_clean_end_ends_the_iteration(serve, client):
    server = serve(stream(b"data: a\n\n"))
    assert await data_of(server.url, client=client, reconnect=False) == ["a"]
    assert len(server.requests) == 1


async def test_without_reconnect_any_other_end_raises(serve, client):
    server = serve(stream(b"data: a\n\n", end="cut"), status(503))
    async with EventSource(server.url, client=client, reconnect=False) as source:
        assert (await anext(source)).data == "a"
        with pytest.raises(StreamLostError, match="broke off"):
            await anext(source)
        assert [event async for event in source] == []
    with pytest.raises(StreamRefusedError, match="status 503"):
        await receive(server.url, client=client, reconnect=False)
    assert len(server.requests) == 2


# Other tasks


async def test_restart_while_another_task_waits(serve, each_client):
    server = serve(
        stream(b"id: 1\ndata: a\n\n", end="open"), stream(b"data: b\n\n", end="open"), DONE
    )
    seen = []
    async with (
        EventSource(server.url, client=each_client, reconnection_time=60_000) as source,
        anyio.create_task_group() as tasks,
    ):

        async def iterate():
            async for event in source:
                seen.append(event.data)
                if event.data == "b":
                    tasks.cancel_scope.cancel()

        tasks.start_soon(iterate)
        await until(lambda: seen)
        await source.restart()
    assert seen == ["a", "b"]
    assert server.requests[1].get("last-event-id") == b"1"
    await in_thread(server.wait_until_left, 0)


async def test_restart_cuts_a_wait_short(serve, client):
    server = serve(stream(b"data: a\n\n"), stream(b"data: b\n\n"), DONE)
    async with EventSource(server.url, client=client, reconnection_time=60_000) as source:
        await anext(source)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, source)
            with anyio.move_on_after(0.05):
                await anyio.sleep(1)
            await source.restart()
    assert len(server.requests) == 2


async def test_restart_in_the_iteration_keeps_what_has_come(serve, client):
    server = serve(stream(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n", end="open"), DONE)
    seen = []
    async with EventSource(server.url, client=client) as source:
        async for event in source:
            seen.append(event.data)
            if event.data == "a":
                await source.restart()
                await in_thread(server.wait_until_left, 0)
    assert seen == ["a", "b"]
    assert server.requests[1].get("last-event-id") == b"2"


async def test_aclose_ends_another_task_s_iteration(serve, client):
    server = serve(stream(b"data: a\n\n", end="open"))
    source = EventSource(server.url, client=client)
    seen = []

    async def iterate():
        async for event in source:
            seen.append(event.data)
        seen.append("end")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(iterate)
        await until(lambda: seen)
        await source.aclose()
    assert seen == ["a", "end"]
    await in_thread(server.wait_until_left, 0)
    await source.restart()
    assert [event async for event in source] == []
    assert len(server.requests) == 1


async def test_aclose_in_the_iteration_drops_what_has_come(serve, client):
    server = serve(stream(b"data: a\n\ndata: b\n\n", end="open"))
    async with EventSource(server.url, client=client) as source:
        async for event in source:
            assert event.data == "a"
            await source.aclose()


async def test_hooks_may_close_the_source(serve, client):
    server = serve(status(503), stream(b": x\ndata: a\n\n"))

    async def close(_):
        await source.aclose()

    source = EventSource(server.url, client=client, on_error=close)
    assert [event async for event in source] == []
    source = EventSource(server.url, client=client, on_comment=close)
    assert [event async for event in source] == []


async def test_leaving_the_iteration_closes_the_connection(serve, each_client):
    server = serve(stream(b"data: a\n\n", end="open"))
    async with EventSource(server.url, client=each_client) as source:
        async for _ in source:
            break
    await in_thread(server.wait_until_left, 0)


@pytest.mark.parametrize("chunks", [1, 2000])
async def test_what_had_come_is_left_unread_at_the_end(serve, each_client, chunks):
    server = serve(stream(*[b"data: a\n\n"] * chunks, end="open"))
    for _ in range(5):  # more or less of it has come
        async with EventSource(server.url, client=each_client) as source:
            assert (await anext(source)).data == "a"
    async with EventSource(server.url, client=each_client) as source:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(source)


async def test_cancellation_closes_the_connection(serve, each_client):
    server = serve(stream(b"id: 1\ndata: a\n\n", end="open"), stream(b"data: b\n\n"), DONE)
    source = EventSource(server.url, client=each_client)
    await anext(source)
    with anyio.move_on_after(0.05):
        await anext(source)
    await in_thread(server.wait_until_left, 0)
    assert (await anext(source)).data == "b"  # it connects again, at once
    assert server.requests[1].get("last-event-id") == b"1"
    await source.aclose()


async def test_two_tasks_cannot_wait_at_once(serve, client):
    server = serve(stream(b":\n", end="open"))
    async with (
        EventSource(server.url, client=client) as source,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(anext, source, None)
        await in_thread(server.wait_for_requests, 1)
        with pytest.raises(RuntimeError, match="another task is waiting"):
            await anext(source)
        await source.aclose()


# The client


async def test_a_client_of_its_own(serve):
    server = serve(stream(b"data: a\n\n"), DONE)
    assert await data_of(server.url) == ["a"]


@pytest.mark.matrix("anyio_backend")
async def test_http_2(library, tmp_path):
    versions = []

    async def note(response):
        versions.append(response.http_version)

    with serve_app(SERVERS["hypercorn-h2c"], directory=tmp_path) as running, anyio.fail_after(30):
        async with (
            library.AsyncClient(
                http1=False, http2=True, event_hooks={"response": [note]}
            ) as client,
            EventSource(f"{running.url}/stream/paced?run=h2", client=client) as source,
        ):
            await anext(source)
            await source.restart()
            async for _ in source:  # what had come is given first
                if len(versions) > 1:
                    break
    assert versions == ["HTTP/2", "HTTP/2"]


async def test_a_url_without_a_scheme_is_refused(client):
    with pytest.raises(ValueError, match="cannot be requested"):
        await receive("/path", client=client)


async def test_the_id_stays_when_the_source_is_closed(serve, client):
    server = serve(stream(b"id: 1\ndata: a\n\nid: 2\n\ndata: b\n\nid: 3\n\n", end="open"))
    async with EventSource(server.url, client=client) as source:
        await anext(source)
        assert source.last_event_id == "1"
    assert source.last_event_id == "1"
