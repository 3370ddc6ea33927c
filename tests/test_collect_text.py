"""`sse_asgi.testing.collect_text`: the client's text, in process."""

import pytest

from sse_asgi import EventStream, JSONFraming, Reasoning, ServerSentEvent, TextFraming, Usage
from sse_asgi.dialects import AnthropicMessages, ChatCompletions
from sse_asgi.errors import IncompleteStreamError, StreamFailedError, StreamRefusedError
from sse_asgi.testing import collect_text, connect

pytestmark = pytest.mark.anyio

CHUNKS = ["Hello, ", "", "[DONE]", "wörld", "!"]


async def text_of(app, *framing):
    async with connect(app) as connection:
        return await collect_text(connection, *framing)


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming(), TextFraming(done=None)])
async def test_the_whole_text(framing):
    app = EventStream(lambda _: [*CHUNKS, ServerSentEvent(comment="x")], framing=framing)
    assert await text_of(app, framing) == "".join(CHUNKS)
    assert await text_of(EventStream(lambda _: CHUNKS)) == "".join(CHUNKS)


async def test_the_text_beside_the_parts():
    chunks = [Reasoning("so"), "Hello", Usage(1, 2)]
    for framing in (TextFraming(), ChatCompletions("m"), AnthropicMessages("m")):
        assert await text_of(EventStream(lambda _: chunks, framing=framing), framing) == "Hello"


async def test_an_app_that_fails():
    async def failing(request):
        yield "Hello"
        raise LookupError("boom")

    with pytest.raises(StreamFailedError) as caught:
        await text_of(EventStream(failing, describe_error=str))
    assert (caught.value.message, caught.value.text) == ("boom", "Hello")


async def test_an_app_without_the_end_marker():
    app = EventStream(lambda _: ["Hello"], framing=TextFraming(done=None))
    with pytest.raises(IncompleteStreamError) as caught:
        await text_of(app)
    assert caught.value.text == "Hello"


def answering(status, headers, body=b"data: Hello\n\ndata: [DONE]\n\n"):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.mark.parametrize(
    ("status", "content_type", "message"),
    [
        (404, b"text/plain; charset=utf-8", "status 404 and the content type text/plain, which"),
        (200, b"application/json", "status 200 and the content type application/json, which"),
        (500, b"", "status 500 and no content type, which is no event stream: check the path"),
    ],
)
@pytest.mark.parametrize("framing", [TextFraming(), TextFraming(done=None)])
async def test_what_is_no_event_stream_is_named(status, content_type, message, framing):
    headers = [(b"content-type", content_type)] if content_type else []
    with pytest.raises(StreamRefusedError, match=message) as caught:
        await text_of(answering(status, headers), framing)
    assert (caught.value.status, caught.value.content_type) == (
        status,
        content_type.partition(b";")[0].decode(),
    )


async def test_an_event_stream_is_read_whatever_its_status_or_parameters():
    headers = [(b"content-type", b"Text/Event-Stream;charset=UTF-8")]
    assert await text_of(answering(503, headers)) == "Hello"
    assert await text_of(answering(200, [])) == "Hello"
