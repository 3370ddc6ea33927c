"""What the comparison says of the other libraries happens, where their versions are the page's."""

import asyncio
from importlib.metadata import version

import pytest

from sse_asgi import EventStream
from sse_asgi.testing import connect
from tests import documents
from tests.conftest import require
from tests.documents import DOCS

PAGE = DOCS / "explanation" / "comparison.md"

pytestmark = [pytest.mark.anyio, pytest.mark.matrix]


@pytest.fixture(scope="module")
def anyio_backend():
    """Run the peers where most of their users do."""
    return "asyncio"


def in_starlette(response):
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def endpoint(request):
        return response()

    return Starlette(routes=[Route("/", endpoint)])


def on_sse_asgi(source):
    async def answer(request):
        async for text in source():
            yield text

    return EventStream(answer)


def on_starlette(source):
    from starlette.responses import StreamingResponse

    async def frames():
        async for text in source():
            yield f"data: {text}\n\n"

    return in_starlette(lambda: StreamingResponse(frames(), media_type="text/event-stream"))


def on_sse_starlette(source):
    from sse_starlette import EventSourceResponse

    return in_starlette(lambda: EventSourceResponse(source()))


def on_fastapi(source):
    from fastapi import FastAPI
    from fastapi.sse import EventSourceResponse

    app = FastAPI()

    @app.get("/", response_class=EventSourceResponse)
    async def endpoint():
        async for text in source():
            yield text

    return app


def on_litestar(source):
    from litestar import Litestar, get
    from litestar.response import ServerSentEvent

    @get("/")
    async def endpoint() -> ServerSentEvent:
        return ServerSentEvent(source())

    return Litestar([endpoint])


COLUMNS = [
    ("sse-asgi", on_sse_asgi),
    ("starlette", on_starlette),
    ("sse-starlette", on_sse_starlette),
    ("fastapi", on_fastapi),
    ("litestar", on_litestar),
]


def said(beginning):
    """Return the cells of the row that begins so."""
    rows = documents.tables_in(PAGE)[0]
    (row,) = (row for row in rows if row[0].startswith(beginning))
    return row[1:]


def versions():
    head = next(line for line in PAGE.read_text().splitlines() if line.startswith("| |"))
    return [cell.split()[1] for cell in head.strip("| ").split("|")]


@pytest.fixture(params=range(len(COLUMNS)), ids=[name for name, _ in COLUMNS])
def column(request):
    package, make = COLUMNS[request.param]
    require(package.replace("-", "_"))
    if version(package) != versions()[request.param]:
        pytest.skip(f"the page is about another version of {package}")
    return request.param, make


async def test_whether_awaits_in_finally_run_when_the_client_leaves(column):
    number, make = column
    did = []

    async def source():
        try:
            yield "a"
            await asyncio.sleep(60)
        finally:
            did.append("closing")
            await asyncio.sleep(0)
            did.append("saved")

    async with connect(make(source)) as connection:
        await anext(connection)
        await connection.disconnect()
    assert did[0] == "closing"
    assert ("saved" in did) == said("…and awaits")[number].startswith("yes")


async def test_whether_the_client_is_told_of_a_failure(column):
    number, make = column

    async def source():
        yield "a"
        await asyncio.sleep(0)
        raise LookupError

    async with connect(make(source)) as connection:
        kinds = [event.type async for event in connection]
    assert ("error" in kinds) == said("The generator raises")[number].startswith("`error`")
