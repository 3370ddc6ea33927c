"""Viewers: what those of one process read, together, of one generation.

A viewer is a cursor, not a queue: it says where it is, and gets what follows, in blocks that all
viewers at that position share. So a slow one costs nothing, and holds up nobody.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from weakref import WeakValueDictionary

from sse_asgi.live.events import Block, encode_events, last_words, tag_of
from sse_asgi.live.log import LOST, Ending, bounded


class Feed:
    """The events of a generation that a log has acknowledged, as far as they are held here.

    The producer's own feed holds all of them. A `Tail` is a feed of another process's generation.

    Args:
        token: The producer.
        first: The position before the first event.

    Attributes:
        token: The producer.
        tag: What the ids of its events begin with.
        events: What is held; at its end there may be events that no viewer may see yet.
        first: The position before the oldest of them.
        last: The position of the newest event that viewers may see.
        ending: How the generation ended; None while it runs.
        closed: Whether nothing more comes here, and viewers are let go without an ending.
        viewers: How many read here.
        left: When the last of them has left, on the monotonic clock; 0 if there was none.
    """

    def __init__(self, token: str, *, first: int = 0) -> None:
        self.token = token
        self.tag: bytes = tag_of(token).encode()
        self.events: list[bytes] = []
        self.first: int = first
        self.last: int = first
        self.ending: Ending | None = None
        self.closed = False
        self.viewers: int = 0
        self.left: float = 0.0
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._newest: Block | None = None
        # Those of viewers that are behind, by position and first line, while one of them has it.
        self._behind: WeakValueDictionary[tuple[int, bytes], Block] = WeakValueDictionary()

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

    def block(self, after: int, first_line: bytes) -> Block:
        """Return what follows a position, which is not before `first`."""
        newest = self._newest
        if newest is not None and newest.after == after and not first_line:
            return newest  # all that was there then; what came since follows
        events = bounded(self.events, after - self.first, self.last - self.first)
        last = after + len(events)
        if last < self.last or first_line:
            known = self.known_behind(after, first_line)
            if known is not None and known.last == last:
                return known
            ending = self.ending if last >= self.last else None
            return self.encode_behind(after, events, ending, first_line)
        data = encode_events(self.tag, after, events, first_line)
        self._newest = Block(data, after, last, self.ending)
        return self._newest

    def encode_behind(
        self, after: int, events: Sequence[bytes], ending: Ending | None, first_line: bytes
    ) -> Block:
        """Encode events for all viewers that ask for them while one of them has them."""
        data = encode_events(self.tag, after, events, first_line)
        block = Block(data, after, after + len(events), ending)
        self._behind[after, first_line] = block
        return block

    def known_behind(self, after: int, first_line: bytes) -> Block | None:
        """Return what another viewer has been given after a position, and still has."""
        return self._behind.get((after, first_line))

    async def fetch(self, after: int, first_line: bytes) -> Block:
        """Return what follows a position before `first`."""
        raise NotImplementedError

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
        if not self.viewers:
            self.left = time.monotonic()
        if len(self._waiting) > 2 * self.viewers + 8:  # those who leave while they wait
            self._waiting = [waiter for waiter in self._waiting if not waiter.done()]


async def view(feed: Feed, after: int, first_line: bytes = b"") -> AsyncGenerator[Block, None]:
    """Yield what a viewer gets after a position, up to the end.

    One generator, and no coroutine of its own while it waits: this runs for each viewer and chunk.

    Args:
        feed: What it reads.
        after: Its position.
        first_line: A line of the first event that it gets.
    """
    feed.viewers += 1
    try:
        while not feed.closed:
            if after < feed.first:
                block = await feed.fetch(after, first_line)
            elif after < feed.last or feed.ending is not None:
                block = feed.block(after, first_line)
            else:
                await feed.changed()
                continue
            after = block.last
            first_line = b"" if block.data else first_line
            yield block
            if block.ending is not None:
                if words := last_words(feed.tag, after, block.ending):
                    yield Block(first_line + words, after, after, None)
                return
    finally:
        feed.leave()
