"""Watching one answer, or one generation, for the span that is current and for the metrics.

A span is told attributes, and whether it is an error; nothing of a payload.
"""

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from opentelemetry import trace

from sse_asgi.around import Answer, Attendant
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.headers import begins_event_stream
from sse_asgi.source.request import Request
from sse_asgi.stream.options import Options
from sse_asgi.stream.stream import Stream
from sse_asgi.stream.transcript import Transcript
from sse_asgi.telemetry.instruments import ERRORS, Attributes, Instruments, error_type, with_outcome
from sse_asgi.telemetry.names import NAMES


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
        _tell(self._span, transcript, self._span_attributes)

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
        _tell_of_viewer(self._span, transcript)

    def _record(self, transcript: Transcript) -> None:
        labels = with_outcome(self._labels, transcript)
        self._metrics.record_stream(transcript, labels, self._size)


class GenerationWatch(Attendant):
    """Watches one generation of `Live`, in the process that runs it, whoever views it.

    Make it where the generation is started: its span is told, too. That span has mostly
    ended before the generation if the client that started it has left.
    """

    def __init__(
        self, instruments: Instruments, labels: Attributes, span_attributes: Attributes
    ) -> None:
        self._metrics = instruments
        self._labels = labels
        self._span_attributes = span_attributes
        self._span = trace.get_current_span()
        self._runs = False
        self._options: Options

    def attending(self, options: Options) -> Options:
        """Return the options of the generation, with hooks that tell of it."""
        self._options = options
        return options.heard_by(self._source_ended).with_on_complete(self._completed)

    def begun(self) -> None:
        """Count the generation."""
        self._runs = True
        self._metrics.generations.add(1, self._labels)

    def over(self) -> None:
        """Count it no longer."""
        if self._runs:
            self._metrics.generations.add(-1, self._labels)

    def _source_ended(self, stream: Stream) -> None:
        """Tell the span before the viewer gets the last event: then it may end."""
        if self._span.is_recording():  # a transcript costs as much as its text
            self._tell(stream.transcript())

    def _completed(self, transcript: Transcript, request: Request) -> object:
        self._tell(transcript)
        self._metrics.record_generation(transcript, with_outcome(self._labels, transcript))
        self._metrics.record_ai(transcript, self._labels)
        if self._options.on_complete is None:
            return None
        return self._options.call_on_complete(transcript, request)

    def _tell(self, transcript: Transcript) -> None:
        _tell(self._span, transcript, self._span_attributes, outcome="generation_outcome")


def _route(scope: Scope) -> dict[str, str]:
    """Return the route's path where the framework tells it; a request's own has any value."""
    path = getattr(scope.get("route"), "path", None)
    return {NAMES["route"]: path} if isinstance(path, str) else {}


def _tell(
    span: trace.Span, transcript: Transcript, attributes: Attributes, *, outcome: str = "outcome"
) -> None:
    """Tell a span of a source that it has seen.

    Args:
        span: The span; one that has ended is told nothing.
        transcript: What the source has given.
        attributes: More attributes.
        outcome: The key in `NAMES` of the attribute for the outcome.
    """
    if not span.is_recording():
        return
    span.set_attributes(
        {
            **attributes,
            NAMES[outcome]: str(transcript.outcome),
            NAMES["span_chunks"]: transcript.chunks,
            **_of_model(transcript, is_ai=NAMES["operation"] in attributes),
            **error_type(transcript),
        }
    )
    if transcript.time_to_first_chunk is not None:
        span.set_attribute(NAMES["span_first"], transcript.time_to_first_chunk)
    _tell_status(span, transcript)


def _tell_of_viewer(span: trace.Span, transcript: Transcript) -> None:
    """Tell a span of a viewer. What its source has given is the generation's to tell."""
    if not span.is_recording():
        return
    if transcript.error is not None and transcript.error.__cause__ is not None:
        # What failed the generation is the cause of what its viewer's response raises.
        transcript = replace(transcript, error=transcript.error.__cause__)
    span.set_attributes({NAMES["outcome"]: str(transcript.outcome), **error_type(transcript)})
    _tell_status(span, transcript)


def _tell_status(span: trace.Span, transcript: Transcript) -> None:
    if transcript.outcome in ERRORS:
        span.set_status(trace.StatusCode.ERROR)


def _of_model(transcript: Transcript, *, is_ai: bool) -> dict[str, Any]:
    usage, reason = transcript.usage, transcript.finish_reason
    found = {
        NAMES["input_tokens"]: None if usage is None else usage.input_tokens,
        NAMES["output_tokens"]: None if usage is None else usage.output_tokens,
        NAMES["finish_reasons"]: None if reason is None else [reason],
        NAMES["ai_span_first"]: transcript.time_to_first_chunk if is_ai else None,
    }
    return {name: value for name, value in found.items() if value is not None}
