"""The UI message stream of Vercel's AI SDK: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sse_asgi.dialects.decoder import (
    DialectDecoder,
    Item,
    Object,
    failure,
    make_usage,
    object_in,
    text_in,
)
from sse_asgi.dialects.encoder import DONE, HOLE, DialectEncoder, Kind, data_event, fill, pieces
from sse_asgi.dialects.options import check_id
from sse_asgi.errors import FramingError, StreamFailedError
from sse_asgi.wire.names import make_id
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Reasoning, ToolCall, Usage

_FINISH_REASONS = {
    **{reason: reason for reason in ("stop", "length", "content-filter", "tool-calls", "error")},
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
}
_REASONS = {"content-filter": "content_filter", "tool-calls": "tool_calls"}
_FAILURES = ("error", "interrupted")
_TYPES = {
    *("start", "start-step", "finish-step", "finish", "abort", "error", "message-metadata"),
    *("text-start", "text-delta", "text-end"),
    *("reasoning-start", "reasoning-delta", "reasoning-end"),
    *("tool-input-start", "tool-input-delta", "tool-input-available", "tool-input-error"),
    *("tool-output-available", "tool-output-error", "source-url", "source-document", "file"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UIMessages:
    """Speak to the AI SDK's `useChat`, of the versions 5, 6 and 7.

    It sends only what all of these know: an unknown type ends the stream in the client. A stream is
    complete once its `finish` has come, or the `abort` of one that was stopped. Usage is in the
    message's metadata, as `usage`. A reason to finish that the AI SDK does not know is "other".

    Attributes:
        message_id: The message's id; each stream has one of its own if none is given.

    Raises:
        TypeError: `message_id` is no str.
        ValueError: `message_id` is empty.
    """

    message_id: str | None = None

    def __post_init__(self) -> None:
        check_id("message_id", self.message_id)

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the one by which clients are to tell this protocol."""
        return {"x-vercel-ai-ui-message-stream": "v1"}

    def encoder(self) -> DialectEncoder:
        """Return an encoder for one stream."""
        return _Encoder(self)

    def decoder(self) -> DialectDecoder:
        """Return a function that reads one stream, of any server."""
        return _Decoder()


class _Encoder(DialectEncoder):
    __slots__ = ("_blocks", "_message_id")

    def __init__(self, framing: UIMessages) -> None:
        super().__init__()
        self._message_id = framing.message_id or make_id("msg_")
        self._blocks = 0

    def begin(self) -> bytes:
        start = data_event({"type": "start", "messageId": self._message_id})
        return start + data_event({"type": "start-step"})

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        closing = self._leave()
        if outcome is Outcome.STOPPED:
            return closing + self._metadata_part() + data_event({"type": "abort"}) + DONE
        reason = _FINISH_REASONS.get(self._finish_reason(outcome), "other")
        finish = {"type": "finish", "finishReason": reason, **self._metadata()}
        return closing + data_event({"type": "finish-step"}) + data_event(finish) + DONE

    def fail(self, message: str, outcome: Outcome) -> bytes:  # noqa: ARG002 - one error for all
        return data_event({"type": "error", "errorText": message})

    def _open(self, kind: Kind) -> tuple[bytes, bytes]:
        return self._part(kind, "start"), self._part(kind, "delta", delta=HOLE)

    def _close(self, kind: Kind) -> bytes:
        closing = self._part(kind, "end")
        self._blocks += 1
        return closing

    def _call(self, call: ToolCall) -> bytes:
        of = {"toolCallId": call.id}
        named = {**of, "toolName": call.name}
        deltas = (
            data_event({"type": "tool-input-delta", **of, "inputTextDelta": piece})
            for piece in pieces(call.arguments)
        )
        available = data_event({"type": "tool-input-available", **named, "input": HOLE})
        start = data_event({"type": "tool-input-start", **named})
        return b"".join((start, *deltas, fill(available, call.arguments)))

    def _part(self, kind: Kind, what: str, **fields: str) -> bytes:
        return data_event({"type": f"{kind}-{what}", "id": f"{kind}-{self._blocks}", **fields})

    def _metadata_part(self) -> bytes:
        metadata = self._metadata()
        return data_event({"type": "message-metadata", **metadata}) if metadata else b""

    def _metadata(self) -> dict[str, object]:
        counts = self._token_counts()
        return {"messageMetadata": {"usage": counts}} if counts else {}


class _Decoder(DialectDecoder):
    dialect = "the AI SDK's UI messages"

    def _knows(self, value: Object) -> bool:
        kind = text_in(value, "type")
        return kind in _TYPES or kind.startswith("data-")

    def _read(self, value: Object) -> Iterator[Item]:
        match value.get("type"):
            case "text-delta":
                yield text_in(value, "delta")
            case "reasoning-delta" if text_in(value, "delta"):
                yield Reasoning(text_in(value, "delta"))
            case "tool-input-start":
                yield from self._begin_call(value)
            case "tool-input-delta":
                self._calls.add(text_in(value, "toolCallId"), text_in(value, "inputTextDelta"))
            case "tool-input-available":
                yield from self._begin_call(value)
                yield from self._calls.take(text_in(value, "toolCallId"), arguments=_input(value))
            case "error":
                raise failure(value)
            case "abort":
                yield None
            case "message-metadata":
                yield from _usage(value)
            case "finish":
                yield from self._read_end(value)
            case _:
                pass

    def _begin_call(self, value: Object) -> list[ToolCall]:
        call_id = text_in(value, "toolCallId")
        return self._calls.begin(call_id, text_in(value, "toolName"), call_id)

    def _read_end(self, value: Object) -> Iterator[Item]:
        word = text_in(value, "finishReason")
        if word in _FAILURES:
            raise StreamFailedError(f'its finish reason is "{word}"', text="")
        if word:
            yield Finish(_REASONS.get(word, word))
        yield from _usage(value)
        yield None


def _usage(value: Object) -> list[Usage]:
    usage = object_in(object_in(value, "messageMetadata"), "usage")
    return make_usage(usage, "inputTokens", "outputTokens")


def _input(value: Object) -> str:
    """Return a call's input as JSON text, for servers that send no deltas of it."""
    try:
        return json.dumps(value.get("input"))
    except RecursionError:
        raise FramingError("the server sent a tool call whose input is nested too deeply") from None
