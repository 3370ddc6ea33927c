"""Streams of Pydantic AI: events of an agent's run or of a model, and snapshots of a response."""

from collections.abc import Iterable, Iterator

from sse_asgi.upstream.reader import Item, SDKObject, ToolCalls, truncated, unknown_event
from sse_asgi.wire.parts import Finish, Reasoning, Usage

_REASONS = {"tool_call": "tool_calls"}


class PydanticAIReader:
    """Reads events where the stream has them, else the growing snapshots of its response."""

    def __init__(self) -> None:
        self._calls = ToolCalls()
        self._result: SDKObject = None
        self._seen: list[int] = []  # characters of each part that have gone on

    def events(self, stream: SDKObject) -> SDKObject:
        """Return the stream, or its snapshots if it gives no events itself."""
        if hasattr(stream, "__aiter__"):
            return stream
        return stream.stream_response(debounce_by=None)

    def read(self, event: SDKObject) -> Iterable[Item]:
        """Return what one event, or one snapshot, adds."""
        match getattr(event, "event_kind", None) or getattr(event, "kind", None):
            case "part_start":
                return _text_of(event.part, event.part.part_kind, "content")
            case "part_delta":
                return _text_of(event.delta, event.delta.part_delta_kind, "content_delta")
            case "part_end" if event.part.part_kind == "tool-call":
                return self._call(event.part)
            case "agent_run_result":
                self._result = event.result
            case "response":
                return self._grown(event.parts)
            case str():
                pass
            case _:
                raise unknown_event("Pydantic AI", event)
        return ()

    def end(self, stream: SDKObject) -> Iterator[Item]:
        """Return calls, usage and the finish reason of a response that is whole."""
        responses = self._responses(stream)
        if not responses or not all(map(_is_whole, responses)):
            raise truncated("a result, or a finish reason of the model's")
        last = responses[-1]
        if self._seen:  # in snapshots, calls are whole at the end only
            for part in last.parts:
                if part.part_kind == "tool-call":
                    yield from self._call(part)
        reason: str = last.finish_reason or ("tool_calls" if _calls_tools(last) else "stop")
        self._calls.check(reason)
        yield from _usage_of(stream if self._result is None else self._result)
        yield Finish(_REASONS.get(reason, reason))

    def _responses(self, stream: SDKObject) -> list[SDKObject]:
        """Return the responses that models gave: all of a run, or the one that was streamed."""
        if self._result is not None:
            messages = self._result.new_messages()
            return [each for each in messages if each.kind == "response"]
        if hasattr(stream, "response"):
            return [stream.response]
        return [stream.get()] if hasattr(stream, "get") else []

    def _grown(self, parts: list[SDKObject]) -> Iterator[Item]:
        """Return what has been added to the parts of a response since the last snapshot."""
        self._seen += [0] * (len(parts) - len(self._seen))
        for number, part in enumerate(parts):
            if part.part_kind in ("text", "thinking"):
                added = part.content[self._seen[number] :]
                self._seen[number] += len(added)
                if added:
                    yield added if part.part_kind == "text" else Reasoning(added)

    def _call(self, part: SDKObject) -> Iterable[Item]:
        return self._calls.whole(part.tool_name, part.args_as_json_str(), part.tool_call_id)


def _text_of(part: SDKObject, kind: str, field: str) -> Iterable[Item]:
    if kind not in ("text", "thinking"):
        return ()
    text = getattr(part, field)
    if not text:
        return ()
    return (text,) if kind == "text" else (Reasoning(text),)


def _is_whole(response: SDKObject) -> bool:
    """Tell whether a model has ended its response.

    Where an OpenAI endpoint gave no finish reason, Pydantic AI says "stop". What the model itself
    said is in the details; models that are reached over no network say nothing, and are not cut.
    """
    if getattr(response, "state", "complete") != "complete":
        return False
    if not getattr(response, "provider_url", None):
        return True
    details: dict[str, object] = response.provider_details or {}
    return "finish_reason" in details or response.finish_reason not in (None, "stop")


def _calls_tools(response: SDKObject) -> bool:
    return any(part.part_kind == "tool-call" for part in response.parts)


def _usage_of(holder: SDKObject) -> Iterator[Usage]:
    """Return the usage, if the model told it: Pydantic AI counts 0 where it did not."""
    usage: SDKObject = holder.usage
    if not hasattr(usage, "input_tokens"):  # a method, in some versions
        usage = usage()
    if usage.input_tokens or usage.output_tokens:
        yield Usage(usage.input_tokens, usage.output_tokens)
