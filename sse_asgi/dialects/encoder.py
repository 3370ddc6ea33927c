"""What the encoders of all dialects share: events of JSON, the open block, and the end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from secrets import token_hex
from typing import Final, Literal, TypeAlias

from sse_asgi.wire.events import utf8, well_formed
from sse_asgi.wire.json_text import json_bytes, on_one_line
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Part, Reasoning, ToolCall, Usage

Kind: TypeAlias = Literal["text", "reasoning"]

DONE: Final = b"data: [DONE]\n\n"
"""The event after which clients of OpenAI and AI SDK read no further."""

MAX_DELTA: Final = 160_000
"""Characters in one delta. Each takes 6 bytes of JSON at most, and some clients' limit is 1 MiB."""

# What users give cannot contain these: nobody can guess them.
HOLE: Final = token_hex(16)
"""What stands in an event for the JSON value that is to come."""

NUMBER: Final = token_hex(16)
"""What stands in an event for its number, as `HOLE` does for another value."""

_HOLE: Final = json_bytes(HOLE)


class DialectEncoder(ABC):
    """Encodes one stream as blocks of text, blocks of reasoning, and whole tool calls.

    One block at most is open. Each of its deltas is the same event but for the piece of text in it,
    so the block keeps that event's head and tail, and only the piece is encoded.

    Usage and the reason to finish are kept for the end. Empty text is nothing to send.
    """

    __slots__ = ("_calls", "_head", "_kind", "_reason", "_tail", "_usage")

    def __init__(self) -> None:
        self._kind: Kind | None = None  # of the block that is open
        self._head = self._tail = ""
        self._calls = 0
        self._reason: str | None = None
        self._usage = Usage()

    @abstractmethod
    def begin(self) -> bytes:
        """Return what every stream of the dialect begins with."""

    def text(self, chunks: list[str]) -> bytes:
        """Encode the chunks that leave together as one delta."""
        text = chunks[0] if len(chunks) == 1 else "".join(chunks)
        if self._kind == "text" and 0 < len(text) <= MAX_DELTA:
            return self._delta(text)
        return self._say("text", text)

    def part(self, part: Part) -> bytes:
        """Encode reasoning and tool calls; keep usage and the reason to finish for the end."""
        match part:
            case Reasoning():
                return self._say("reasoning", part.text)
            case ToolCall():
                self._calls += 1
                return self._leave() + self._call(part)
            case Usage():
                self._usage = part
            case Finish():
                self._reason = part.reason
        return b""

    @abstractmethod
    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        """Return what ends a stream of the dialect that is complete, or was stopped."""

    @abstractmethod
    def fail(self, message: str, outcome: Outcome) -> bytes:
        """Return the dialect's error, at which its clients raise."""

    # What a dialect has of its own

    @abstractmethod
    def _open(self, kind: Kind) -> tuple[bytes, bytes]:
        """Return the events that open a block, and its delta with `HOLE` for the piece of text."""

    def _close(self, kind: Kind) -> bytes:  # noqa: ARG002 - of dialects that have blocks
        """Return the events that close a block."""
        return b""

    @abstractmethod
    def _call(self, call: ToolCall) -> bytes:
        """Encode a tool call; no block is open."""

    # What they share

    def _say(self, kind: Kind, text: str) -> bytes:
        if not text:
            return b""
        opening = b"" if self._kind == kind else self._leave() + self._enter(kind)
        return opening + b"".join(map(self._delta, pieces(text)))

    def _delta(self, text: str) -> bytes:
        """Encode a piece of the open block's text, small enough for one event."""
        try:
            return f"{self._head}{json_string(text)}{self._tail}".encode()
        except UnicodeEncodeError:
            return self._delta(well_formed(text))

    def _enter(self, kind: Kind) -> bytes:
        opening, delta = self._open(kind)
        self._kind = kind
        self._head, self._tail = cut_at(HOLE, delta.decode())
        return opening

    def _leave(self) -> bytes:
        """Close the block that is open, if one is."""
        kind, self._kind = self._kind, None
        return b"" if kind is None else self._close(kind)

    def _finish_reason(self, outcome: Outcome) -> str:
        if outcome is Outcome.STOPPED:
            return "stop"
        return self._reason or ("tool_calls" if self._calls else "stop")

    def _token_counts(self) -> dict[str, int]:
        """Return the numbers of tokens that are known, by the names of AI SDK and AG-UI."""
        counts = {
            "inputTokens": self._usage.input_tokens,
            "outputTokens": self._usage.output_tokens,
            "totalTokens": self._total_tokens,
        }
        return {name: count for name, count in counts.items() if count is not None}

    @property
    def _total_tokens(self) -> int | None:
        used, made = self._usage.input_tokens, self._usage.output_tokens
        return None if used is None or made is None else used + made


def json_string(text: str) -> str:
    """Return a text as a JSON string on one line."""
    encoded = encode_basestring(text)
    return encoded if encoded.isascii() else on_one_line(encoded)


def data_event(value: Mapping[str, object]) -> bytes:
    """Encode an object as an event of data alone."""
    return b"data: %b\n\n" % json_bytes(value)


def typed_event(value: Mapping[str, object]) -> bytes:
    """Encode an object as an event of the type that it names."""
    return b"event: %b\ndata: %b\n\n" % (utf8(str(value["type"])), json_bytes(value))


def cut_at(hole: str, event: str) -> tuple[str, str]:
    """Return an event's text before and after a hole."""
    head, _, tail = event.partition(f'"{hole}"')
    return head, tail


def fill(event: bytes, text: str) -> bytes:
    """Put a JSON text into the first hole of an event, on one line."""
    # JSON has line ends between its values only: in a string they are escaped.
    line = text.replace("\r", " ").replace("\n", " ")
    return event.replace(_HOLE, utf8(on_one_line(line)), 1)


def pieces(text: str) -> Iterator[str]:
    """Cut a text into what one delta may hold each; nothing of an empty one."""
    for start in range(0, len(text), MAX_DELTA):
        yield text[start : start + MAX_DELTA]
