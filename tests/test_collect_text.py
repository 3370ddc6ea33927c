"""`sse_asgi.testing.collect_text`: the client's text, in process."""

import pytest

from sse_asgi import EventStream, JSONFraming, ServerSentEvent, TextFraming
from sse_asgi.errors import IncompleteStreamError, StreamFailedError
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
