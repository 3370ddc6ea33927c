"""sse-starlette's EventSourceResponse."""

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

from tests.bench.sources import SOURCES


async def events(source):
    async for chunk in source():
        yield {"data": chunk}


def endpoint_of(source):
    async def endpoint(request):
        return EventSourceResponse(events(source))

    return endpoint


app = Starlette(routes=[Route(path, endpoint_of(source)) for path, source in SOURCES.items()])
