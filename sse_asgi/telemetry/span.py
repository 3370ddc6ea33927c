"""What a span is told: attributes, and whether it is an error. Nothing of a payload."""

from dataclasses import replace
from typing import Any

from opentelemetry import trace

from sse_asgi.stream.transcript import Transcript
from sse_asgi.telemetry.instruments import ERRORS, Attributes, error_type
from sse_asgi.telemetry.names import NAMES


def tell(
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


def tell_of_viewer(span: trace.Span, transcript: Transcript) -> None:
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
