"""Telemetry: what OpenTelemetry is told of each stream.

No span is made and no context is attached: the attributes go to the span that is current when the
request comes, the server span of an instrumentation for instance. Nothing of a payload is told.
"""

from collections.abc import Awaitable

from opentelemetry import metrics

from sse_asgi.around import Answer, Layer
from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.stream.options import Options
from sse_asgi.telemetry.instruments import Attributes, Instruments
from sse_asgi.telemetry.names import NAMES
from sse_asgi.telemetry.watch import GenerationWatch, ViewerWatch, Watch


class Watching(Layer):
    """Tells of answers of one kind, each with a `Watch`.

    Args:
        instruments: The metrics.
        labels: Attributes of the metrics.
        span_attributes: Attributes of the spans.
        watch: What watches one answer.
        streams: The answers are streams.
    """

    option = "telemetry"
    kind = "Telemetry"

    def __init__(
        self,
        instruments: Instruments,
        labels: Attributes,
        span_attributes: Attributes,
        *,
        watch: type[Watch] = Watch,
        streams: bool = True,
    ) -> None:
        self._metrics = instruments
        self._labels = labels
        self._span_attributes = span_attributes
        self._watch = watch
        self._streams = streams

    def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Answer one request, and tell of it."""
        watch = self._watch(
            self._metrics,
            self._labels,
            self._span_attributes,
            send=send,
            options=options,
            streams=self._streams,
        )
        return watch.answer(answer, scope, receive)

    def of_generation(self) -> GenerationWatch:
        """Return what tells of one generation. Call it where that is started, for its span."""
        return GenerationWatch(self._metrics, self._labels, self._span_attributes)


class Telemetry(Watching):
    """Tell OpenTelemetry of each stream: attributes of the current span, and metrics.

    One object serves any number of apps. The names of all it tells are in the reference.

    Args:
        meter_provider: Where the metrics go; `None` for the global one.
        model: The model's name, for the `gen_ai` metrics and attributes; a `ChatApp` knows it.
        operation: What the model does, "chat" for instance, likewise. Without it there are no
            `gen_ai` metrics.
        provider: Who makes the model, "openai" or "anthropic" for instance, or your own name.
            OpenTelemetry's conventions demand it where there is an operation.

    Raises:
        TypeError: An argument has a wrong type.
    """

    def __init__(
        self,
        *,
        meter_provider: metrics.MeterProvider | None = None,
        model: str | None = None,
        operation: str | None = None,
        provider: str | None = None,
    ) -> None:
        _check("meter_provider", meter_provider, metrics.MeterProvider)
        _check("model", model, str)
        _check("operation", operation, str)
        _check("provider", provider, str)
        self._model = model
        self._operation = operation
        self._provider = provider
        labels = self._described(model, operation)
        super().__init__(Instruments(meter_provider), labels, labels)

    def of_chat(self, model: str, *, is_known: bool, streams: bool) -> Watching:
        """Return what tells of one answer of a chat app.

        Args:
            model: What the client names.
            is_known: It is one of the app's own. Any other is no attribute of a metric, for which
                few values are fit.
            streams: The answer is a stream.
        """
        operation = self._operation or "chat"
        labels = self._described(self._model or (model if is_known else None), operation)
        span_attributes = self._described(self._model or model, operation)
        return Watching(self._metrics, labels, span_attributes, streams=streams)

    def of_viewers(self) -> Watching:
        """Return what tells of the responses to viewers of generations."""
        return Watching(self._metrics, {}, {}, watch=ViewerWatch)

    def count_refusal(self) -> None:
        """Count a request that got no stream for want of a place."""
        self._metrics.refused.add(1)

    def count_interrupted(self) -> None:
        """Count a generation whose process was found dead."""
        self._metrics.interrupted.add(1)

    def _described(self, model: str | None, operation: str | None) -> dict[str, str]:
        """Return the attributes that say what makes an answer, as far as it is known."""
        found = {
            NAMES["model"]: model,
            NAMES["operation"]: operation,
            NAMES["provider"]: self._provider,
        }
        return {name: value for name, value in found.items() if value is not None}


def _check(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        what = type(value).__qualname__
        raise TypeError(f"{name} must be a {kind.__name__} or None, not {value!r} ({what})")
