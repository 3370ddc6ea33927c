"""The log: where a generation's events are kept, and who may write them.

A generation is one run of one source. Its producer numbers the encoded events 1, 2, 3, …; the
number is the event's *position*, and everything else follows from it:

1. An append names the position it follows. So repeating it changes nothing, and a log that lost
   data can say how far it still reaches.
2. A viewer sees only what the log has acknowledged.
3. While the producer lives it is the truth: what a log lost is appended again, under the same
   positions.
4. A push is a hint; the log decides.
5. A lease is liveness, and every ending is in the log.

`MemoryLog` and `RedisLog` implement `Log`; `tests/live/conformance` checks them, and others.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

BEAT: Final = 0.75
"""Seconds between two beats, unless a sixth of the lease is less. A stop waits no longer."""

BATCH_BYTES: Final = 65_536
"""Bytes of events in one batch; a single event may be larger."""

BATCH_EVENTS: Final = 512
"""Events in one batch."""

EVENT_COST: Final = 50
"""Bytes of memory that an event takes beside its own."""

OnBuried = Callable[[str, str], None]

INTERRUPTED: Final = "interrupted"
"""The outcome of a generation whose producer died, as its readers wrote it into the log."""

LOST: Final = "lost"
"""What a reader is told when the log no longer has the generation, or not of that token."""


class Ending(NamedTuple):
    """How a generation ended.

    Attributes:
        outcome: A word of the producer's, or `INTERRUPTED`, or `LOST` (in no log).
        detail: Text of the producer's that is kept beside it.
    """

    outcome: str
    detail: str = ""


class Head(NamedTuple):
    """What a log knows of a generation without reading its events.

    Attributes:
        token: The producer's token.
        meta: The text given to `Log.create`.
        last: The position of the last event, 0 before the first.
        ending: How it ended; None while it runs.
    """

    token: str
    meta: str
    last: int
    ending: Ending | None


class Batch(NamedTuple):
    """Consecutive events of a generation.

    Attributes:
        after: The position before the first event.
        events: The events, in order; possibly none.
        ending: How the generation ended, if nothing follows these events.
    """

    after: int
    events: Sequence[bytes]
    ending: Ending | None = None

    @property
    def last(self) -> int:
        """The position of the last event, or `after` if there is none."""
        return self.after + len(self.events)


class Ack(NamedTuple):
    """What the log answers a producer.

    Attributes:
        tail: The position of the last event that the log holds. The producer goes on from there.
            A tail before the append's `prev`: the log lost events and took nothing.
        stop: Somebody asked for the generation's end.
    """

    tail: int
    stop: bool = False


class Lease(NamedTuple):
    """A producer's standing with the log.

    Attributes:
        held: Whether the log knows the producer. If not, the rest says nothing.
        tail: As in `Ack`.
        stop: As in `Ack`.
        followers: In how many processes a `Log.follow` is open on the generation.
        visited: Whether there has ever been one.
    """

    held: bool
    tail: int = 0
    stop: bool = False
    followers: int = 0
    visited: bool = False


class Log(Protocol):
    """A store for generations.

    One object serves one process; it binds to an event loop no earlier than at its first call.
    `key` names a generation, `token` the producer that runs it. Both are printable ASCII without
    spaces; `Live` checks keys and makes tokens. Events are opaque bytes.

    Every call may raise `LogUnavailableError`, which names its cause, and may then be repeated: a
    call whose answer was lost has the same effect as one whose answer arrived. It may raise
    `LogRefusedError` where repeating it does not help.
    """

    on_buried: OnBuried | None
    """Called with the key and the token when a call of this object has written `INTERRUPTED`."""

    @property
    def lease(self) -> float:
        """Seconds without `beat` after which a producer counts as dead.

        `math.inf` for a log that lives and dies with its process. The `append` of such a log must
        not wait: sources call it themselves.
        """
        ...

    async def create(self, key: str, token: str, meta: str, *, keep: float) -> bool:
        """Begin a generation and hold its lease, unless the key exists.

        It stays readable for `keep` seconds after its end, or its producer's death. `look` gives
        `meta` back. Return True to the producer that began it, also when it asks again.
        """
        ...

    async def append(self, key: str, token: str, prev: int, events: Sequence[bytes]) -> Ack:
        """Store events, at least one, at the positions after `prev`.

        Those that are there already are left alone. If the generation's tail is before `prev`,
        nothing is stored. A log that pays for each exchange should send together what waits
        together: each generation appends by itself.

        Raises:
            LeaseLostError: The producer holds no lease.
        """
        ...

    async def attach(self, key: str, token: str, meta: str, *, keep: float) -> int:
        """Take a generation back after its lease, or the log, was lost.

        Return the position of the last event that the log holds, 0 if it holds none.

        Raises:
            FencedError: The generation has ended or has another producer.
        """
        ...

    async def beat(self, tokens: Mapping[str, str]) -> Mapping[str, Lease]:
        """Renew the leases of all these generations (key to token), in one exchange.

        A process does this every `BEAT` seconds, for a beat also carries stops and followers.
        """
        ...

    async def finish(
        self, key: str, token: str, prev: int, events: Sequence[bytes], ending: Ending
    ) -> Ack:
        """Store the last events and the ending, in one step, and give up the lease.

        With a tail before `prev` nothing is stored, as for `append`. Repeated with the same token,
        it finds the generation finished and says so.

        Raises:
            LeaseLostError: The producer holds no lease and did not finish it.
        """
        ...

    async def stop(self, key: str) -> bool:
        """Ask the producer for the end: its next `Ack` or `Lease` says so.

        Return whether the generation was running.
        """
        ...

    async def look(self, key: str) -> Head | None:
        """Return what is known of a generation, or None if there is none of that key.

        Where the store may have lost it, this waits, for `lease` and a few seconds at most, for
        its producer to bring it back.
        """
        ...

    async def read(self, key: str, token: str, after: int) -> Batch:
        """Read stored events after a position, without waiting for more.

        A batch has at most `BATCH_EVENTS`, of `BATCH_BYTES`. One without events and ending means
        that nothing follows yet. A generation that is gone, or another token's, reads as `LOST`.
        """
        ...

    def follow(self, key: str, token: str, after: int) -> AsyncGenerator[Batch, None]:
        """Read the events after a position, and wait for more, up to the ending.

        The batches are bounded as those of `read`, and join without holes. The last one carries
        the ending, and only that one. A producer that dies gives `INTERRUPTED` within `lease` and
        a few seconds: whoever follows writes that down. A generation that is gone for that long,
        or has another token, gives `LOST`. While it is open this process counts among
        `Lease.followers`; close it, or the log will count it for a while.
        """
        ...

    async def label(self, label: str, key: str, *, keep: float) -> None:
        """Let a label, printable as a key, name a generation that exists, for `keep` seconds.

        What it named before it does not name any more.
        """
        ...

    async def labelled(self, label: str) -> str | None:
        """Return the key that a label names, None for none. The generation may be gone."""
        ...

    async def aclose(self) -> None:
        """Close connections and tasks. The log may be used again, also in another loop."""
        ...


def bounded(events: Sequence[bytes], start: int, stop: int) -> Sequence[bytes]:
    """Return the events from one index to another, as far as one batch may carry them."""
    if stop - start <= 1:  # as nearly always
        return events[start:stop]
    stop = min(stop, start + BATCH_EVENTS)
    size = 0
    for index in range(start, stop):
        size += len(events[index])
        if size > BATCH_BYTES and index > start:
            return events[start:index]
    return events[start:stop]
