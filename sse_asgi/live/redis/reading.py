"""What a look into the log says."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sse_asgi.live.log import Batch, Ending, Head
from sse_asgi.live.redis.wire import unpack


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
    if not reply:
        return None
    token, meta, last, owned, outcome, detail, entries = reply
    ending = Ending(outcome.decode(), detail.decode()) if outcome else None
    return Reading(token.decode(), meta.decode(), int(last), bool(owned), ending, entries)
