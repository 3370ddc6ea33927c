"""Feeds: what the viewers of one process read, together, of one generation.

A viewer is a cursor, not a queue: it says where it is, and gets what follows. So a slow one
costs nothing, and holds up nobody.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from sse_asgi.live.log import LOST, Batch, Ending

BATCH: Final = 512
"""Events that a viewer is given at most in one piece."""


class Feed:
    """The events of a generation that a log has acknowledged, as far as they are held here.

    The producer's own feed holds all of them. A `Tail` is a feed of another process's generation.

    Args:
        token: The producer.
        first: The position before the first event.
        on_empty: Called when the last viewer has left.

    Attributes:
        token: The producer.
        events: What is held; at its end there may be events that no viewer may see yet.
        first: The position before the oldest of them.
        last: The position of the newest event that viewers may see.
        ending: How the generation ended; None while it runs.
        closed: Whether nothing more comes here, and viewers are let go without an ending.
        viewers: How many read here.
    """

    def __init__(
        self, token: str, *, first: int = 0, on_empty: Callable[[], None] | None = None
    ) -> None:
        self.token = token
        self.events: list[bytes] = []
        self.first = first
        self.last = first
        self.ending: Ending | None = None
        self.closed = False
        self.viewers = 0
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def lost(self) -> bool:
        """Whether it ended without an ending that is in the log."""
        return self.ending is not None and self.ending.outcome == LOST

    def advance(self, last: int) -> None:
        """Let viewers see the events up to a position."""
        self.last = last
        if self._waiting:
            self.wake()

    def end(self, ending: Ending) -> None:
        """End the generation for the viewers here; only the first ending counts."""
        if self.ending is None:
            self.ending = ending
            self.wake()

    async def fetch(self, after: int) -> Batch:
        """Return what follows a position before `first`."""
        raise NotImplementedError

    def batch(self, after: int) -> Batch:
        """Return what is there after a position, which is not before `first`."""
        start = after - self.first
        events = self.events[start : min(self.last - self.first, start + BATCH)]
        return Batch(after, events, self.ending if after + len(events) >= self.last else None)

    def changed(self) -> "asyncio.Future[None]":
        """Return what is done when there is more, or the ending."""
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        return waiter

    def wake(self) -> None:
        """Let all who wait look again."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def leave(self) -> None:
        """Note that a viewer has left."""
        self.viewers -= 1
        if len(self._waiting) > 2 * self.viewers + 8:  # those who leave while they wait
            self._waiting = [waiter for waiter in self._waiting if not waiter.done()]
        if not self.viewers and self._on_empty is not None:
            self._on_empty()
