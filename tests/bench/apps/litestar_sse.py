"""Litestar's ServerSentEvent response."""

from litestar import Litestar, get
from litestar.response import ServerSentEvent

from tests.bench.sources import SOURCES


def handler_of(path, source):
    @get(path, name=path)
    async def handler() -> ServerSentEvent:
        return ServerSentEvent(source())

    return handler


app = Litestar([handler_of(path, source) for path, source in SOURCES.items()])
