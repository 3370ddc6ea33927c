"""EventStreamResponse: an event stream as a response of Starlette and FastAPI."""

from dataclasses import replace
from typing import Any

try:
    from starlette.background import BackgroundTask
    from starlette.responses import Response
except ImportError:
    raise ImportError(
        "sse_asgi.starlette needs Starlette: pip install starlette, or use "
        "sse_asgi.EventStream, which needs no framework"
    ) from None

from sse_asgi.app import EventStream
from sse_asgi.stream.asgi import Receive, Scope, Send
from sse_asgi.stream.source import Source


class EventStreamResponse(Response):
    """Return a source as an event stream from an endpoint of Starlette or FastAPI.

    Unlike a plain ASGI app, FastAPI passes it on as it is, and shows `text/event-stream` in its
    OpenAPI document where it is the endpoint's `response_class`. A callable source is called
    with a `Request` of sse_asgi when the response starts. If the endpoint has read the request's
    body, or declares it as a parameter, that `Request` has none: let the source close over what
    it needs instead, as in `EventStreamResponse(answer(body.prompt))`. Return the response; an
    endpoint that yields is FastAPI's own kind of stream.

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
        source: Source,
        *,
        status_code: int = 200,
        background: BackgroundTask | None = None,
        **options: Any,  # noqa: ANN401 - EventStream checks each of them
    ) -> None:
        options.setdefault("status", status_code)
        self._stream = EventStream(source, **options)
        # What Starlette's own constructor sets. Whoever has the response may still change the
        # status and headers, as FastAPI does for its dependencies.
        self.status_code = self._stream.options.status
        self.raw_headers = list(self._stream.options.headers)
        self.background = background
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification."""
        self._stream.options = replace(
            self._stream.options, status=self.status_code, headers=tuple(self.raw_headers)
        )
        await self._stream(scope, receive, send)
        if self.background is not None:
            await self.background()
