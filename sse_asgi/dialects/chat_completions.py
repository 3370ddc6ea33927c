"""OpenAI's chat completions, as chunks: https://platform.openai.com/docs/api-reference/chat-streaming."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass

from sse_asgi.dialects.decoder import (
    DialectDecoder,
    Item,
    Object,
    key_in,
    make_usage,
    object_in,
    objects_in,
    text_in,
)
from sse_asgi.dialects.encoder import DONE, HOLE, DialectEncoder, Kind, data_event, pieces
from sse_asgi.dialects.options import ModelFraming
from sse_asgi.errors import shown
from sse_asgi.wire.failure import code_of, type_of
from sse_asgi.wire.names import make_id
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Reasoning, ToolCall, Usage

_DELTAS: dict[Kind, str] = {"text": "content", "reasoning": "reasoning_content"}


@dataclass(frozen=True, slots=True)
class ChatCompletions(ModelFraming):
    """Speak to the clients of OpenAI's chat completions API.

    A stream is complete once its chunk with a finish reason and then `[DONE]` have come. Reasoning
    travels in `reasoning_content`, which is how model servers send it.

    Attributes:
        model: The model's name, in every chunk.
        id: The completion's id; each stream has one of its own if none is given.
        include_usage: Send usage before the end, for a request with
            `stream_options: {"include_usage": true}`.

    Raises:
        TypeError: An option has another type.
        ValueError: `model` or `id` is empty.
    """

    _: KW_ONLY
    include_usage: bool = False

    def __post_init__(self) -> None:
        ModelFraming.__post_init__(self)  # a class with slots has no super() of its own
        if not isinstance(self.include_usage, bool):
            raise TypeError(
                f"include_usage must be a bool, not {shown(self.include_usage)} "
                f"({type(self.include_usage).__name__}): give True or False"
            )

    def encoder(self) -> DialectEncoder:
        """Return an encoder for one stream."""
        return _Encoder(self)

    def decoder(self) -> DialectDecoder:
        """Return a function that reads the first choice of one stream, of any server."""
        return _Decoder()


class _Encoder(DialectEncoder):
    __slots__ = ("_common", "_include_usage")

    def __init__(self, framing: ChatCompletions) -> None:
        super().__init__()
        self._include_usage = framing.include_usage
        self._common = {
            "id": framing.id or make_id("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": framing.model,
        }

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        last = self._chunk({}, self._finish_reason(outcome))
        return last + self._usage_chunk() + DONE

    def fail(self, message: str, outcome: Outcome) -> bytes:  # noqa: ARG002 - one error for all
        error = {"message": message, "type": type_of(message, "server_error"), "param": None}
        return data_event({"error": {**error, "code": code_of(message)}})

    def _open(self, kind: Kind) -> tuple[bytes, bytes]:
        return b"", self._chunk({_DELTAS[kind]: HOLE})

    def _call(self, call: ToolCall) -> bytes:
        index = self._calls - 1
        first, *others = pieces(call.arguments)
        function = {"name": call.name, "arguments": first}
        whole = {"index": index, "id": call.id, "type": "function", "function": function}
        rest = [{"index": index, "function": {"arguments": piece}} for piece in others]
        return b"".join(self._chunk({"tool_calls": [each]}) for each in (whole, *rest))

    def _chunk(self, delta: Mapping[str, object], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return data_event({**self._common, "choices": [choice], **usage})

    def _usage_chunk(self) -> bytes:
        if not self._include_usage or self._usage == Usage():
            return b""
        usage = {
            "prompt_tokens": self._usage.input_tokens,
            "completion_tokens": self._usage.output_tokens,
            "total_tokens": self._total_tokens,
        }
        return data_event({**self._common, "choices": [], "usage": usage})


class _Decoder(DialectDecoder):
    dialect = "OpenAI's chat completions"

    def _knows(self, value: Object) -> bool:
        return isinstance(value.get("choices"), list) or bool(value.get("error"))

    def _read(self, value: Object) -> Iterator[Item]:
        for choice in objects_in(value, "choices"):
            if choice.get("index", 0) == 0:
                yield from self._read_choice(choice)
        yield from make_usage(object_in(value, "usage"), "prompt_tokens", "completion_tokens")

    def _read_choice(self, choice: Object) -> Iterator[Item]:
        delta = object_in(choice, "delta")
        reasoning = text_in(delta, "reasoning_content", "reasoning")
        text = text_in(delta, "content", "refusal") or text_in(choice, "text")
        if reasoning or text:
            yield from self._calls.take_all()
        if reasoning:
            yield Reasoning(reasoning)
        if text:
            yield text
        for call in objects_in(delta, "tool_calls"):
            yield from self._read_call(call)
        reason = text_in(choice, "finish_reason")
        if reason:
            self._is_complete = True  # usage and `[DONE]` may follow
            yield from self._calls.take_all(may_be_cut=reason in ("length", "content_filter"))
            yield Finish(reason)

    def _read_call(self, call: Object) -> Iterator[Item]:
        key, function = key_in(call, "index"), object_in(call, "function")
        name = text_in(function, "name")
        if name:
            yield from self._calls.begin(key, name, text_in(call, "id"))
        self._calls.add(key, text_in(function, "arguments"))
