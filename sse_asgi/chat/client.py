"""A client: one request, by ASGI, that is answered with a stream or an object."""

from dataclasses import dataclass

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.source.request import Request


@dataclass(frozen=True, slots=True)
class Client:
    """Hold one request."""

    scope: Scope
    receive: Receive
    send: Send

    @property
    def cursor(self) -> str:
        """The id of the last event that the client has seen, "" for none."""
        return Request(self.scope).headers.get("last-event-id", "")
