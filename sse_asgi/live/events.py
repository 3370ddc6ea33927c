"""Events: as a framing makes them, as a log keeps them, and as viewers get them.

Viewers get an id with each event, `tag:position`. The tag is the beginning of the producer's token:
so a cursor of an earlier generation with the same id is recognised, and counts as 0.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

from sse_asgi.live.log import INTERRUPTED, LOST, Ending, Head
from sse_asgi.stream.chunk import EncodedEvents
from sse_asgi.wire.events import ServerSentEvent

INTERRUPTED_MESSAGE: Final = "The generation was interrupted."
"""What viewers are told of a generation that ended before its source did."""

_CURSOR: Final = re.compile(r"([A-Za-z0-9_-]{1,8}):([0-9]{1,15})")
_PLAIN_EVENT: Final = re.compile(
    rb"(?:event:[^\r\n]*\n)?data:[^\r\n]*(?:\ndata:[^\r\n]*)*\n\n", re.ASCII
)  # with a type and data and nothing else


class Cutter:
    """Cuts what one generation sends into the events that are stored, one by one.

    Each of them has data, and no id: the log numbers them. Some clients take a block without data
    for an event, so such a block is left out; a `retry` in it moves to the next event with data.
    """

    def __init__(self) -> None:
        self._retry: list[bytes] = []  # the line that waits for an event with data

    def cut(self, encoded: bytes) -> list[bytes]:
        """Return the events, without the blank lines that end them."""
        if not self._retry and _PLAIN_EVENT.fullmatch(encoded):
            return [encoded[:-2]]  # what nearly every chunk becomes
        if b"\r" in encoded:
            encoded = encoded.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events = map(self._event, encoded.split(b"\n\n"))
        return [event for event in events if event]

    def _event(self, block: bytes) -> bytes:
        lines = [line for line in block.split(b"\n") if line and not _is_field(line, b"id")]
        if any(_is_field(line, b"data") for line in lines):
            event = b"\n".join(self._retry + lines)
            self._retry = []
            return event
        self._retry = [line for line in lines if _is_field(line, b"retry")] or self._retry
        return b""


def _is_field(line: bytes, name: bytes) -> bool:
    return line.partition(b":")[0] == name


class Block(EncodedEvents):
    """Consecutive events of a generation as viewers get them: encoded once, and shared by them.

    They follow the position `after`; `last` is that of the last one, or `after` if there is none.
    With an `ending` nothing follows.
    """

    __slots__ = ("__weakref__", "_begun", "after", "ending", "last")

    def __init__(self, data: bytes, after: int, last: int, ending: Ending | None) -> None:
        self.data = data
        self.after: int = after
        self.last: int = last
        self.ending: Ending | None = ending
        self._begun: bytes | None = None

    def after_line(self, line: bytes) -> bytes:
        """Return the events after a line, which is one for all viewers; they share this, too."""
        if self._begun is None:
            self._begun = line + self.data
        return self._begun


def encode_block(tag: bytes, after: int, events: Sequence[bytes], ending: Ending | None) -> Block:
    """Encode the events after a position.

    The id comes before the data: the clients of some dialects take what follows it for more of it.
    """
    if len(events) == 1:  # as nearly always
        data = b"id: %b:%d\n%b\n\n" % (tag, after + 1, events[0])
        return Block(data, after, after + 1, ending)
    data = b"".join(
        b"id: %b:%d\n%b\n\n" % (tag, position, event)
        for position, event in enumerate(events, after + 1)
    )
    return Block(data, after, after + len(events), ending)


def tag_of(token: str) -> str:
    return token[:4]


def position_of(cursor: str, token: str) -> int:
    """Return the position that a viewer has reached, 0 unless the cursor is of this producer."""
    match = _CURSOR.fullmatch(cursor)
    return int(match[2]) if match and match[1] == tag_of(token) else 0


def has_seen_all(head: Head, after: int) -> bool:
    """Tell whether a generation has ended and a cursor is at its end."""
    if head.ending is None:
        return False
    # A cursor behind what the log still has missed the end of a generation that lost events.
    return after == head.last + 1 if head.ending.outcome == INTERRUPTED else after >= head.last


def last_words(tag: bytes, last: int, ending: Ending) -> bytes:
    """Encode what a viewer is told when the log, not the producer, has ended the generation.

    What is in the log takes a position, so that the viewer does not come back for it. What is
    not in the log takes none: there may be more for a viewer who does come back.
    """
    if ending.outcome == LOST:
        return error_event(INTERRUPTED_MESSAGE)
    if ending.outcome == INTERRUPTED:
        return b"id: %b:%d\n%b" % (tag, last + 1, error_event(INTERRUPTED_MESSAGE))
    return b""


def error_event(message: str) -> bytes:
    return ServerSentEvent(event="error", data=json.dumps({"message": message})).encode()
