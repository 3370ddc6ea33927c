"""A client: its request, who it is, and answers to it that are no streams."""

import json
import math
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias
from uuid import UUID

import anyio

from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.errors import shown
from sse_asgi.source.request import Request
from sse_asgi.wire.json_text import json_bytes

DRAIN_SIZE = 32 * 1024 * 1024
"""Bytes of a body too large that are read and dropped: a client reads no answer while it sends."""

READ_TIME = 60.0
"""Seconds that a body may take to come."""

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Client:
    """One request, and the way to answer it.

    Args:
        scope: Of the request.
        receive: Of the request.
        send: Of the request.
        max_body_size: The largest body, in bytes.
        headers: The user's header fields, for answers that are no streams.

    Attributes:
        scope: As given.
        receive: As given.
        headers: As given.
        request: The request.
        principal: Who asks, as `authorize` says.
        has_started: Whether anything has been sent.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, max_body_size: int, headers: Fields
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.headers = headers
        self.request: Request = Request(scope, max_body_size=max_body_size)
        self.principal: object | None = None
        self.has_started: bool = False
        self._send = send

    async def send(self, message: Message) -> None:
        """Send one message."""
        self.has_started = True
        await self._send(message)

    async def read_body(self) -> bool:
        """Have the request's body come; False if the client has left.

        Raises:
            InvalidRequestError: It is larger than `max_body_size`, or too slow.
        """
        request, size = self.request, 0
        limit = request.max_body_size
        with anyio.move_on_after(READ_TIME):
            while not request.complete and size < limit + DRAIN_SIZE:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    return False
                size += len(message.get("body", b""))
                request.feed(message)
        if size > limit:
            raise InvalidRequestError("body", f"The body is larger than {limit} bytes.", status=413)
        if not request.complete:
            raise InvalidRequestError("body", "The body has not come in time.", status=408)
        return True

    def check_sends_json(self) -> None:
        """Check that a page says that it sends JSON: for that, one of another site must ask first.

        What says another type, or none, a browser sends for any page (Fetch, 2.2.2). Programs,
        which send no `Origin`, may say what they like.

        Raises:
            InvalidRequestError: A page says something else.
        """
        headers = self.request.headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if "origin" in headers and kind != "application/json":
            message = "A page must send its 'content-type', which must be application/json."
            raise InvalidRequestError("content-type", message, status=415)

    @property
    def cursor(self) -> str:
        """The id of the last event that the client has seen, "" for none."""
        return self.request.headers.get("last-event-id", "")

    @property
    def owner(self) -> str | None:
        """The name of who asks; `None` where nobody is told from anybody else.

        `Live` keeps it with an answer, and other processes compare it. So it must not change from
        one request to the next.

        Raises:
            TypeError: `authorize` returned something that may change.
        """
        principal = self.principal
        if principal is None or principal is True:
            return None
        if isinstance(principal, (str, int, UUID)):
            return str(principal)
        raise TypeError(
            f"with live, authorize must return the user's id, a str, an int or a UUID, not "
            f"{shown(type(principal))}: an answer is kept under it; look up more in the generator"
        )

    def key_of(self, kind: str, name: str) -> str:
        """Return what the log calls something that this client names, by a text of any length.

        Args:
            kind: What it is, in letters.
            name: The client's name for it; the same name of another owner is another thing.
        """
        named = json.dumps([self.owner, name]).encode()
        return f"{kind}-{urlsafe_b64encode(sha256(named).digest()).decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole response: a status, a body, and header fields of its own."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    async def send(self, client: Client) -> None:
        """Send it, without its body to HEAD (RFC 9110, 9.3.2)."""
        own = {"cache-control": "no-store", **self.headers}
        if self.status != 204:
            own |= {"content-type": self.content_type, "content-length": str(len(self.body))}
        fields = [(name.encode(), value.encode("latin-1")) for name, value in own.items()]
        fields += [field for field in client.headers if field[0].decode() not in own]
        body = b"" if client.scope["method"] == "HEAD" else self.body
        await client.send({"type": "http.response.start", "status": self.status, "headers": fields})
        await client.send({"type": "http.response.body", "body": body})


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
