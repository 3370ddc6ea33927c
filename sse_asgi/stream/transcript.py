"""What a stream produced and how it ended: the side of it that stays on the server."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Part, Usage

MAX_NEWEST: Final = 256
"""Strings that a recorder keeps as they are before it joins them."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The record of one stream, given to `on_complete`.

    Attributes:
        text: All text chunks that the source produced, joined; empty with `record=False`.
        outcome: How the stream ended.
        chunks: Text chunks produced.
        sent_chunks: Of those, the ones handed to the server's `send`, also if that was cut then.
            Never less than what the client received; more, if bytes were on their way.
        error: What the source raised, if it did.
        started_at: When the request came, in UTC.
        time_to_first_chunk: Seconds from then to the first text chunk; `None` without one.
        duration: Seconds from then to the last byte.
        parts: What the source yielded besides text, in order; kept with `record=False`, too.
        usage: The last usage that the source yielded.
        finish_reason: The reason of the last `Finish` that the source yielded.
    """

    text: str
    outcome: Outcome
    chunks: int
    sent_chunks: int
    error: BaseException | None
    started_at: datetime
    time_to_first_chunk: float | None
    duration: float
    parts: tuple[Part, ...] = ()
    usage: Usage | None = None
    finish_reason: str | None = None


class Recorder:
    """Counts the chunks of one stream as they pass, and keeps their text if asked to.

    Attributes:
        chunks: How many text chunks have come.
    """

    __slots__ = ("_first", "_newest", "_parts", "_started", "_started_at", "_text", "chunks")  # fmt: skip

    def __init__(self, *, record: bool) -> None:
        self.chunks = 0
        self._text: list[str] | None = [] if record else None
        self._newest: list[str] = []
        self._parts: list[Part] = []
        self._first: float | None = None
        self._started_at = time.time()
        self._started = time.monotonic()

    def take(self, chunk: str) -> None:
        """Record one text chunk."""
        if self._first is None:
            self._first = time.monotonic()
        self.chunks += 1
        if self._text is not None:
            self._newest.append(chunk)
            if len(self._newest) == MAX_NEWEST:  # a small string takes fifty bytes beside its text
                self._text.append("".join(self._newest))
                self._newest.clear()

    def take_part(self, part: Part) -> None:
        """Record one part."""
        self._parts.append(part)

    def transcript(
        self, outcome: Outcome, error: BaseException | None, *, sent_chunks: int = 0
    ) -> Transcript:
        """Return the record as it stands now."""
        usages = [part for part in self._parts if isinstance(part, Usage)]
        reasons = [part.reason for part in self._parts if isinstance(part, Finish)]
        return Transcript(
            text="" if self._text is None else "".join((*self._text, *self._newest)),
            outcome=outcome,
            chunks=self.chunks,
            sent_chunks=sent_chunks,
            error=error,
            started_at=datetime.fromtimestamp(self._started_at, UTC),
            time_to_first_chunk=None if self._first is None else self._first - self._started,
            duration=time.monotonic() - self._started,
            parts=tuple(self._parts),
            usage=usages[-1] if usages else None,
            finish_reason=reasons[-1] if reasons else None,
        )
