"""What goes into a stream entry and into a push, and what a look into the log says."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sse_asgi.live.log import Batch, Ending, Head


def pack(events: Sequence[bytes]) -> bytes:
    """Join events, behind one line with their lengths."""
    if len(events) == 1:
        return b"%d\n%b" % (len(events[0]), events[0])
    return b" ".join([b"%d" % len(event) for event in events]) + b"\n" + b"".join(events)


def unpack(packed: bytes) -> list[bytes]:
    """Undo `pack`."""
    head, _, rest = packed.partition(b"\n")
    if b" " not in head:
        return [rest]
    events: list[bytes] = []
    start = 0
    for length in map(int, head.split(b" ")):
        events.append(rest[start : start + length])
        start += length
    return events


class Push(NamedTuple):
    """A push: the events between two positions, or none of them at an ending."""

    token: str
    prev: int
    last: int
    events: Sequence[bytes]


def read_push(message: bytes) -> Push:
    """Read `token prev last` and packed events, or `token end last`."""
    head, _, packed = message.partition(b"\n")
    token, prev, last = head.split(b" ")
    if prev == b"end":
        return Push(token.decode(), int(last), int(last), ())
    return Push(token.decode(), int(prev), int(last), unpack(packed))


class Reading(NamedTuple):
    """The reply of the script `READ`.

    Attributes:
        token: The producer's token.
        meta: The producer's text.
        last: The position of the last event in the log.
        owned: Whether somebody holds the lease.
        ending: How it ended, if it did.
        entries: Stream entries, each an id and its fields.
    """

    token: str
    meta: str
    last: int
    owned: bool
    ending: Ending | None
    entries: Sequence[tuple[bytes, Sequence[bytes]]]

    def head(self) -> Head:
        """Return all but the events."""
        return Head(self.token, self.meta, self.last, self.ending)

    def batch(self, after: int) -> Batch:
        """Return the events after a position, and the ending if nothing follows them."""
        events: list[bytes] = []
        for entry, fields in self.entries:
            if fields[0] != b"d":
                continue
            stored = unpack(fields[1])
            prev = int(entry.partition(b"-")[0]) - len(stored)
            reached = after + len(events)
            if prev > reached:
                break
            # A repeated append may overlap the entry before it.
            events += stored[reached - prev :]
        reached = after + len(events)
        return Batch(after, events, self.ending if reached >= self.last else None)


def parse_reading(reply: Sequence[Any]) -> Reading | None:
    """Read the reply of the script `READ`; None if there is no such generation."""
    if len(reply) < 2:
        return None
    token, meta, last, owned, outcome, detail, entries, _ = reply
    ending = Ending(outcome.decode(), detail.decode()) if outcome else None
    return Reading(token.decode(), meta.decode(), int(last), bool(owned), ending, entries)
