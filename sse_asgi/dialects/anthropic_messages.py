"""Anthropic's messages, as events: https://docs.anthropic.com/en/api/messages-streaming."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sse_asgi.dialects.decoder import (
    DialectDecoder,
    Item,
    Object,
    key_in,
    make_usage,
    object_in,
    text_in,
)
from sse_asgi.dialects.encoder import HOLE, DialectEncoder, Kind, pieces, typed_event
from sse_asgi.dialects.options import ModelFraming
from sse_asgi.wire.failure import type_of
from sse_asgi.wire.names import make_id
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Reasoning, ToolCall

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_REASONS = {word: reason for reason, word in _STOP_REASONS.items()}
_OWN_WORDS = {
    *_REASONS,
    "stop_sequence",
    "pause_turn",
    "model_context_window_exceeded",
}
_ERROR_TYPES = {Outcome.TIMED_OUT: "timeout_error", Outcome.SHUT_DOWN: "overloaded_error"}
_EVENTS = {
    *("message_start", "message_delta", "message_stop", "ping", "error"),
    *("content_block_start", "content_block_delta", "content_block_stop"),
}
_BLOCKS: dict[Kind, Mapping[str, object]] = {
    "text": {"type": "text", "text": ""},
    "reasoning": {"type": "thinking", "thinking": "", "signature": ""},
}
_DELTAS: dict[Kind, Mapping[str, object]] = {
    "text": {"type": "text_delta", "text": HOLE},
    "reasoning": {"type": "thinking_delta", "thinking": HOLE},
}


@dataclass(frozen=True, slots=True)
class AnthropicMessages(ModelFraming):
    """Speak to the clients of Anthropic's messages API.

    A stream is complete once `message_stop` has come. The dialect has no word for numbers of tokens
    that are not known, so these are 0 on the wire, and a 0 that is received is not known. A reason
    to finish that it does not know is "end_turn".

    Attributes:
        model: The model's name.
        id: The message's id; each stream has one of its own if none is given.

    Raises:
        TypeError: An option is no str.
        ValueError: An option is empty.
    """

    def encoder(self) -> DialectEncoder:
        """Return an encoder for one stream."""
        return _Encoder(self)

    def decoder(self) -> DialectDecoder:
        """Return a function that reads one stream, of any server."""
        return _Decoder()


class _Encoder(DialectEncoder):
    __slots__ = ("_blocks", "_id", "_model")

    def __init__(self, framing: AnthropicMessages) -> None:
        super().__init__()
        self._id = framing.id or make_id("msg_")
        self._model = framing.model
        self._blocks = 0

    def begin(self) -> bytes:
        message: dict[str, object] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        return typed_event({"type": "message_start", "message": message})

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        closing = self._leave()
        reason = self._finish_reason(outcome)
        word = reason if reason in _OWN_WORDS else _STOP_REASONS.get(reason, "end_turn")
        delta = {"stop_reason": word, "stop_sequence": None}
        usage = {
            "input_tokens": self._usage.input_tokens or 0,
            "output_tokens": self._usage.output_tokens or 0,
        }
        last = typed_event({"type": "message_delta", "delta": delta, "usage": usage})
        return closing + last + typed_event({"type": "message_stop"})

    def fail(self, message: str, outcome: Outcome) -> bytes:
        kind = type_of(message, _ERROR_TYPES.get(outcome, "api_error"))
        error = {"type": kind, "message": message}
        return typed_event({"type": "error", "error": error})

    def _open(self, kind: Kind) -> tuple[bytes, bytes]:
        return self._start(_BLOCKS[kind]), self._block_delta(_DELTAS[kind])

    def _close(self, kind: Kind) -> bytes:  # noqa: ARG002 - one end for all
        return self._stop()

    def _call(self, call: ToolCall) -> bytes:
        block: dict[str, object] = {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": {},
        }
        deltas = (
            self._block_delta({"type": "input_json_delta", "partial_json": piece})
            for piece in pieces(call.arguments)
        )
        return b"".join((self._start(block), *deltas, self._stop()))

    def _start(self, block: Mapping[str, object]) -> bytes:
        value = {"type": "content_block_start", "index": self._blocks, "content_block": block}
        return typed_event(value)

    def _stop(self) -> bytes:
        index = self._blocks
        self._blocks += 1
        return typed_event({"type": "content_block_stop", "index": index})

    def _block_delta(self, delta: Mapping[str, object]) -> bytes:
        value = {"type": "content_block_delta", "index": self._blocks, "delta": delta}
        return typed_event(value)


class _Decoder(DialectDecoder):
    dialect = "Anthropic's messages"

    def __init__(self) -> None:
        super().__init__()
        self._input_tokens: object = None

    def _knows(self, value: Object) -> bool:
        return text_in(value, "type") in _EVENTS

    def _read(self, value: Object) -> Iterator[Item]:
        match value.get("type"):
            case "content_block_delta":
                yield from self._read_delta(key_in(value, "index"), object_in(value, "delta"))
            case "content_block_start":
                yield from self._read_start(
                    key_in(value, "index"), object_in(value, "content_block")
                )
            case "content_block_stop":
                yield from self._calls.take(key_in(value, "index"))
            case "message_start":
                usage = object_in(object_in(value, "message"), "usage")
                self._input_tokens = usage.get("input_tokens")
            case "message_delta":
                yield from self._read_end(value)
            case "message_stop":
                yield None
            case _:
                pass

    def _read_start(self, index: str | int, block: Object) -> Iterator[Item]:
        if block.get("type") == "tool_use":
            yield from self._calls.begin(index, text_in(block, "name"), text_in(block, "id"))
        elif text_in(block, "thinking"):
            yield Reasoning(text_in(block, "thinking"))
        elif text_in(block, "text"):
            yield text_in(block, "text")

    def _read_delta(self, index: str | int, delta: Object) -> Iterator[Item]:
        match delta.get("type"):
            case "text_delta":
                yield text_in(delta, "text")
            case "thinking_delta" if text_in(delta, "thinking"):
                yield Reasoning(text_in(delta, "thinking"))
            case "input_json_delta":
                self._calls.add(index, text_in(delta, "partial_json"))
            case _:
                pass

    def _read_end(self, value: Object) -> Iterator[Item]:
        counts = object_in(value, "usage")
        used = counts.get("input_tokens") or self._input_tokens or None
        known = {"input_tokens": used, "output_tokens": counts.get("output_tokens") or None}
        word = text_in(object_in(value, "delta"), "stop_reason")
        if word:
            yield Finish(_REASONS.get(word, word))
        yield from make_usage(known, "input_tokens", "output_tokens")
