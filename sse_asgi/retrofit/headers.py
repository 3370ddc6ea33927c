"""The headers of another app's event stream: how one is known, and what they lack."""

from sse_asgi.asgi import Message, Send


def completing_headers(send: Send) -> Send:
    """Return a `send` that gives an event stream's headers what it needs, and no more."""

    async def send_completed(message: Message) -> None:
        await send(completed(message) if begins_event_stream(message) else message)

    return send_completed


def begins_event_stream(message: Message) -> bool:
    if message["type"] != "http.response.start":
        return False
    for name, value in message.get("headers", ()):
        if bytes(name).lower() == b"content-type":
            return bytes(value).partition(b";")[0].strip().lower() == b"text/event-stream"
    return False


def completed(message: Message) -> Message:
    """Return the start of an event stream with the header fields that this needs.

    A length would be wrong with the first keep-alive; `connection` belongs to the server.
    """
    fields = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
    kept = [field for field in fields if field[0] not in (b"connection", b"content-length")]
    names = [name for name, _ in kept]
    if b"x-accel-buffering" not in names:
        kept.append((b"x-accel-buffering", b"no"))
    if b"cache-control" not in names:
        kept.append((b"cache-control", b"no-store, no-transform"))
    elif not any(n == b"cache-control" and b"no-transform" in v.lower() for n, v in kept):
        last = len(names) - 1 - names[::-1].index(b"cache-control")
        kept[last] = (b"cache-control", kept[last][1] + b", no-transform")
    return {**message, "headers": kept}
