"""Streams of the anthropic package: `messages.create(stream=True)` and `messages.stream()`."""

import json
from collections.abc import Iterable, Iterator

from sse_asgi.upstream.reader import Item, SDKObject, ToolCalls, truncated, unknown_event
from sse_asgi.wire.parts import Finish, Reasoning, Usage

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicReader:
    """Reads the events of the API; those that a helper derives from them say nothing new."""

    def __init__(self) -> None:
        self._block: SDKObject = None
        self._arguments: list[str] = []
        self._calls = ToolCalls()
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None
        self._finish_reason = "stop"
        self._stopped = False

    def events(self, stream: SDKObject) -> SDKObject:
        """Return the stream: it gives its events itself."""
        return stream

    def read(self, event: SDKObject) -> Iterable[Item]:
        """Return what one event says."""
        match getattr(event, "type", None):
            case "message_start":
                self._count(event.message.usage)
            case "content_block_start":
                return self._start(event.content_block)
            case "content_block_delta":
                return self._delta(event.delta)
            case "content_block_stop":
                return self._stop()
            case "message_delta":
                reason = event.delta.stop_reason or "end_turn"
                self._finish_reason = _REASONS.get(reason, reason)
                self._count(event.usage)
            case "message_stop":
                self._stopped = True
            case str():
                pass
            case _:
                raise unknown_event("anthropic", event)
        return ()

    def end(self, stream: SDKObject) -> Iterator[Item]:  # noqa: ARG002 - as every reader's
        """Return usage and the finish reason of a message that is whole."""
        if not self._stopped:
            raise truncated("message_stop")
        yield from self._stop()  # a block whose end has not come
        self._calls.check(self._finish_reason)
        if self._input_tokens is not None or self._output_tokens is not None:
            yield Usage(self._input_tokens, self._output_tokens)
        yield Finish(self._finish_reason)

    def _start(self, block: SDKObject) -> Iterable[Item]:
        self._block = block
        self._arguments = []
        # Compatible servers send text here that the API itself sends in deltas.
        if block.type == "text" and block.text:
            return (block.text,)
        if block.type == "thinking" and block.thinking:
            return (Reasoning(block.thinking),)
        return ()

    def _delta(self, delta: SDKObject) -> Iterable[Item]:
        if delta.type == "text_delta" and delta.text:
            return (delta.text,)
        if delta.type == "thinking_delta" and delta.thinking:
            return (Reasoning(delta.thinking),)
        if delta.type == "input_json_delta":
            self._arguments.append(delta.partial_json)
        return ()

    def _stop(self) -> Iterable[Item]:
        block, self._block = self._block, None
        if block is None or block.type != "tool_use":  # the API itself runs server_tool_use
            return ()
        arguments = "".join(self._arguments) or json.dumps(block.input or {})
        return self._calls.whole(block.name, arguments, block.id)

    def _count(self, usage: SDKObject) -> None:
        """Take the newest counts: a later event repeats them, or leaves them out."""
        counted = getattr(usage, "input_tokens", None)
        self._input_tokens = self._input_tokens if counted is None else counted
        counted = getattr(usage, "output_tokens", None)
        self._output_tokens = self._output_tokens if counted is None else counted
