"""Generations that outlive their viewers: durable, resumable, shared, stoppable."""

from sse_asgi.live.app import Live
from sse_asgi.live.errors import (
    GenerationInterruptedError,
    GenerationTooLargeError,
    RemoteSourceError,
    UnknownGenerationError,
)
from sse_asgi.live.generation import Generation
from sse_asgi.live.log import (
    FencedError,
    LeaseLostError,
    Log,
    LogError,
    LogUnavailableError,
)
from sse_asgi.live.memory import MemoryLog

__all__ = [
    "FencedError",
    "Generation",
    "GenerationInterruptedError",
    "GenerationTooLargeError",
    "LeaseLostError",
    "Live",
    "Log",
    "LogError",
    "LogUnavailableError",
    "MemoryLog",
    "RemoteSourceError",
    "UnknownGenerationError",
]
