"""Readiness: what the probes of a load balancer are told, from the signal on."""

from collections.abc import Callable
from typing import Final

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.host.host import current_host

_READY: Final = 200, b"ready\n"
_STOPPING: Final = 503, b"stopping\n"


class Readiness:
    """An ASGI application for probes: 200, and 503 from the moment the server is told to stop."""

    def __init__(self, has_to_stop: Callable[[object], bool]) -> None:
        self._has_to_stop = has_to_stop  # whether the server of an event loop has been told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer one probe.

        Raises:
            ValueError: The scope is not one of HTTP.
        """
        if scope["type"] != "http":
            raise ValueError("Shutdown.ready answers HTTP alone: mount it, or route a path to it")
        status, body = _STOPPING if self._has_to_stop(current_host().loop) else _READY
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        is_head = scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if is_head else body})
