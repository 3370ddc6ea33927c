"""EventStream: a source as an ASGI application."""

from collections.abc import Awaitable
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING

from sse_asgi.around import Layer, check_layer, enclosed
from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.headers import HeadersInput, make_headers
from sse_asgi.other_scopes import answer_other
from sse_asgi.shutdown.shutdown import DEFAULT, Shutdown
from sse_asgi.source.context import ContextOpener
from sse_asgi.source.request import Request
from sse_asgi.source.source import Source, SourceOpener
from sse_asgi.stream.failure import DescribeError
from sse_asgi.stream.options import OnChunk, OnComplete, Options
from sse_asgi.stream.response import Response
from sse_asgi.wire.framing import Framing, TextFraming, check_framing

if TYPE_CHECKING:  # who uses one of these imports it; nobody else has to
    from sse_asgi.limits import Limits
    from sse_asgi.telemetry import Telemetry


class EventStream:
    """Serve a source of strings as an event stream: a raw ASGI application.

    Mount it, return it or serve it: in any ASGI framework, on any ASGI server, under asyncio
    or trio. It answers every path and every method of HTTP with the stream, OPTIONS too; so let
    your routes refuse what they do not serve. HEAD gets the headers alone, and does not call the
    source. It completes the lifespan protocol and refuses WebSockets.

    Args:
        source: An async iterable of chunks; or a sync one, which gets a thread of its own; or
            a callable, sync or async, that takes one `Request` and returns either, called
            anew for each request, in the event loop. A chunk is a `str`. `None` is skipped. A
            `ServerSentEvent` goes out as it is and is no part of the text; give it an event type,
            because clients take an event without one for text.
        framing: How text becomes events, and what ends the stream.
        on_chunk: Called with every text chunk before it is sent, sync or async. If it raises,
            the stream fails as if the source had.
        on_complete: Called with the `Transcript` when the last byte is sent, sync or async:
            exactly once for every stream that began, shielded from cancellation. One that takes
            two arguments gets the `Request`, too; so does `on_chunk`.
        status: The status of the response; browsers accept 200 only.
        headers: More header fields; one of these replaces the default of its name.
        heartbeat: Seconds of silence after which a comment shows that the stream is alive;
            `None` for never. Proxies cut silent connections after 30 to 60 s.
        send_timeout: Seconds that a client may take to accept one message; `None` for ever.
        cleanup_timeout: Seconds that the source may take to end once it is stopped.
        prefetch: Wait for the first chunk before the response starts; for so many seconds at most,
            if it is a number. A failure until then reaches the framework as the exception itself,
            for it to answer.
        record: Keep the text for the transcript. Turn it off for endless streams.
        max_body_size: The largest request body, in bytes, that a source may read.
        shutdown: What happens when the server stops; `None` for nothing.
        describe_error: Called with the exception that failed the stream; returns the message for
            the client. Without it the client is told only that the stream failed.
        context: What the source sees as its context variables, in a copy for each response, such
            as `contextvars.copy_context()` in an endpoint; `None` for the server's.
        coalesce: Seconds for which text is gathered: what comes within them leaves as one event.
            The first chunk never waits, nor does anything but text; `None` for no wait at all.
        limits: How many streams may be open at once; a request above that is answered with 429.
        compress: Content codings for clients that take them, "zstd" and "gzip", the preferred one
            first; every message is flushed. Empty for none.
        telemetry: What OpenTelemetry is told of each stream; `None` for nothing.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        source: Source,
        *,
        framing: Framing = TextFraming(),  # noqa: B008 - immutable
        on_chunk: OnChunk | None = None,
        on_complete: OnComplete | None = None,
        status: int = 200,
        headers: HeadersInput | None = None,
        heartbeat: float | None = 15.0,
        send_timeout: float | None = 30.0,
        cleanup_timeout: float = 5.0,
        prefetch: bool | float = False,
        record: bool = True,
        max_body_size: int = 1_048_576,
        shutdown: Shutdown | None = DEFAULT,
        describe_error: DescribeError | None = None,
        context: Context | None = None,
        coalesce: float | None = None,
        limits: "Limits | None" = None,
        compress: tuple[str, ...] = (),
        telemetry: "Telemetry | None" = None,
    ) -> None:
        framing = check_framing(framing)
        check_layer("limits", limits, "Limits")
        check_layer("telemetry", telemetry, "Telemetry")
        compression = compression_of(compress, framing, headers) if compress != () else None
        layers = (telemetry, limits, compression)
        self._layers = tuple(layer for layer in layers if layer is not None)
        self.__name__: str = getattr(source, "__name__", type(self).__name__)  # routers ask for it
        self._opener = SourceOpener(source) if context is None else ContextOpener(source, context)
        self.options: Options = Options(
            framing=framing,
            on_chunk=on_chunk,
            on_complete=on_complete,
            status=status,
            headers=make_headers(headers, framing.headers),
            heartbeat=heartbeat,
            send_timeout=send_timeout,
            cleanup_timeout=cleanup_timeout,
            prefetch=prefetch,
            record=record,
            max_body_size=max_body_size,
            shutdown=shutdown,
            describe_error=describe_error,
            coalesce=coalesce,
        )
        self._response = Response if coalesce is None else _coalescing_response()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification.

        Raises:
            SourceSpentError: The source is an iterator and has served its one response.
            Exception: With `prefetch`, what failed the stream before its response started. A later
                failure is logged, and given to `on_complete`.
        """
        if scope["type"] == "http":
            if self._layers:
                await enclosed(self._answer, self._layers)(self.options, scope, receive, send)
            else:
                await self._answer(self.options, scope, receive, send)
        else:
            await answer_other(scope, receive, send)

    def _answer(
        self, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        if scope["method"] == "HEAD":
            return self._answer_head(send)
        self._opener.claim()
        request = Request(scope, max_body_size=options.max_body_size)
        return self._response(self._opener, options, request, receive, send).answer()

    async def _answer_head(self, send: Send) -> None:
        """Send what GET would say, without its body (RFC 9110, 9.3.2)."""
        with suppress(OSError):  # the client has left
            await send(self.options.start_message())
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def compression_of(
    compress: object, framing: Framing, headers: HeadersInput | None = None
) -> Layer | None:
    """Return what compresses the streams of an app, `None` where that gains nothing.

    Raises:
        TypeError: `compress` is no tuple of names.
        ValueError: `compress` has another name, or `headers` forbid to compress.
        ImportError: There is no zstd here.
    """
    from sse_asgi import compression  # noqa: PLC0415 - only if used

    if isinstance(compress, compression.Compression):
        return compress
    codings = compression.check_compress(compress, headers)
    useful = compression.codings_for(codings, framing)
    return compression.Compression(useful) if useful else None


def _coalescing_response() -> type[Response]:
    from sse_asgi.coalescing import CoalescingResponse  # noqa: PLC0415 - only if used

    return CoalescingResponse
