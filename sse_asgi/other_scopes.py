"""The scopes of ASGI that carry no stream: an app that is served as a whole gets them, too."""

from collections.abc import Awaitable, Callable

from sse_asgi.asgi import Receive, Scope, Send


async def answer_other(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a scope that is none of HTTP: complete the lifespan protocol, refuse a WebSocket.

    Raises:
        ValueError: The scope is of a type that nobody knows.
    """
    if scope["type"] == "lifespan":
        await complete_lifespan(receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
    else:
        raise ValueError(f"an event stream cannot answer a scope of type {scope['type']!r}")


async def complete_lifespan(
    receive: Receive, send: Send, *, at_shutdown: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Complete each step of the lifespan protocol; `at_shutdown` is awaited before the last."""
    while True:
        message = await receive()
        ends = message["type"] == "lifespan.shutdown"
        if ends and at_shutdown is not None:
            await at_shutdown()
        await send({"type": f"{message['type']}.complete"})
        if ends:
            return
