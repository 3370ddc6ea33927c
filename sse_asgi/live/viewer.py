"""Viewers: what those of one process read, together, of one generation.

A viewer is a cursor, not a queue: it says where it is, and gets what follows, in blocks that all
viewers at that position share. So a slow one costs nothing, and holds up nobody.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from sse_asgi.errors import LogError
from sse_asgi.live.events import Block, encode_block, last_words, tag_of
from sse_asgi.live.log import BATCH_BYTES, LOST, Batch, Ending, Lease, Log, bounded
from sse_asgi.live.outage import PAUSE, Outage, Patience

KEPT_EVENTS: Final = 512
"""Events that a tail keeps when it makes room, which it does at twice as many."""

KEPT_BYTES: Final = 4 * BATCH_BYTES
"""The same in bytes; the newest event is always kept."""

FIRST_VIEWER: Final = 30.0
"""Seconds that a generation which lingers waits at least for its first viewer."""

_STAY: Final = 0.25  # seconds for which a tail stays open that has heard nothing yet


class Feed:
    """The events of one generation that viewers here may see.

    A `Writer` is one of a generation that runs here, a `Tail` one of another.
    """

    def __init__(self, token: str, *, first: int = 0) -> None:
        self.token: str = token
        self.events: list[bytes] = []  # the newest may not be for viewers yet
        self.first: int = first  # the position before the oldest of them
        self.last: int = first  # that of the newest one that viewers may see
        self.ending: Ending | None = None
        self.closed: bool = False  # viewers are let go without an ending
        self.viewers: int = 0
        self.left: float = 0.0  # when the last of them has left, on the monotonic clock
        self._tag = tag_of(token).encode()
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._newest: Block | None = None
        # By the position before them, while a viewer has them.
        self._blocks: WeakValueDictionary[int, Block] = WeakValueDictionary()

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

    def changed(self) -> "asyncio.Future[None]":
        """Return what is done when there is more, or the ending."""
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        return waiter

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def view(self, after: int) -> AsyncGenerator[Block, None]:
        """Yield what a viewer gets after a position, up to the end.

        One generator, and no coroutine of its own while it waits: this runs for each viewer and
        chunk.
        """
        self.enter()
        try:
            while not self.closed:
                if after < self.first:
                    block = await self.fetch(after)
                elif after < self.last or self.ending is not None:
                    block = self._block(after)
                else:
                    await self.changed()
                    continue
                after = block.last
                yield block
                if block.ending is not None:
                    if words := last_words(self._tag, after, block.ending):
                        yield Block(words, after, after, None)
                    return
        finally:
            self.leave()

    def enter(self) -> None:
        self.viewers += 1

    def leave(self) -> None:
        self.viewers -= 1
        if not self.viewers:
            self.left = time.monotonic()
        if len(self._waiting) > 2 * self.viewers + 8:  # those who leave while they wait
            self._waiting = [waiter for waiter in self._waiting if not waiter.done()]

    async def fetch(self, after: int) -> Block:
        """Return what follows a position before `first`."""
        raise NotImplementedError

    def share(self, after: int, events: Sequence[bytes], ending: Ending | None) -> Block:
        """Return these events, encoded once for all who ask while one of them has them."""
        block = self._blocks.get(after)
        if block is None:  # else it is all that was there then; what came since follows
            block = self._blocks[after] = encode_block(self._tag, after, events, ending)
        return block

    def _block(self, after: int) -> Block:
        newest = self._newest
        if newest is not None and newest.after == after:
            return newest  # as above
        events = bounded(self.events, after - self.first, self.last - self.first)
        if after + len(events) < self.last:
            return self.share(after, events, None)
        self._newest = newest = encode_block(self._tag, after, events, self.ending)
        return newest


class Tail(Feed):
    """The newest events of a generation that runs elsewhere, followed once for all viewers here.

    A viewer that is behind them reads the log until it has caught up. When the last one leaves, the
    tail closes.
    """

    def __init__(self, log: Log, outage: Outage, key: str, token: str, after: int) -> None:
        super().__init__(token, first=after)
        self._log = log
        self._outage = outage
        self._key = key
        self._size = 0
        self._has_heard = False
        self.task: asyncio.Task[None] | None = None

    def enter(self) -> None:
        """Note that a viewer has come; the first one begins to follow."""
        super().enter()
        if self.task is None and self.ending is None:
            self.task = asyncio.create_task(self._follow(), name="sse_asgi live tail")

    def leave(self) -> None:
        """Note that a viewer has left; the last one lets the generation go."""
        super().leave()
        if not self.viewers:
            self.close()

    def close(self) -> None:
        """Stop following, and let its viewers go.

        If nothing has come yet, a little later: the log may not know yet that somebody follows, and
        a generation that lingers must learn of a viewer who came and left at once.
        """
        self.closed = True
        self.wake()
        if self.task is not None and self._has_heard:
            self.task.cancel()
        elif self.task is not None:
            self._loop.call_later(_STAY, self.task.cancel)

    async def fetch(self, after: int) -> Block:
        """Read what has left the tail; the viewer waits if the log is out of reach."""
        patience = Patience(self._log.lease)
        while (block := self._blocks.get(after)) is None:
            try:
                batch = await self._log.read(self._key, self.token, after)
            except LogError as error:
                self._outage.note(error)
                batch = Batch(after, ())
            if batch.events or not (batch.ending is None or batch.ending.outcome == LOST):
                return self.share(after, batch.events, batch.ending)
            # The log is out of reach or has lost events; its producer may bring them back.
            if self.lost or self.closed or patience.is_over():
                return Block(b"", after, after, Ending(LOST))
            await asyncio.sleep(PAUSE)
        return block

    async def _follow(self) -> None:
        try:
            async with aclosing(self._log.follow(self._key, self.token, self.last)) as batches:
                async for batch in batches:
                    self._take(batch)
        except Exception as raised:  # noqa: BLE001 - logged; the viewers are told below
            self._outage.note(raised, "follow")
        finally:
            self.end(Ending(LOST))  # no viewer waits for a tail that nobody feeds
            self.task = None  # a cancelled one holds its traceback, and that the tail

    def _take(self, batch: Batch) -> None:
        self._has_heard = True
        self.events.extend(batch.events)
        self._size += sum(map(len, batch.events))
        if len(self.events) >= 2 * KEPT_EVENTS or self._size >= 2 * KEPT_BYTES:
            dropped = 0
            while self._size > KEPT_BYTES or len(self.events) - dropped > KEPT_EVENTS:
                if dropped == len(self.events) - 1:  # the newest event stays
                    break
                self._size -= len(self.events[dropped])
                dropped += 1
            del self.events[:dropped]
            self.first: int = self.first + dropped
        self.ending: Ending | None = batch.ending
        self.advance(batch.last)


class Tails:
    """The tails of one process, each open while somebody looks at it."""

    def __init__(self, log: Log, outage: Outage) -> None:
        self._log = log
        self._outage = outage
        self._newest: WeakValueDictionary[tuple[str, str], Tail] = WeakValueDictionary()
        self._all: WeakSet[Tail] = WeakSet()

    def __iter__(self) -> Iterator[Tail]:
        return iter(list(self._all))

    def open(self, key: str, token: str, last: int) -> Tail:
        """Return a generation's tail; a new one begins at `last`, where the log is known to end."""
        tail = self._newest.get((key, token))
        if tail is None or tail.lost or tail.closed:
            tail = self._newest[key, token] = Tail(self._log, self._outage, key, token, last)
            self._all.add(tail)
        return tail

    async def aclose(self) -> None:
        """Let all viewers go, without an ending: they can resume elsewhere."""
        for tail in self:
            tail.close()
        tasks = [tail.task for tail in self if tail.task is not None and not tail.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


class Linger:
    """Knows for how long nobody, in any process, has watched a generation. Asked at each beat."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._alone_since = time.monotonic()
        self._visited = False

    def is_over(self, lease: Lease, feed: Feed) -> bool:
        """Tell whether that is long enough, by what the log and the viewers here say now."""
        now = time.monotonic()
        if lease.followers or feed.viewers:
            self._visited, self._alone_since = True, math.inf
            return False
        if not self._visited and (lease.visited or feed.left):  # between two beats
            self._visited, self._alone_since = True, feed.left or now
        self._alone_since = max(min(self._alone_since, now), feed.left)
        least = 0.0 if self._visited else FIRST_VIEWER
        return now - self._alone_since >= max(self._seconds, least)
