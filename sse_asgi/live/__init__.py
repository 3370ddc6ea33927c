"""Generations that outlive their viewers: durable, resumable, shared, stoppable."""

from sse_asgi.errors import (
    FencedError,
    GenerationInterruptedError,
    GenerationTooLargeError,
    LeaseLostError,
    LogError,
    LogRefusedError,
    LogUnavailableError,
    RemoteSourceError,
    UnknownGenerationError,
)
from sse_asgi.live.generation import Generation
from sse_asgi.live.live import Live
from sse_asgi.live.log import INTERRUPTED, LOST, Ack, Batch, Ending, Head, Lease, Log
from sse_asgi.live.memory import MemoryLog

__all__ = [
    "INTERRUPTED",
    "LOST",
    "Ack",
    "Batch",
    "Ending",
    "FencedError",
    "Generation",
    "GenerationInterruptedError",
    "GenerationTooLargeError",
    "Head",
    "Lease",
    "LeaseLostError",
    "Live",
    "Log",
    "LogError",
    "LogRefusedError",
    "LogUnavailableError",
    "MemoryLog",
    "RemoteSourceError",
    "UnknownGenerationError",
]
