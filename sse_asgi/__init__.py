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
    UpstreamFailedError,
    UpstreamTruncatedError,
)
from sse_asgi.middleware import EventStreamMiddleware
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.source.request import Request
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent, ServerSentEvent
from sse_asgi.wire.framing import Encoder, Framing, JSONFraming, TextFraming
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Part, Reasoning, ToolCall, Usage

__all__ = [
    "Encoder",
    "EventStream",
    "EventStreamDecoder",
    "EventStreamMiddleware",
    "EventTooLargeError",
    "Finish",
    "Framing",
    "FramingError",
    "IncompleteStreamError",
    "InvalidEventError",
    "JSONFraming",
    "MessageEvent",
    "Outcome",
    "Part",
    "Reasoning",
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
    "ToolCall",
    "Transcript",
    "UpstreamFailedError",
    "UpstreamTruncatedError",
    "Usage",
]
