"""Watching one answer, for the span that is current and for the metrics."""

from collections.abc import Awaitable

from opentelemetry import trace

from sse_asgi.around import Answer
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.retrofit.headers import begins_event_stream
from sse_asgi.source.request import Request
from sse_asgi.stream.options import Options
from sse_asgi.stream.stream import Stream
from sse_asgi.stream.transcript import Transcript
from sse_asgi.telemetry.instruments import Attributes, Instruments, with_outcome
from sse_asgi.telemetry.names import NAMES
from sse_asgi.telemetry.span import tell, tell_of_viewer


class Watch:
    """Watches one answer."""

    __slots__ = ("_is_open", "_labels", "_metrics", "_options", "_send", "_size", "_span",
                 "_span_attributes", "_streams", "_transcript")  # fmt: skip

    def __init__(
        self,
        instruments: Instruments,
        labels: Attributes,
        span_attributes: Attributes,
        *,
        send: Send,
        options: Options,
        streams: bool = True,
    ) -> None:
        self._metrics = instruments
        self._options = options
        self._send = send
        self._labels = labels
        self._span_attributes = span_attributes
        self._streams = streams
        self._span = trace.get_current_span()
        self._size = 0
        self._is_open = False
        self._transcript: Transcript | None = None

    async def answer(self, answer: Answer, scope: Scope, receive: Receive) -> None:
        """Answer, and tell of it."""
        if scope["method"] == "HEAD":
            await answer(self._options, scope, receive, self._send)
            return
        self._labels = {**self._labels, **_route(scope)}
        heard = self._options.heard_by(self._source_ended).with_on_complete(self._completed)
        try:
            await answer(heard, scope, receive, self._pass_on)
        finally:
            self._end()

    def _pass_on(self, message: Message) -> Awaitable[None]:
        """Count what leaves; not a coroutine, for every chunk passes here."""
        if message["type"] == "http.response.body":
            self._size += len(message.get("body", b""))
        elif message["type"] == "http.response.start":
            self._begin(message)
        return self._send(message)

    def _begin(self, message: Message) -> None:
        if not self._streams:
            return
        if begins_event_stream(message):
            self._is_open = True
            self._metrics.active.add(1, self._labels)
        elif message["status"] == 429 and self._options.status != 429:
            self._metrics.refused.add(1, self._labels)

    def _source_ended(self, stream: Stream) -> None:
        """Tell the span what is known: an instrumentation ends it with the last message."""
        if self._span.is_recording():  # a transcript costs as much as its text
            self._tell_span(stream.transcript())

    def _completed(self, transcript: Transcript, request: Request) -> object:
        self._transcript = transcript
        if self._options.on_complete is None:
            return None
        return self._options.call_on_complete(transcript, request)

    def _end(self) -> None:
        if self._is_open:
            self._metrics.active.add(-1, self._labels)
        transcript, self._transcript = self._transcript, None
        if transcript is None:  # it was no stream
            return
        self._tell_span(transcript)
        self._record(transcript)

    def _tell_span(self, transcript: Transcript) -> None:
        tell(self._span, transcript, self._span_attributes)

    def _record(self, transcript: Transcript) -> None:
        if self._streams:
            labels = with_outcome(self._labels, transcript)
            self._metrics.record_stream(transcript, labels, self._size)
            self._metrics.record_text(transcript, labels)
        self._metrics.record_ai(transcript, self._labels)


class ViewerWatch(Watch):
    """Watches the response to one viewer of a generation, which has a watch of its own."""

    __slots__ = ()

    def _tell_span(self, transcript: Transcript) -> None:
        tell_of_viewer(self._span, transcript)

    def _record(self, transcript: Transcript) -> None:
        labels = with_outcome(self._labels, transcript)
        self._metrics.record_stream(transcript, labels, self._size)


def _route(scope: Scope) -> dict[str, str]:
    """Return the route's path where the framework tells it; a request's own has any value."""
    path = getattr(scope.get("route"), "path", None)
    return {NAMES["route"]: path} if isinstance(path, str) else {}
