"""The instruments of OpenTelemetry's metrics."""

from collections.abc import Mapping
from typing import Final

from opentelemetry import metrics

from sse_asgi.stream.transcript import Transcript
from sse_asgi.telemetry.names import BUCKETS, NAMES, TOKEN_BUCKETS
from sse_asgi.wire.outcome import Outcome

Attributes = Mapping[str, str]

ERRORS: Final = (Outcome.FAILED, Outcome.TIMED_OUT)
"""What is an error. A client that leaves is none, nor is a server that stops."""


class Instruments:
    """The instruments of one `Telemetry`."""

    active: metrics.UpDownCounter
    duration: metrics.Histogram
    first: metrics.Histogram
    chunks: metrics.Counter
    bytes: metrics.Counter
    refused: metrics.Counter
    generations: metrics.UpDownCounter
    generation_duration: metrics.Histogram
    interrupted: metrics.Counter
    tokens: metrics.Counter
    ai_duration: metrics.Histogram
    ai_first: metrics.Histogram
    ai_per_token: metrics.Histogram

    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = metrics.get_meter("sse_asgi", meter_provider=provider)

        def seconds(name: str, what: str, buckets: tuple[float, ...]) -> metrics.Histogram:
            return meter.create_histogram(
                NAMES[name], "s", what, explicit_bucket_boundaries_advisory=buckets
            )

        self.active = meter.create_up_down_counter(
            NAMES["active"], "{stream}", "Streams that are open."
        )
        self.duration = seconds("duration", "From the request to the last byte.", BUCKETS)
        self.first = seconds("first", "From the request to the first text.", BUCKETS)
        self.chunks = meter.create_counter(NAMES["chunks"], "{chunk}", "Text chunks produced.")
        self.bytes = meter.create_counter(NAMES["bytes"], "By", "Bytes of bodies sent.")
        self.refused = meter.create_counter(
            NAMES["refused"], "{request}", "Requests that were refused for want of a place."
        )
        self.generations = meter.create_up_down_counter(
            NAMES["generations"], "{generation}", "Generations that run."
        )
        self.generation_duration = seconds(
            "generation_duration", "From the start of a generation to its end.", BUCKETS
        )
        self.interrupted = meter.create_counter(
            NAMES["interrupted"], "{generation}", "Generations whose process was found dead."
        )
        self.tokens = meter.create_counter(NAMES["tokens"], "{token}", "Tokens, as sources say.")
        self.ai_duration = seconds("ai_duration", "From the request to the last byte.", BUCKETS)
        self.ai_first = seconds("ai_first", "From the request to the first text.", BUCKETS)
        self.ai_per_token = seconds(
            "ai_per_token", "From one token to the next, in the mean.", TOKEN_BUCKETS
        )

    def record_stream(self, transcript: Transcript, labels: Attributes, size: int) -> None:
        """Record one response that has ended, by its labels with the outcome."""
        self.duration.record(transcript.duration, labels)
        self.bytes.add(size, labels)

    def record_text(self, transcript: Transcript, labels: Attributes) -> None:
        """Record what one source has given, by its labels with the outcome."""
        if transcript.time_to_first_chunk is not None:
            self.first.record(transcript.time_to_first_chunk, labels)
        self.chunks.add(transcript.chunks, labels)

    def record_generation(self, transcript: Transcript, labels: Attributes) -> None:
        """Record one generation that has ended, by its labels with the outcome."""
        self.generation_duration.record(transcript.duration, labels)
        self.record_text(transcript, labels)

    def record_ai(self, transcript: Transcript, labels: Attributes) -> None:
        """Record one answer of a model, as OpenTelemetry's conventions have it.

        Nothing without an operation: then nobody has said that there is a model.
        """
        if NAMES["operation"] not in labels:
            return
        labels = {**labels, **error_type(transcript)}
        self.ai_duration.record(transcript.duration, labels)
        first, usage = transcript.time_to_first_chunk, transcript.usage
        if first is not None:
            self.ai_first.record(first, labels)
        if usage is None:
            return
        for kind, number in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if number is not None:
                self.tokens.add(number, {**labels, NAMES["token_type"]: kind})
        if first is not None and usage.output_tokens is not None and usage.output_tokens > 1:
            rest = transcript.duration - first
            self.ai_per_token.record(rest / (usage.output_tokens - 1), labels)


def with_outcome(labels: Attributes, transcript: Transcript) -> Attributes:
    """Return labels with that of the outcome."""
    return {**labels, NAMES["outcome"]: str(transcript.outcome)}


def error_type(transcript: Transcript) -> dict[str, str]:
    """Return the attribute that says what failed a stream, none if nothing did."""
    if transcript.outcome not in ERRORS:
        return {}
    error = transcript.error
    return {NAMES["error"]: str(transcript.outcome) if error is None else type(error).__qualname__}
