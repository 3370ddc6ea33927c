"""Answers that are no streams."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from sse_asgi.asgi import Receive, Send
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.source.request import Request
from sse_asgi.wire.json_text import json_bytes

DRAIN_SIZE = 32 * 1024 * 1024
"""Bytes of a body too large that are read and dropped: a client reads no answer while it sends."""

READ_TIME = 60.0
"""Seconds that a body may take to come."""

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole response: a status, a body, and header fields of its own."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    async def send(self, send: Send, headers: Fields = (), *, without_body: bool = False) -> None:
        """Send it, with the headers that all answers of the app have."""
        own = {"cache-control": "no-store", **self.headers, "content-type": self.content_type,
               "content-length": str(len(self.body))}  # fmt: skip
        fields = [(name.encode(), value.encode("latin-1")) for name, value in own.items()]
        fields += [field for field in headers if field[0].decode() not in own]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if without_body else self.body})


def json_answer(
    value: Mapping[str, object], status: int = 200, error: ChatError | None = None
) -> Answer:
    """Return an answer that is a JSON object, with the headers that an error asks for."""
    headers = {} if error is None else error_headers(error)
    return Answer(status, json_bytes(value), headers=headers)


def error_headers(error: ChatError) -> dict[str, str]:
    """Return the header fields that go with an error."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


async def read_body(request: Request, receive: Receive) -> bytes | None:
    """Return a request's body, None if the client has left.

    Raises:
        InvalidRequestError: It is larger than the request's `max_body_size`.
    """
    limit, size = request.max_body_size, 0
    with anyio.move_on_after(READ_TIME):
        while not request.complete and size < limit + DRAIN_SIZE:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            request.feed(message)
    if size > limit:
        raise InvalidRequestError("body", f"The body is larger than {limit} bytes.", status=413)
    if not request.complete:
        raise InvalidRequestError("body", "The body has not come in time.", status=408)
    return await request.body()


def check_sends_json(request: Request) -> None:
    """Check that a page says that it sends JSON: for that, one of another site must ask first.

    What says another type, or none, a browser sends for any page (Fetch, 2.2.2). Programs, which
    send no `Origin`, may say what they like.

    Raises:
        InvalidRequestError: A page says something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "origin" in request.headers and kind != "application/json":
        message = "A page must send its 'content-type', which must be application/json."
        raise InvalidRequestError("content-type", message, status=415)
