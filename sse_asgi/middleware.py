"""EventStreamMiddleware: what event streams need, for an app that streams already."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from sse_asgi.around import check_codings, check_layer, enclosed
from sse_asgi.asgi import ASGIApp, Receive, Scope, Send
from sse_asgi.headers import completing_headers
from sse_asgi.retrofit.wrapped_response import WrappedResponse
from sse_asgi.shutdown.shutdown import DEFAULT, Shutdown
from sse_asgi.stream.failure import DescribeError
from sse_asgi.stream.options import OnChunk, OnComplete, Options
from sse_asgi.wire.framing import Framing, TextFraming

if TYPE_CHECKING:  # who uses one of these imports it; nobody else has to
    from sse_asgi.compression import Compression
    from sse_asgi.limits import Limits
    from sse_asgi.telemetry import Telemetry


class EventStreamMiddleware:
    """Take care of every `text/event-stream` response of an ASGI app, whatever makes it.

    Such a response gets the headers that proxies need, keep-alives in silence, a deadline for
    each message, an orderly end when the server stops, an `error` event where the endpoint
    raises in mid-stream, and the hooks. Its events pass at once and byte for byte. A
    `cache-control` that the endpoint set gains `no-transform`; `connection` and
    `content-length` are dropped. Other responses pass untouched.

    When the stream has to end early, the app is told that its client has left. If it does not
    listen for that, its task is cancelled, once.

    A compressed stream (`content-encoding`) is neither read nor added to: put this middleware
    inside of the one that compresses.

    Args:
        app: The application.
        framing: How its events carry text, for the hooks and for refusals of `limits`.
        on_chunk: Called with the text of every event before it is passed on, sync or async. If
            it raises, the stream fails as if the endpoint had.
        on_complete: Called with the `Transcript` after the last byte, sync or async: exactly
            once for every event stream, shielded from cancellation.
        heartbeat: Seconds of silence after which a comment shows that the stream is alive;
            `None` for never. Proxies cut silent connections after 30 to 60 s.
        send_timeout: Seconds that a client may take to accept one message; `None` for ever.
        cleanup_timeout: Seconds that the app may take to end once it is stopped.
        record: Keep the text for the transcript. Turn it off for endless streams.
        shutdown: What happens when the server stops; `None` for nothing.
        describe_error: Called with the exception that failed the stream; returns the message for
            the client. Without it the client is told only that the stream failed.
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
        app: ASGIApp,
        *,
        framing: Framing = TextFraming(),  # noqa: B008 - immutable
        on_chunk: OnChunk | None = None,
        on_complete: OnComplete | None = None,
        heartbeat: float | None = 15.0,
        send_timeout: float | None = 30.0,
        cleanup_timeout: float = 5.0,
        record: bool = True,
        shutdown: Shutdown | None = DEFAULT,
        describe_error: DescribeError | None = None,
        limits: "Limits | None" = None,
        compress: tuple[str, ...] = (),
        telemetry: "Telemetry | None" = None,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be an ASGI application, not {app!r}")
        check_layer("limits", limits, "Limits")
        check_layer("telemetry", telemetry, "Telemetry")
        self.app = app
        self._guarded = app if limits is None else limits.around(app, framing)
        compression = _compression_of(compress) if compress != () else None
        if compression is not None:
            self._guarded = compression.around(self._guarded)
        layers = (telemetry, compression)
        self._layers = tuple(layer for layer in layers if layer is not None)
        self._options = Options(
            framing=framing,
            on_chunk=on_chunk,
            on_complete=on_complete,
            heartbeat=heartbeat,
            send_timeout=send_timeout,
            cleanup_timeout=cleanup_timeout,
            record=record,
            shutdown=shutdown,
            describe_error=describe_error,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer one connection.

        Raises:
            Exception: What the app raised before its response started, or after it had ended. What
                it raises in mid-stream is logged, and given to `on_complete`.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] == "HEAD":  # it says what GET would say (RFC 9110, 9.3.2)
            answer = (
                enclosed(self._answer_head, self._layers) if self._layers else self._answer_head
            )
            await answer(self._options, scope, receive, send)
        else:
            answer = enclosed(self._answer, self._layers) if self._layers else self._answer
            await answer(self._options, scope, receive, send)

    def _answer_head(
        self, _: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        return self.app(scope, receive, completing_headers(send))

    def _answer(
        self, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        return WrappedResponse(self._guarded, options, scope, receive, send).answer()


def _compression_of(compress: tuple[str, ...]) -> "Compression":
    from sse_asgi.compression import Compression  # noqa: PLC0415 - only if used

    check_codings(compress)
    return Compression(compress, wraps=True)
