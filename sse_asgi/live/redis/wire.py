"""What goes into a stream entry and into a push."""

from collections.abc import Sequence
from typing import NamedTuple


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
