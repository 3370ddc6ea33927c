"""The limits page says what is so, under asyncio and trio."""

import pytest

from sse_asgi.testing import connect
from tests import documents

PAGE = documents.DOCS / "explanation" / "limits.md"

pytestmark = pytest.mark.anyio


@pytest.fixture
def names():
    return documents.run(PAGE)


@pytest.fixture
def events(names):
    """Give what was printed and what was sent, in the order in which it came."""
    seen = []
    names["print"] = seen.append
    return seen


async def watch(stream, events):
    """Read a stream to its end, and note each text that its `send` is called with."""

    async def observed(scope, receive, send):
        async def noting_send(message):
            events.extend(line for line in message.get("body", b"").split(b"\n") if line)
            await send(message)

        await stream(scope, receive, noting_send)

    async with connect(observed) as connection:
        async for _ in connection:
            pass


async def test_code_after_a_yield_runs_after_its_chunk_has_left_if_the_source_has_waited(
    names, events
):
    await watch(names["paced"], events)
    assert events == [
        b"data: one ",
        "the server has taken one ",
        b"data: two ",
        "the server has taken two ",
        b"data: [DONE]",
        "2 of 2 chunks handed to the server",
    ]


async def test_code_after_a_yield_runs_before_its_chunk_leaves_in_a_burst(names, events):
    await watch(names["burst"], events)
    assert events == [
        "one  will leave soon",
        "two  will leave soon",
        b"data: one ",
        b"data: two ",
        b"data: [DONE]",
        "2 of 2 chunks handed to the server",
    ]


@pytest.mark.parametrize("stream", ["careful_stream", "careless_stream"])
async def test_under_trio_a_clean_up_that_awaits_needs_a_shield(names, stream, anyio_backend_name):
    async with connect(names[stream]) as connection:
        await anext(connection)
        await connection.disconnect()
    cut = anyio_backend_name == "trio" and stream == "careless_stream"
    assert names["saved"] == ([] if cut else ["one "])
