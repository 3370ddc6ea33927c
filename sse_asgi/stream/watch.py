"""Watching the client: the one place that calls the server's `receive`."""

from typing import Final

import anyio

from sse_asgi.asgi import Receive
from sse_asgi.source.request import Request

MAX_REPEATS: Final = 8
"""Messages after the end of the body that are read before the server counts as broken."""


async def watch(receive: Receive, request: Request) -> None:
    """Return when the client has left; feed the request with what comes before.

    The server is asked for the next message all the time: one that is not asked does not tell
    of a disconnect.
    """
    repeats = 0
    while repeats < MAX_REPEATS:
        repeats += request.complete
        message = await receive()
        request.feed(message)
        if message["type"] == "http.disconnect":
            return
    # At least one server repeats the end of the body for ever, which would starve the loop.
    # There, a failing send is what tells that the client has left.
    await anyio.sleep_forever()
