"""Parts and failures as events of their own types, beside the text of "message" events.

Both framings of plain text share them, so that listeners of "message" see text alone.
"""

import json
from abc import ABC, abstractmethod
from typing import Any

from sse_asgi.errors import StreamFailedError
from sse_asgi.wire.events import MessageEvent, ServerSentEvent
from sse_asgi.wire.failure import error_message
from sse_asgi.wire.json_text import json_bytes, read_object
from sse_asgi.wire.marker import encode_marker
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Part, Reasoning, ToolCall, Usage


class TypedEventEncoder(ABC):
    """Encodes one stream as text, events of their own types, and an end marker."""

    __slots__ = ("_done",)

    def __init__(self, done: str | None) -> None:
        self._done = done

    def begin(self) -> bytes:
        """Return nothing: the stream begins with its first chunk."""
        return b""

    @abstractmethod
    def text(self, chunks: list[str]) -> bytes:
        """Encode the chunks that leave together, one event or more for each."""

    def part(self, part: Part) -> bytes:
        """Encode a part as an event of its own type, with an object as its data."""
        kind, value = _describe(part)
        return b"event: %b\ndata: %b\n\n" % (kind, json_bytes(value))

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:  # noqa: ARG002 - one end for all
        """Return the event whose data is the end marker, or `b""`."""
        return encode_marker(self._done)

    def fail(self, message: str, outcome: Outcome) -> bytes:
        """Return an event of type `error`; at a shutdown `b""`, as the farewell says it all."""
        if outcome is Outcome.SHUT_DOWN:
            return b""
        return ServerSentEvent(event="error", data=json.dumps({"message": message})).encode()


def decode_typed(event: MessageEvent) -> str | Part:
    """Read an event of another type than "message": a part, or "" for an event of the user's own.

    Raises:
        StreamFailedError: It is of type "error".
    """
    if event.type == "error":
        raise StreamFailedError(error_message(event.data), text="")
    read = _READERS.get(event.type)
    value = None if read is None else read_object(event.data)
    if read is None or value is None:
        return ""
    try:
        return read(value)
    except (LookupError, TypeError, ValueError):  # a type of that name, but not our event
        return ""


def _describe(part: Part) -> tuple[bytes, dict[str, object]]:
    match part:
        case Reasoning():
            return b"reasoning", {"text": part.text}
        case ToolCall():
            call = {"id": part.id, "name": part.name, "arguments": part.arguments}
            return b"tool_call", dict(call)
        case Usage():
            counts = {"input_tokens": part.input_tokens, "output_tokens": part.output_tokens}
            return b"usage", dict(counts)
        case Finish():
            return b"finish", {"reason": part.reason}


def _read_reasoning(value: dict[str, Any]) -> Part:
    return Reasoning(value["text"])


def _read_tool_call(value: dict[str, Any]) -> Part:
    return ToolCall(value["name"], value["arguments"], value["id"])


def _read_usage(value: dict[str, Any]) -> Part:
    return Usage(value["input_tokens"], value["output_tokens"])


def _read_finish(value: dict[str, Any]) -> Part:
    return Finish(value["reason"])


_READERS = {
    "reasoning": _read_reasoning,
    "tool_call": _read_tool_call,
    "usage": _read_usage,
    "finish": _read_finish,
}
