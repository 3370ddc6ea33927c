"""Watching one generation of `Live`, in the process that runs it, whoever views it."""

from opentelemetry import trace

from sse_asgi.around import Attendant
from sse_asgi.source.request import Request
from sse_asgi.stream.options import Options
from sse_asgi.stream.stream import Stream
from sse_asgi.stream.transcript import Transcript
from sse_asgi.telemetry.instruments import Attributes, Instruments, with_outcome
from sse_asgi.telemetry.span import tell


class GenerationWatch(Attendant):
    """Watches one generation. Make it where the generation is started: its span is told, too.

    That span has mostly ended before the generation if the client that started it has left.
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
        tell(self._span, transcript, self._span_attributes, outcome="generation_outcome")
