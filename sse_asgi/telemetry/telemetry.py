"""Telemetry: what OpenTelemetry is told of each stream.

No span is made and no context is attached: the attributes go to the span that is current when the
request comes, the server span of an instrumentation for instance. Nothing of a payload is told.
"""

from collections.abc import Awaitable

from opentelemetry import metrics

from sse_asgi.around import Answer, Layer
from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.stream.options import Options
from sse_asgi.telemetry.generation import GenerationWatch
from sse_asgi.telemetry.instruments import Instruments
from sse_asgi.telemetry.names import NAMES
from sse_asgi.telemetry.watch import ViewerWatch, Watch


class Telemetry(Layer):
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

    option = "telemetry"
    kind = "Telemetry"

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
        self.metrics: Instruments = Instruments(meter_provider)
        self.model = model
        self.operation = operation
        self.provider = provider

    def described(self, model: str | None, operation: str | None) -> dict[str, str]:
        """Return the attributes that say what makes an answer, as far as it is known."""
        found = {
            NAMES["model"]: model,
            NAMES["operation"]: operation,
            NAMES["provider"]: self.provider,
        }
        return {name: value for name, value in found.items() if value is not None}

    def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Answer one request, and tell of it if it is a stream."""
        labels = self.described(self.model, self.operation)
        watch = Watch(self.metrics, labels, labels, send=send, options=options)
        return watch.answer(answer, scope, receive)

    def of_chat(self, model: str, *, is_known: bool, streams: bool) -> "TelemetryOfChat":
        """Return what tells of one answer of a chat app.

        Args:
            model: What the client names.
            is_known: It is one of the app's own. Any other is no attribute of a metric, for which
                few values are fit.
            streams: The answer is a stream.
        """
        return TelemetryOfChat(self, model, is_known=is_known, streams=streams)

    def of_viewers(self) -> "TelemetryOfViewers":
        """Return what tells of the responses to viewers of generations."""
        return TelemetryOfViewers(self.metrics)

    def of_generation(self) -> GenerationWatch:
        """Return what tells of one generation. Call it where that is started, for its span."""
        labels = self.described(self.model, self.operation)
        return GenerationWatch(self.metrics, labels, labels)

    def count_refusal(self) -> None:
        """Count a request that got no stream for want of a place."""
        self.metrics.refused.add(1)

    def count_interrupted(self) -> None:
        """Count a generation whose process was found dead."""
        self.metrics.interrupted.add(1)


class TelemetryOfChat(Layer):
    """Tells of one answer of a chat app."""

    option = "telemetry"
    kind = "Telemetry"

    def __init__(self, telemetry: Telemetry, model: str, *, is_known: bool, streams: bool) -> None:
        self._metrics = telemetry.metrics
        operation = telemetry.operation or "chat"
        self._span = telemetry.described(telemetry.model or model, operation)
        known = telemetry.model or (model if is_known else None)
        self._labels = telemetry.described(known, operation)
        self._streams = streams

    def of_generation(self) -> GenerationWatch:
        """Return what tells of the answer if it is a generation; as that of `Telemetry`."""
        return GenerationWatch(self._metrics, self._labels, self._span)

    def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Answer the request, and tell of it."""
        watch = Watch(
            self._metrics,
            self._labels,
            self._span,
            send=send,
            options=options,
            streams=self._streams,
        )
        return watch.answer(answer, scope, receive)


class TelemetryOfViewers(Layer):
    """Tells of the responses to viewers of generations."""

    option = "telemetry"
    kind = "Telemetry"

    def __init__(self, instruments: Instruments) -> None:
        self._metrics = instruments

    def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Answer one request, and tell of it if it is a stream."""
        watch = ViewerWatch(self._metrics, {}, {}, send=send, options=options)
        return watch.answer(answer, scope, receive)


def _check(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        what = type(value).__qualname__
        raise TypeError(f"{name} must be a {kind.__name__} or None, not {value!r} ({what})")
