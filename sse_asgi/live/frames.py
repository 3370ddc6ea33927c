"""Stored events and what viewers see of them: one id per event, and the words at the end.

The id of an event is `tag:position`. The tag is the beginning of the producer's token, so that
a cursor of an earlier generation with the same id is recognised, and counts as 0.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from sse_asgi.live.log import INTERRUPTED, LOST, Batch, Head
from sse_asgi.wire.events import ServerSentEvent

INTERRUPTED_MESSAGE: Final = "The generation was interrupted."
"""What viewers are told of a generation that ended before its source did."""

_CURSOR: Final = re.compile(r"([A-Za-z0-9_-]{1,8}):([0-9]{1,15})")


class StoredEvents(ServerSentEvent):
    """Events that are encoded already, on their way to one viewer."""

    __slots__ = ("_encoded",)

    _encoded: bytes

    def __init__(self, encoded: bytes) -> None:
        _set_encoded(self, encoded)

    def encode(self) -> bytes:
        """Return them as they are."""
        return self._encoded


# Once per chunk and viewer: the slot is set directly, around the frozen dataclass.
_set_encoded: Callable[[StoredEvents, bytes], None] = vars(StoredEvents)["_encoded"].__set__


def tag_of(token: str) -> str:
    """Return what the ids of a producer's events begin with."""
    return token[:4]


def position_of(cursor: str, token: str) -> int:
    """Return the position that a viewer has reached, 0 unless the cursor is of this producer."""
    match = _CURSOR.fullmatch(cursor)
    return int(match[2]) if match and match[1] == tag_of(token) else 0


def encoder(token: str, *, retry: int | None = None) -> Callable[[Batch], StoredEvents]:
    """Return what makes of a producer's batches what one viewer is sent.

    Args:
        token: The producer's.
        retry: The reconnection time, in milliseconds, that the first event tells.
    """
    tag = tag_of(token).encode()
    head = b"" if retry is None else b"retry: %d\n" % retry

    def encode(batch: Batch) -> StoredEvents:
        nonlocal head
        after, events, ending = batch
        frame = encode_events(tag, after, events)
        if ending is not None:
            frame += last_words(tag, batch)
        if head and frame:
            frame, head = head + frame, b""
        return StoredEvents(frame)

    return encode


def encode_events(tag: bytes, after: int, events: Sequence[bytes]) -> bytes:
    """Encode the events after a position.

    The id comes first: the clients of some dialects take what follows the data for more of it.
    """
    if len(events) == 1:
        return b"id: %b:%d\n%b\n\n" % (tag, after + 1, events[0])
    return b"".join(
        [
            b"id: %b:%d\n%b\n\n" % (tag, position, event)
            for position, event in enumerate(events, after + 1)
        ]
    )


def last_words(tag: bytes, batch: Batch) -> bytes:
    """Encode what a viewer is told when the log, not the producer, has ended the generation.

    What is in the log takes a position, so that the viewer does not come back for it. What is
    not in the log takes none: there may be more for a viewer who does come back.
    """
    if batch.ending is None or batch.ending.outcome not in (INTERRUPTED, LOST):
        return b""
    event = error_event(INTERRUPTED_MESSAGE)
    if batch.ending.outcome == LOST:
        return event
    return b"id: %b:%d\n%b" % (tag, batch.last + 1, event)


def error_event(message: str) -> bytes:
    """Encode an event of type `error`."""
    return ServerSentEvent(event="error", data=json.dumps({"message": message})).encode()


def has_seen_all(head: Head, after: int) -> bool:
    """Tell whether a generation has ended and a cursor is at its end."""
    if head.ending is None:
        return False
    # A cursor behind what the log still has missed the end of a generation that lost events.
    return after == head.last + 1 if head.ending.outcome == INTERRUPTED else after >= head.last
