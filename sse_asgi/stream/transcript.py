"""What a stream produced and how it ended: the side of it that stays on the server."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sse_asgi.wire.outcome import Outcome


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
    """

    text: str
    outcome: Outcome
    chunks: int
    sent_chunks: int
    error: BaseException | None
    started_at: datetime
    time_to_first_chunk: float | None
    duration: float


MAX_PARTS: Final = 256
"""Chunks that a recorder keeps as they are before it joins them."""


class Recorder:
    """Counts the text chunks of one stream as they pass, and keeps their text if asked to.

    Attributes:
        fresh: Takes the chunks: whoever steps a source appends to it. Before they are sent, and
            if there are enough, `note` is to be called.
        enough: How many chunks are enough.
        sent_chunks: How many of them were handed to the server; for the transcript.
    """

    __slots__ = ("_chunks", "_first", "_joined", "_started", "_started_at", "enough", "fresh",
                 "sent_chunks")  # fmt: skip

    def __init__(self, *, record: bool) -> None:
        self.fresh: list[str] = []
        self.enough = 1  # the first is awaited
        self.sent_chunks = 0
        self._joined: list[str] | None = [] if record else None
        self._chunks = 0  # that are not fresh any more
        self._first: float | None = None
        self._started_at = time.time()
        self._started = time.monotonic()

    def take(self, chunk: str) -> None:
        """Record one text chunk."""
        self.fresh.append(chunk)
        self.note()

    def note(self) -> None:
        """Note the time if these are the first chunks, and make many into few."""
        if self._first is None and self.fresh:
            self._first = time.monotonic()
            self.enough = MAX_PARTS
        # Small strings are joined in time: each of them takes fifty bytes more than its text.
        if len(self.fresh) >= MAX_PARTS:
            self._chunks += len(self.fresh)
            if self._joined is not None:
                self._joined.append("".join(self.fresh))
            self.fresh.clear()

    def transcript(self, outcome: Outcome, error: BaseException | None) -> Transcript:
        """Return the record as it stands now."""
        self.note()
        return Transcript(
            text="" if self._joined is None else "".join((*self._joined, *self.fresh)),
            outcome=outcome,
            chunks=self._chunks + len(self.fresh),
            sent_chunks=self.sent_chunks,
            error=error,
            started_at=datetime.fromtimestamp(self._started_at, UTC),
            time_to_first_chunk=None if self._first is None else self._first - self._started,
            duration=time.monotonic() - self._started,
        )
