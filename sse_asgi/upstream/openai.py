"""Streams of the openai package: chat completions and responses."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sse_asgi.errors import UpstreamFailedError
from sse_asgi.upstream.reader import CUTS, Item, SDKObject, ToolCalls, truncated, unknown_event
from sse_asgi.wire.parts import Finish, Reasoning, Usage


class OpenAIReader:
    """Reads whichever of the two kinds of stream it is given; its events tell which that is."""

    def __init__(self) -> None:
        self._chat = _ChatReader()
        self._responses = _ResponsesReader()
        self._reader: _ChatReader | _ResponsesReader = self._chat

    def events(self, stream: SDKObject) -> SDKObject:
        """Return the stream: it gives its events itself."""
        return stream

    def read(self, event: SDKObject) -> Iterable[Item]:
        """Return text and parts of an event; none of one that `.stream()` derives from others."""
        if hasattr(event, "choices"):
            return self._chat.read(event)
        kind = getattr(event, "type", None)
        if not isinstance(kind, str):
            raise unknown_event("openai", event)
        if kind == "chunk":  # of `chat.completions.stream`
            return self._chat.read(event.chunk)
        if kind == "error" or kind.startswith("response."):
            self._reader = self._responses
            return self._responses.read(event)
        return ()

    def end(self, stream: SDKObject) -> Iterable[Item]:  # noqa: ARG002 - as every reader's
        """Return calls, usage and the finish reason of a stream that is whole."""
        return self._reader.end()


@dataclass(slots=True)
class _PartialCall:
    index: int | None
    id: str
    name: str = ""
    arguments: str = ""


class _ChatReader:
    def __init__(self) -> None:
        self._calls: list[_PartialCall] = []
        self._usage: Usage | None = None
        self._finish_reason = ""

    def read(self, chunk: SDKObject) -> Iterator[Item]:
        if getattr(chunk, "usage", None) is not None:
            self._usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices or ():
            if choice.index:
                continue  # of n > 1 answers, one is the answer
            self._finish_reason = choice.finish_reason or self._finish_reason
            if choice.delta is not None:  # some servers send none with a finish reason
                yield from self._read_delta(choice.delta)

    def _read_delta(self, delta: SDKObject) -> Iterator[Item]:
        # The two names that servers have for it; those that send both send the same text.
        reasoning = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        if reasoning and isinstance(reasoning, str):
            yield Reasoning(reasoning)
        for text in (delta.content, getattr(delta, "refusal", None)):
            if text:
                yield text
        for call in getattr(delta, "tool_calls", None) or ():
            self._add_call(call.index, call.id or "", call.function)
        older = getattr(delta, "function_call", None)
        if older is not None:
            self._add_call(None, "", older)

    def _add_call(self, index: int | None, id_: str, function: SDKObject) -> None:
        call = self._call_of(index, id_)
        if function is not None:
            call.name += function.name or ""
            call.arguments += function.arguments or ""

    def _call_of(self, index: int | None, id_: str) -> _PartialCall:
        """Return the call that a delta belongs to.

        Some servers give every call the same index, or none, and tell them apart by id only.
        """
        for call in reversed(self._calls):
            if call.index == index and (not id_ or id_ == call.id):
                return call
        call = _PartialCall(index, id_)
        self._calls.append(call)
        return call

    def end(self) -> Iterator[Item]:
        if not self._finish_reason:
            raise truncated("a finish reason")
        calls = ToolCalls()
        if self._finish_reason in CUTS and self._calls and not self._calls[-1].arguments:
            del self._calls[-1]  # its arguments were still to come
        for call in self._calls:
            yield from calls.whole(call.name, call.arguments, call.id)
        calls.check(self._finish_reason)
        if self._usage is not None:
            yield self._usage
        reason = self._finish_reason
        yield Finish("tool_calls" if reason == "function_call" else reason)


_DELTAS = {
    "response.output_text.delta": str,
    "response.refusal.delta": str,
    "response.reasoning_text.delta": Reasoning,
    "response.reasoning_summary_text.delta": Reasoning,
}
_TERMINAL = ("response.completed", "response.incomplete")
_REASONS = {"max_output_tokens": "length"}


class _ResponsesReader:
    def __init__(self) -> None:
        self._calls = ToolCalls()
        self._last: SDKObject = None

    def read(self, event: SDKObject) -> Iterable[Item]:
        kind: str = event.type
        if kind in _DELTAS:
            return (_DELTAS[kind](event.delta),) if event.delta else ()
        if kind == "response.output_item.done" and _is_call(event.item):
            return self._calls.whole(event.item.name, event.item.arguments, event.item.call_id)
        if kind in ("error", "response.failed"):
            raise UpstreamFailedError(f"the upstream says that it failed: {_message_of(event)}")
        if kind in _TERMINAL:
            self._last = event.response
        return ()

    def end(self) -> Iterator[Item]:
        if self._last is None:
            raise truncated("response.completed")
        reason = self._finish_reason()
        self._calls.check(reason)
        usage = self._last.usage
        if usage is not None:
            yield Usage(usage.input_tokens, usage.output_tokens)
        yield Finish(reason)

    def _finish_reason(self) -> str:
        details = getattr(self._last, "incomplete_details", None)
        reason: str = getattr(details, "reason", None) or ""
        if reason:
            return _REASONS.get(reason, reason)
        return "tool_calls" if self._calls.count else "stop"


def _is_call(item: SDKObject) -> bool:
    return item.type == "function_call" and getattr(item, "status", None) != "incomplete"


def _message_of(event: SDKObject) -> str:
    error = event if event.type == "error" else getattr(event.response, "error", None)
    return str(getattr(error, "message", None) or "it gives no reason")
