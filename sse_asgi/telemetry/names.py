"""The names of what telemetry tells, in one place: those of `gen_ai` are still being renamed."""

from types import MappingProxyType
from typing import Final

NAMES: Final = MappingProxyType(
    {
        # metrics
        "active": "sse.server.active_streams",
        "duration": "sse.server.stream.duration",
        "first": "sse.server.time_to_first_chunk",
        "chunks": "sse.server.chunks",
        "bytes": "sse.server.bytes",
        "refused": "sse.server.refused",
        "tokens": "sse.server.tokens",
        # metrics of the generations of `Live`, which outlast their viewers
        "generations": "sse.server.active_generations",
        "generation_duration": "sse.server.generation.duration",
        "interrupted": "sse.server.interrupted_generations",
        # metrics of the GenAI conventions, in development
        "ai_duration": "gen_ai.server.request.duration",
        "ai_first": "gen_ai.server.time_to_first_token",
        "ai_per_token": "gen_ai.server.time_per_output_token",
        # attributes
        "outcome": "sse.outcome",
        "span_chunks": "sse.chunks",
        "span_first": "sse.time_to_first_chunk",
        "generation_outcome": "sse.generation.outcome",
        "error": "error.type",
        "route": "http.route",
        # attributes of the GenAI conventions, in development
        "model": "gen_ai.request.model",
        "operation": "gen_ai.operation.name",
        "provider": "gen_ai.provider.name",
        "input_tokens": "gen_ai.usage.input_tokens",
        "output_tokens": "gen_ai.usage.output_tokens",
        "finish_reasons": "gen_ai.response.finish_reasons",
        "ai_span_first": "gen_ai.response.time_to_first_chunk",
        "token_type": "gen_ai.token.type",
    }
)

BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds. An answer takes longer than the 10 s at which HTTP's histograms end."""

TOKEN_BUCKETS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""Seconds from one token to the next, as the GenAI conventions advise."""
