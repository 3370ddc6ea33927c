"""Watching the client: the one place that calls the server's `receive`."""

from typing import Final

import anyio

from sse_asgi.asgi import Receive
from sse_asgi.source.request import Request
from sse_asgi.stream.sender import Sender
from sse_asgi.wire.outcome import DISCONNECTED

MAX_REPEATS: Final = 8
"""Messages after the end of the body that are read before the server counts as broken."""


async def watch(receive: Receive, request: Request, sender: Sender) -> None:
    """Lose the client when it has left; feed the request with what comes before.

    The server is asked for the next message all the time: one that is not asked does not tell
    of a disconnect.
    """
    repeats = 0
    try:
        while repeats < MAX_REPEATS:
            repeats += request.complete
            message = await receive()
            request.feed(message)
            if message["type"] == "http.disconnect":
                sender.lose_client(DISCONNECTED, by="client")
                return
        # At least one server repeats the end of the body for ever, which would starve the loop.
        # There, a failing send is what tells that the client has left.
        await anyio.sleep_forever()
    except BaseException as error:
        if not sender.receive_failed(error):
            raise
