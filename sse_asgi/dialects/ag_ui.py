"""AG-UI 1.0, the events of an agent's run: https://docs.ag-ui.com/concepts/events."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sse_asgi.dialects.decoder import (
    DialectDecoder,
    Item,
    Object,
    failure,
    make_usage,
    object_in,
    objects_in,
    text_in,
)
from sse_asgi.dialects.encoder import HOLE, DialectEncoder, Kind, data_event, pieces
from sse_asgi.wire.failure import code_of
from sse_asgi.wire.names import check_name, make_id
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Reasoning, ToolCall, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class AGUI:
    """Speak to the clients of AG-UI 1.0.

    A stream is complete once `RUN_FINISHED` has come; AG-UI has no `[DONE]`. The reason to finish
    is in the metadata of `RUN_FINISHED`, as `finishReason`.

    Attributes:
        thread_id: The conversation's id, as the request has it.
        run_id: The run's id, as the request has it.

    Raises:
        TypeError: An id is no str.
        ValueError: An id is empty.
    """

    thread_id: str
    run_id: str

    def __post_init__(self) -> None:
        check_name("thread_id", self.thread_id, "the request's threadId")
        check_name("run_id", self.run_id, "the request's runId")

    @property
    def headers(self) -> Mapping[str, str]:
        """Return none: AG-UI's clients demand none."""
        return {}

    def encoder(self) -> DialectEncoder:
        """Return an encoder for one stream."""
        return _Encoder(self)

    def decoder(self) -> DialectDecoder:
        """Return a function that reads one stream, of any server."""
        return _Decoder()


class _Encoder(DialectEncoder):
    __slots__ = ("_message_id", "_run")

    def __init__(self, framing: AGUI) -> None:
        super().__init__()
        self._run = {"threadId": framing.thread_id, "runId": framing.run_id}
        self._message_id = ""  # of the block that is open

    def begin(self) -> bytes:
        return data_event({"type": "RUN_STARTED", **self._run})

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        closing = self._leave()
        end: dict[str, object] = {"type": "RUN_FINISHED", **self._run}
        if outcome is Outcome.STOPPED:
            end["outcome"] = {"type": "cancelled"}
        else:
            end["outcome"] = {"type": "success"}
            end["metadata"] = {"finishReason": self._finish_reason(outcome)}
        if counts := self._token_counts():
            end["usage"] = [counts]
        return closing + data_event(end)

    def fail(self, message: str, outcome: Outcome) -> bytes:
        code = code_of(message) or outcome.value
        return data_event({"type": "RUN_ERROR", "message": message, "code": code})

    def _open(self, kind: Kind) -> tuple[bytes, bytes]:
        self._message_id = make_id("msg_")
        if kind == "text":
            start = self._message("TEXT_MESSAGE_START", role="assistant")
            return start, self._message("TEXT_MESSAGE_CONTENT", delta=HOLE)
        start = self._message("REASONING_START")
        start += self._message("REASONING_MESSAGE_START", role="reasoning")
        return start, self._message("REASONING_MESSAGE_CONTENT", delta=HOLE)

    def _close(self, kind: Kind) -> bytes:
        if kind == "text":
            return self._message("TEXT_MESSAGE_END")
        return self._message("REASONING_MESSAGE_END") + self._message("REASONING_END")

    def _call(self, call: ToolCall) -> bytes:
        of = {"toolCallId": call.id}
        deltas = (
            data_event({"type": "TOOL_CALL_ARGS", **of, "delta": piece})
            for piece in pieces(call.arguments)
        )
        start = data_event({"type": "TOOL_CALL_START", **of, "toolCallName": call.name})
        return b"".join((start, *deltas, data_event({"type": "TOOL_CALL_END", **of})))

    def _message(self, kind: str, **fields: str) -> bytes:
        return data_event({"type": kind, "messageId": self._message_id, **fields})


class _Decoder(DialectDecoder):
    dialect = "AG-UI"

    def __init__(self) -> None:
        super().__init__()
        self._chunk_id = ""

    def _knows(self, value: Object) -> bool:
        return text_in(value, "type").isupper()

    def _read(self, value: Object) -> Iterator[Item]:
        call_id = text_in(value, "toolCallId")
        match value.get("type"):
            case "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_CHUNK":
                yield text_in(value, "delta")
            case "REASONING_MESSAGE_CONTENT" | "REASONING_MESSAGE_CHUNK" if text_in(value, "delta"):
                yield Reasoning(text_in(value, "delta"))
            case "TOOL_CALL_START":
                yield from self._calls.begin(call_id, text_in(value, "toolCallName"), call_id)
            case "TOOL_CALL_ARGS":
                self._calls.add(call_id, text_in(value, "delta"))
            case "TOOL_CALL_END":
                yield from self._calls.take(call_id)
            case "TOOL_CALL_CHUNK":
                yield from self._read_chunk(value, call_id)
            case "RUN_ERROR":
                raise failure(value)
            case "RUN_FINISHED":
                yield from self._read_end(value)
            case _:
                pass

    def _read_end(self, value: Object) -> Iterator[Item]:
        yield from self._calls.take_all()  # of those that came as chunks
        reason = text_in(object_in(value, "metadata"), "finishReason")
        if reason:
            yield Finish(reason)
        found = [
            make_usage(each, "inputTokens", "outputTokens") for each in objects_in(value, "usage")
        ]
        used = [usage for usages in found for usage in usages]  # one for each model
        if used:
            made = _sum(usage.output_tokens for usage in used)
            yield Usage(_sum(usage.input_tokens for usage in used), made)
        yield None

    def _read_chunk(self, value: Object, call_id: str) -> Iterator[Item]:
        self._chunk_id = call_id or self._chunk_id
        name = text_in(value, "toolCallName")
        if name:
            yield from self._calls.begin(self._chunk_id, name, self._chunk_id)
        self._calls.add(self._chunk_id, text_in(value, "delta"))


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
