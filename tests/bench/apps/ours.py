"""sse_asgi with its defaults, dispatched by path as the raw loop is."""

from sse_asgi import EventStream
from tests.bench.apps.lifespan import answer_lifespan
from tests.bench.sources import SOURCES


def stream_of(source):
    return EventStream(lambda request: source())


APPS = {path: stream_of(source) for path, source in SOURCES.items()}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
        return
    await APPS[scope["path"]](scope, receive, send)
