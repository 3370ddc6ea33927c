"""What a stream produced and how it ended: the side of it that stays on the server."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sse_asgi.stream.lifecycle import Cause
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
        by: Who settled the outcome: "source", or behind the middleware the app; "hook",
            `on_chunk`; "framing"; "client"; "deadline", that of a send; "shutdown"; or "server",
            which cancelled the request, or whose `send` or `receive` raised.
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
    by: Cause = "source"


class Recorder:
    """Keeps the text and the parts of one stream as they pass, and the time of the first chunk."""

    _first: float | None = None

    def __init__(self, *, record: bool = True) -> None:
        self._text: list[str] = []
        self._newest: list[str] = []
        # Each chunk passes through here: so it is a function of C's that forgets, or keeps.
        self.keep: Callable[[str], object] = (
            self._newest.append if record else deque[str](maxlen=0).append
        )
        self.parts: list[Part] = []
        self._started_at = time.time()
        self._started = time.monotonic()

    def note_first(self) -> None:
        """Note the time of the first text chunk; only the first call counts."""
        if self._first is None:
            self._first = time.monotonic()

    def compact(self) -> None:
        """Make one string of many, now and then: a small one takes fifty bytes beside its text."""
        if len(self._newest) >= MAX_NEWEST:
            self._text.append("".join(self._newest))
            self._newest.clear()

    def transcript(
        self, outcome: Outcome, by: Cause, error: BaseException | None, *, chunks: int, sent: int
    ) -> Transcript:
        usages = [part for part in self.parts if isinstance(part, Usage)]
        reasons = [part.reason for part in self.parts if isinstance(part, Finish)]
        return Transcript(
            text="".join((*self._text, *self._newest)),
            outcome=outcome,
            chunks=chunks,
            sent_chunks=sent,
            error=error,
            started_at=datetime.fromtimestamp(self._started_at, UTC),
            time_to_first_chunk=None if self._first is None else self._first - self._started,
            duration=time.monotonic() - self._started,
            parts=tuple(self.parts),
            usage=usages[-1] if usages else None,
            finish_reason=reasons[-1] if reasons else None,
            by=by,
        )
