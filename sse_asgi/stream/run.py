"""Choosing how a stream lives: by the event loop that it finds itself in."""

from collections.abc import Awaitable
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


# Whatever a source awaits passes through each coroutine from there to the server's, twice. So
# what would only await another hands out its awaitable instead, here and wherever it says so.


def respond(
    opener: SourceOpener, options: Options, request: Request, receive: Receive, send: Send
) -> Awaitable[None]:
    """Answer one request with a stream."""
    return _response_type()(opener, options, request, receive, send).run()


def accompany(
    app: ASGIApp, options: Options, scope: Scope, receive: Receive, send: Send
) -> Awaitable[None]:
    """Let another app answer one request, and take care of its event stream, if it is one."""
    return _passage_type()(app, options, scope, receive, send).run()


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
