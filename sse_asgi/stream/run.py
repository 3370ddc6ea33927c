"""Choosing how a stream lives: by the event loop that it finds itself in."""

from typing import TYPE_CHECKING

from sse_asgi.stream.asgi import ASGIApp, Receive, Scope, Send
from sse_asgi.stream.loops import in_asyncio
from sse_asgi.stream.on_asyncio import AsyncioResponse
from sse_asgi.stream.options import Options
from sse_asgi.stream.passage_asyncio import AsyncioPassage
from sse_asgi.stream.request import Request
from sse_asgi.stream.source import SourceOpener

if TYPE_CHECKING:
    from sse_asgi.stream.on_trio import TrioResponse
    from sse_asgi.stream.passage_trio import TrioPassage


async def respond(
    opener: SourceOpener, options: Options, request: Request, receive: Receive, send: Send
) -> None:
    """Answer one request with a stream, open to a shutdown as long as it lives."""
    response = _response_type()(opener, options, request, receive, send)
    shutdown = options.shutdown
    if shutdown is None:
        await response.run()
        return
    shutdown.enter(response)
    try:
        await response.run()
    finally:
        shutdown.leave(response)


async def accompany(
    app: ASGIApp, options: Options, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let another app answer one request, and take care of its event stream, if it is one."""
    passage = _passage_type()(app, options, scope, receive, send)
    try:
        await passage.run()
    finally:
        if options.shutdown is not None:
            options.shutdown.leave(passage)


def _response_type() -> type[AsyncioResponse] | type["TrioResponse"]:
    if in_asyncio():
        return AsyncioResponse
    from sse_asgi.stream.on_trio import TrioResponse  # noqa: PLC0415 - needs trio

    return TrioResponse


def _passage_type() -> type[AsyncioPassage] | type["TrioPassage"]:
    if in_asyncio():
        return AsyncioPassage
    from sse_asgi.stream.passage_trio import TrioPassage  # noqa: PLC0415 - needs trio

    return TrioPassage
