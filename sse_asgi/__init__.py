"""Any async iterator of strings as a Server-Sent Events stream, in any ASGI framework."""

from sse_asgi.app import EventStream
from sse_asgi.errors import (
    EventTooLargeError,
    FramingError,
    IncompleteStreamError,
    InvalidEventError,
    RequestTooLargeError,
    SourceSpentError,
    SSEError,
    StreamFailedError,
    StreamLostError,
    StreamRefusedError,
)
from sse_asgi.middleware import EventStreamMiddleware
from sse_asgi.source.request import Request
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.stream.transcript import Outcome, Transcript
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent, ServerSentEvent
from sse_asgi.wire.framing import Framing, JSONFraming, TextFraming

__all__ = [
    "EventStream",
    "EventStreamDecoder",
    "EventStreamMiddleware",
    "EventTooLargeError",
    "Framing",
    "FramingError",
    "IncompleteStreamError",
    "InvalidEventError",
    "JSONFraming",
    "MessageEvent",
    "Outcome",
    "Request",
    "RequestTooLargeError",
    "SSEError",
    "ServerSentEvent",
    "Shutdown",
    "SourceSpentError",
    "StreamFailedError",
    "StreamLostError",
    "StreamRefusedError",
    "TextFraming",
    "Transcript",
]
