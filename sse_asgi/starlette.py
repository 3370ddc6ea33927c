"""EventStreamResponse: an event stream as a response of Starlette and FastAPI."""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, Final

try:
    from starlette.background import BackgroundTask
    from starlette.responses import Response
except ImportError:
    raise ImportError(
        "sse_asgi.starlette needs Starlette: pip install starlette, or use "
        "sse_asgi.EventStream, which needs no framework"
    ) from None

from sse_asgi.app import EventStream
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.source.source import Source

_OPTIONS: Final = list(inspect.signature(EventStream).parameters)[1:]
_ABSENT: Final[Any] = object()


class EventStreamResponse(Response):
    """Return a source as an event stream from an endpoint of Starlette or FastAPI.

    Unlike a plain ASGI app, FastAPI passes it on as it is, and shows `text/event-stream` in its
    OpenAPI document where it is the endpoint's `response_class`. A callable source is called
    with a `Request` of sse_asgi when the response starts. If the endpoint has read the request's
    body, or declares it as a parameter, that `Request` has none: let the source close over what
    it needs instead, as in `EventStreamResponse(answer(body.prompt))`. Return the response. An
    endpoint that yields is refused: FastAPI would step it and, at a disconnect, not close it.

    Args:
        source: What `EventStream` takes as its source.
        status_code: Starlette's name for `status`; FastAPI reads its default here.
        background: A `starlette.background.BackgroundTask`, run when the stream has ended.
        **options: What `EventStream` takes as options.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        source: Source = _ABSENT,
        *,
        status_code: int = 200,
        background: BackgroundTask | None = None,
        **options: Any,  # noqa: ANN401 - EventStream checks each of them
    ) -> None:
        _check_names(options)
        if source is _ABSENT:
            raise TypeError("EventStreamResponse needs a source: pass an iterable of strings")
        if "status" in options and status_code != 200:
            raise TypeError(
                f"EventStreamResponse got status={options['status']!r} and {status_code=!r}, which "
                "are the same option: give one of them"
            )
        options.setdefault("status", status_code)
        self._stream = EventStream(source, **options)
        # What Starlette's own constructor sets. Whoever has the response may still change the
        # status and headers, as FastAPI does for its dependencies.
        self.status_code: int = self._stream.options.status
        self.raw_headers: list[tuple[bytes, bytes]] = list(self._stream.options.headers)
        self.background = background
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification."""
        if scope["type"] == "websocket":
            await self._deny(scope, send)
            return
        options = self._stream.options
        if (self.status_code, self.raw_headers) != (options.status, list(options.headers)):
            headers = tuple(self.raw_headers)
            self._stream.options = options.with_start(self.status_code, headers)
        if options.prefetch:
            await self._answer_always(scope, receive, send)
        else:
            await self._stream(scope, receive, send)
        if self.background is not None:
            await self.background()

    async def _deny(self, scope: Scope, send: Send) -> None:
        """Refuse a WebSocket with the status and headers alone: a refusal is no stream."""
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        start = {"status": self.status_code, "headers": list(self.raw_headers)}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})

    async def _answer_always(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start the response also if its client leaves before the first chunk.

        `BaseHTTPMiddleware` takes what starts none for broken, and raises. Servers drop it.
        """
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        await self._stream(scope, receive, noting_start)
        if not started:
            with suppress(OSError):
                await send(self._stream.options.start_message())


def _check_names(options: Mapping[str, Any]) -> None:
    # What users of other responses write, and what FastAPI passes for an endpoint that yields.
    if "content" in options:
        raise TypeError(
            "EventStreamResponse has no option content: pass the source first, by position. If it "
            "is the response_class of a FastAPI endpoint that yields, move the yields to a "
            "function of their own, and return EventStreamResponse(function())"
        )
    if "media_type" in options:
        raise TypeError(
            f"EventStreamResponse has no option media_type, as {options['media_type']!r}: it is "
            "text/event-stream always; leave it out, or set the header 'content-type'"
        )
    for name in options:
        if name not in _OPTIONS:
            near = ["heartbeat"] if name == "ping" else get_close_matches(name, _OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_OPTIONS)}"
            raise TypeError(f"EventStreamResponse has no option {name}; {hint}")
