"""Starlette's StreamingResponse with the events written by hand."""

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.bench.sources import SOURCES


async def events(source):
    async for chunk in source():
        yield f"data: {chunk}\n\n"


def endpoint_of(source):
    async def endpoint(request):
        return StreamingResponse(
            events(source),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return endpoint


app = Starlette(routes=[Route(path, endpoint_of(source)) for path, source in SOURCES.items()])
