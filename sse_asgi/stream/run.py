"""Choosing how a response lives: by the event loop that it finds itself in."""

from collections.abc import Callable
from typing import Any

from sse_asgi.stream.asgi import Receive, Send
from sse_asgi.stream.loops import in_asyncio
from sse_asgi.stream.on_asyncio import AsyncioResponse
from sse_asgi.stream.options import Options
from sse_asgi.stream.request import Request
from sse_asgi.stream.response import Response
from sse_asgi.stream.source import SourceOpener


async def respond(
    opener: SourceOpener, options: Options, request: Request, receive: Receive, send: Send
) -> None:
    """Answer one request with a stream, open to a shutdown as long as it lives."""
    response = _response_type()(opener, options, request, send)
    shutdown = options.shutdown
    if shutdown is None:
        await response.run(receive)
        return
    shutdown.enter(response)
    try:
        await response.run(receive)
    finally:
        shutdown.leave(response)


def _response_type() -> Callable[[SourceOpener, Options, Request, Send], Response[Any]]:
    if in_asyncio():
        return AsyncioResponse
    from sse_asgi.stream.on_trio import TrioResponse  # noqa: PLC0415 - needs trio

    return TrioResponse
