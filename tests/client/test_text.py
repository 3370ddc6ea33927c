"""The whole text of a source, over connections that break off, and on both sides."""

import socket
import threading

import anyio
import pytest

from sse_asgi import JSONFraming, Reasoning, TextFraming
from sse_asgi.client import EventSource
from sse_asgi.errors import (
    FramingError,
    IncompleteStreamError,
    StreamFailedError,
    StreamLostError,
    StreamRefusedError,
)
from tests.client.conftest import in_thread
from tests.client.scripted import PATIENCE, status, stream
from tests.dialects.streams import FRAMINGS
from tests.servers import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick_waits")]

CHUNKS = ["Hello", ", ", "wörld\n", "", "[DONE]", "\n", " two\nlines ", "\u2028end"]


async def text_of(url, framing=None, **options):
    with anyio.fail_after(PATIENCE):
        async with EventSource(url, **{"reconnection_time": 1, **options}) as source:
            return await (source.text() if framing is None else source.text(framing))


def encoded(framing, chunks):
    encoder = framing.encoder()
    begin, *events = [encoder.begin(), *(encoder.text([chunk]) for chunk in chunks)]
    return [begin + events[0], *filter(None, events[1:])]  # dialects send no empty text


def numbered(framing, chunks):
    """Encode chunks so that the last event of each carries the chunk's number as its id."""
    events = []
    for number, event in enumerate(encoded(framing, chunks), 1):
        head, last = event[:-2].rpartition(b"\n\n")[::2]
        head = head + b"\n\n" if head else b""
        events.append(head + b"id: %d\n%b\n\n" % (number, last))
    return events


@pytest.mark.parametrize(
    "framing", [TextFraming(), JSONFraming(), TextFraming(done="--end--"), *FRAMINGS.values()]
)
async def test_the_text_up_to_the_end_marker(serve, client, framing):
    server = serve(stream(*encoded(framing, CHUNKS), framing.encoder().end(), end="open"))
    assert await text_of(server.url, framing, client=client) == "".join(CHUNKS)
    await in_thread(server.wait_until_left, 0)
    assert len(server.requests) == 1


async def test_an_end_marker_before_an_answer_is_complete(serve, client):
    encoder = FRAMINGS["chat"].encoder()
    begun = encoder.begin() + encoder.part(Reasoning("so")) + encoder.text(["Hel", "lo"])
    server = serve(stream(begun + b"data: [DONE]\n\n"))
    with pytest.raises(IncompleteStreamError, match="before its answer was complete") as caught:
        await text_of(server.url, FRAMINGS["chat"], client=client)
    assert caught.value.text == "Hello"


@pytest.mark.parametrize("framing", [TextFraming(done=None), JSONFraming(done=None)])
@pytest.mark.parametrize("reconnect", [True, False])
async def test_without_an_end_marker_a_clean_end_is_the_end(serve, client, framing, reconnect):
    server = serve(stream(*encoded(framing, CHUNKS)))
    assert await text_of(server.url, framing, client=client, reconnect=reconnect) == "".join(CHUNKS)
    assert len(server.requests) == 1


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming(), *FRAMINGS.values()])
@pytest.mark.parametrize("end", ["clean", "cut"])
async def test_nothing_is_lost_or_doubled_where_the_server_replays(serve, client, framing, end):
    events = numbered(framing, CHUNKS)

    def answer(request):
        begin = int(request.get("last-event-id") or 0)
        if begin + 2 >= len(events):
            return stream(*events[begin:], framing.encoder().end())
        return stream(*events[begin : begin + 2], events[begin + 2][:-1], end=end)

    server = serve(answer)
    assert await text_of(server.url, framing, client=client) == "".join(CHUNKS)
    assert len(server.requests) == 4


async def test_failures_before_the_first_event_cost_nothing(serve, client):
    server = serve(status(503), stream(end="cut"), stream(), stream(b"data: a\n\ndata: [DONE]\n\n"))
    assert await text_of(server.url, client=client) == "a"


@pytest.mark.parametrize("end", ["clean", "cut"])
async def test_a_stream_without_ids_cannot_be_resumed(serve, client, end):
    server = serve(stream(b"data: Hello\n\n", end=end), stream(b"data: Hello\n\ndata: [DONE]\n\n"))
    with pytest.raises(IncompleteStreamError, match="sends no ids") as caught:
        await text_of(server.url, client=client, last_event_id="given")
    assert caught.value.text == "Hello"
    assert len(server.requests) == 1


@pytest.mark.parametrize("last", [status(204), status(404)])
async def test_an_end_for_good_without_the_end_marker(serve, client, last):
    server = serve(stream(b"id: 1\ndata: Hello\n\n", end="cut"), last)
    with pytest.raises(IncompleteStreamError, match="5 characters had come") as caught:
        await text_of(server.url, client=client)
    assert caught.value.text == "Hello"


@pytest.mark.parametrize("end", ["clean", "cut"])
async def test_one_connection_that_ends_too_early(serve, client, end):
    server = serve(stream(b"data: Hello\n\n", end=end))
    with pytest.raises(IncompleteStreamError) as caught:
        await text_of(server.url, client=client, reconnect=False)
    assert caught.value.text == "Hello"
    assert isinstance(caught.value.__cause__, StreamLostError) == (end == "cut")


# Outages


@pytest.fixture
def brief_outage(monkeypatch):
    """Let `text` give up after a moment instead of a minute."""
    monkeypatch.setattr("sse_asgi.client.event_source.LONGEST_OUTAGE", 0.3)


@pytest.mark.usefixtures("brief_outage")
@pytest.mark.matrix("anyio_backend")
async def test_an_endless_503_is_given_up(serve, each_client):
    server = serve(status(503))
    with pytest.raises(StreamRefusedError, match="status 503"):
        await text_of(server.url, client=each_client)
    assert len(server.requests) > 2


@pytest.mark.usefixtures("brief_outage")
@pytest.mark.matrix("anyio_backend")
async def test_the_wait_that_a_server_asks_for_is_no_reason_to_give_up(serve, client):
    later = status(503, headers={"retry-after": "1"})
    server = serve(later, stream(b"data: a\n\ndata: [DONE]\n\n"))
    assert await text_of(server.url, client=client) == "a"


@pytest.mark.usefixtures("brief_outage")
async def test_a_503_without_end_that_asks_to_come_again_is_given_up(serve, client):
    server = serve(status(503, headers={"retry-after": "0"}))
    with pytest.raises(StreamRefusedError, match="status 503"):
        await text_of(server.url, client=client, json={})
    assert len(server.requests) > 2


@pytest.mark.usefixtures("brief_outage")
@pytest.mark.parametrize("then", [status(503), stream(end="cut"), stream(), stream(b":\n")])
@pytest.mark.matrix("anyio_backend")
async def test_a_server_that_gives_no_more_events_is_given_up(serve, client, then):
    server = serve(stream(b"id: 1\ndata: Hello\n\n", end="cut"), then)
    with pytest.raises(IncompleteStreamError) as caught:
        await text_of(server.url, client=client)
    assert caught.value.text == "Hello"
    assert len(server.requests) > 3


@pytest.mark.usefixtures("brief_outage")
@pytest.mark.parametrize("first", [stream(end="cut"), stream(), stream(b": x\n\n")])
@pytest.mark.matrix("anyio_backend")
async def test_a_server_that_never_gives_an_event_is_given_up(serve, client, first):
    with pytest.raises(IncompleteStreamError):
        await text_of(serve(first).url, client=client)


@pytest.mark.usefixtures("brief_outage")
@pytest.mark.matrix("anyio_backend")
async def test_a_server_that_is_silent_is_given_up(serve, client):
    server = serve(stream(end="open"))
    with pytest.raises(IncompleteStreamError, match="broke off"):
        await text_of(server.url, client=client, read_timeout=0.2)


@pytest.mark.usefixtures("brief_outage")
async def test_a_server_that_is_gone_is_given_up(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer_once():
            with listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                    b"connection: close\r\n\r\nid: 1\ndata: Hello\n\n"
                )
            listener.close()

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(IncompleteStreamError, match="Connection refused") as caught:
            await text_of(f"http://127.0.0.1:{port}", client=client)
        thread.join()
    assert caught.value.text == "Hello"


@pytest.mark.usefixtures("brief_outage")
@pytest.mark.matrix("anyio_backend")
async def test_a_server_that_keeps_alive_is_waited_for(serve, client):
    thinking = stream(b"id: 1\ndata: a\n\n", *[b":\n", 0.1] * 6, end="cut")
    again = stream(*[b":\n", 0.1] * 6, end="cut")
    server = serve(thinking, again, stream(b"data: b\n\ndata: [DONE]\n\n"))
    assert await text_of(server.url, client=client) == "ab"


@pytest.mark.usefixtures("brief_outage")
@pytest.mark.matrix("anyio_backend")
async def test_an_event_begins_the_count_anew(serve, client):
    def answer(request):
        number = len(server.requests)
        if number > 9:
            return stream(b"data: [DONE]\n\n")
        parts = [0.1, b"id: %d\ndata: a\n\n" % number] if number % 2 else [0.1]
        return stream(*parts, end="cut")

    server = serve(answer)
    assert await text_of(server.url, client=client) == "a" * 5


async def test_an_error_event_carries_its_message_and_the_text(serve, client):
    server = serve(stream(b'data: Hello\n\nevent: error\ndata: {"message": "out of memory"}\n\n'))
    with pytest.raises(StreamFailedError, match="out of memory") as caught:
        await text_of(server.url, client=client)
    assert (caught.value.message, caught.value.text) == ("out of memory", "Hello")
    assert isinstance(caught.value, IncompleteStreamError)
    assert len(server.requests) == 1


async def test_a_source_that_never_begins_raises_what_it_met(serve, client):
    with pytest.raises(StreamRefusedError, match="status 404"):
        await text_of(serve(status(404)).url, client=client)
    with pytest.raises(StreamLostError):
        await text_of("http://127.0.0.1:1/", client=client, reconnect=False)


async def test_a_first_connection_that_cannot_be_made_is_not_tried_again(client):
    errors = []
    with pytest.raises(StreamLostError, match="cannot connect: Connection refused"):
        await text_of(f"http://127.0.0.1:{free_port()}/", client=client, on_error=errors.append)
    assert [type(error) for error in errors] == [StreamLostError]


@pytest.mark.parametrize("number", [429, 500])
async def test_a_first_response_that_says_no_is_not_asked_again(serve, client, number):
    server = serve(status(number), stream(b"data: a\n\ndata: [DONE]\n\n"))
    with pytest.raises(StreamRefusedError, match=f"status {number}"):
        await text_of(server.url, client=client)
    assert len(server.requests) == 1


@pytest.mark.parametrize("number", [429, 500, 503])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_first_response_that_asks_to_come_again_is_heeded(serve, client, number, method):
    later = status(number, headers={"retry-after": "0"})
    server = serve(later, stream(b"data: a\n\ndata: [DONE]\n\n"))
    assert await text_of(server.url, client=client, method=method) == "a"


async def test_a_server_that_is_not_up_yet_is_asked_again_after_an_id(serve, client):
    server = serve(
        stream(b"id: 1\ndata: a\n\n", end="cut"), status(500), stream(b"data: [DONE]\n\n")
    )
    assert await text_of(server.url, client=client, method="POST", json={}) == "a"


async def test_another_framing_is_an_error(serve, client):
    server = serve(stream(b"data: Hello\n\n"))
    with pytest.raises(FramingError, match="same framing"):
        await text_of(server.url, JSONFraming(), client=client)
    await in_thread(server.wait_for_requests, 1)


async def test_text_after_the_last_id_is_what_the_server_gives_again(serve, client):
    server = serve(
        stream(b"id: 1\ndata: a\n\ndata: b\n\n", end="cut"),
        stream(b"data: b\n\nid: 2\ndata: c\n\nid: 3\n\n", end="cut"),
        stream(b"data: d\n\n", b"id: 4\n\n", end="cut"),
        stream(b"data: [DONE]\n\n"),
    )
    assert await text_of(server.url, client=client) == "abcd"


async def test_an_id_in_a_block_of_its_own_covers_what_came_before_it(serve, client):
    server = serve(
        stream(b"data: a\n\nid: 1\n\ndata: b\n\n", end="cut"),
        stream(b"data: b\n\nid: 2\n\ndata: c\n\ndata: [DONE]\n\n"),
    )
    assert await text_of(server.url, client=client) == "abc"
    assert [request.get("last-event-id") for request in server.requests] == [None, b"1"]


@pytest.mark.parametrize("options", [{}, {"on_comment": print}])
async def test_ids_in_blocks_of_their_own_at_the_end_of_a_connection(serve, client, options):
    server = serve(
        stream(b"id: 1\n\ndata: a\n\n: x\n\nid: 2\n\n", b"data: b\n\n", b"id: 3\n\n", end="cut"),
        stream(b"data: c\n\ndata: [DONE]\n\n"),
    )
    assert await text_of(server.url, client=client, **options) == "abc"
    assert server.requests[1].get("last-event-id") == b"3"


async def restarted(source, server, framing):
    """Return the text of a source that is restarted once its text has begun."""
    result = []

    async def collect():
        try:
            result.append(await source.text(framing))
        except IncompleteStreamError as error:
            result.append(error)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect)
            while server.requests == [] or source.reconnection_time != 1:
                await anyio.sleep(0.005)
            await source.restart()
    return result[0]


# The events come with the `retry` that `restarted` waits for.
@pytest.mark.parametrize("framing", [TextFraming(), TextFraming(done=None)])
async def test_a_restart_without_ids_is_an_error(serve, client, framing):
    server = serve(
        stream(b"data: Hel\n\nretry: 1\n\n", end="open"), stream(b"data: Hel\n\ndata: lo\n\n")
    )
    async with EventSource(server.url, client=client) as source:
        error = await restarted(source, server, framing)
    assert isinstance(error, IncompleteStreamError)
    assert error.text == "Hel"
    assert "restarted" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("framing", [TextFraming(), TextFraming(done=None)])
async def test_a_restart_with_ids_loses_and_doubles_nothing(serve, client, framing):
    server = serve(
        stream(b"id: 1\ndata: a\n\ndata: b\n\nretry: 1\n\n", end="open"),
        stream(b"data: b\n\ndata: c\n\n" + framing.encoder().end()),
    )
    async with EventSource(server.url, client=client, reconnect=bool(framing.done)) as source:
        assert await restarted(source, server, framing) == "abc"
    assert server.requests[1].get("last-event-id") == b"1"


async def test_a_restart_when_nobody_waits_counts_as_well(serve, client):
    server = serve(
        stream(b"data: a\n\n: now\n\n", end="open"), stream(b"data: a\n\ndata: [DONE]\n\n")
    )
    source = EventSource(server.url, client=client, on_comment=lambda _: source.restart())
    with anyio.fail_after(PATIENCE), pytest.raises(IncompleteStreamError) as caught:
        await source.text()
    assert caught.value.text == "a"


async def test_a_restart_before_the_text_begins_costs_nothing(serve, client):
    server = serve(stream(b": now\n\n", end="open"), stream(b"data: a\n\n", b"data: [DONE]\n\n"))
    restarts = []

    async def restart(_):
        restarts.append(1)
        await source.restart()

    source = EventSource(server.url, method="POST", client=client, on_comment=restart)
    with anyio.fail_after(PATIENCE):
        assert await source.text() == "a"
    assert restarts == [1]


async def test_a_request_with_effects_is_not_repeated_after_a_clean_end(serve, client):
    server = serve(stream(), stream(b"data: a\n\ndata: [DONE]\n\n"))
    with pytest.raises(IncompleteStreamError, match="without its end marker") as caught:
        await text_of(server.url, method="POST", json={}, last_event_id="given", client=client)
    assert caught.value.text == ""
    assert len(server.requests) == 1


@pytest.mark.parametrize("first", [stream(end="cut"), status(500), status(503), status(502)])
async def test_a_request_with_effects_is_not_repeated_after_a_failure_either(serve, client, first):
    server = serve(first, stream(b"data: a\n\ndata: [DONE]\n\n"))
    with pytest.raises((IncompleteStreamError, StreamRefusedError)):
        await text_of(server.url, method="POST", json={}, last_event_id="given", client=client)
    assert len(server.requests) == 1


@pytest.mark.parametrize("framing", [TextFraming, None, "text"])
async def test_a_framing_must_be_one(client, framing):
    with pytest.raises(TypeError, match="framing must be"):
        await EventSource("http://localhost/", client=client).text(framing)
