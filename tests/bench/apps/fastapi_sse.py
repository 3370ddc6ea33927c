"""FastAPI's own event streams: a path operation that yields."""

from collections.abc import AsyncIterable

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse

from tests.bench.sources import SOURCES

app = FastAPI()


def operation_of(source):
    async def operation() -> AsyncIterable[str]:
        async for chunk in source():
            yield chunk

    return operation


for path, source in SOURCES.items():
    app.get(path, response_class=EventSourceResponse)(operation_of(source))
