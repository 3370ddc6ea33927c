"""Tails: the viewers of a process share one follower of each generation that runs elsewhere.

The tail holds the newest events; a viewer that is behind them reads the log until it has
caught up.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final

from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.feed import Feed
from sse_asgi.live.log import LOST, Batch, Ending, Log

SIZE: Final = 512
"""Events that a tail holds at least once it has seen as many; it never holds twice as many."""

_PAUSE = 0.25


class Tail(Feed):
    """The newest events of one generation.

    Args:
        log: Where they come from.
        key: The generation.
        token: Its producer.
        after: The position to follow from.
        tails: Where it is listed while somebody looks at it.
    """

    def __init__(self, log: Log, key: str, token: str, after: int, *, tails: "Tails") -> None:
        super().__init__(token, first=after, on_empty=lambda: tails.close(self))
        self.key = key
        self._log = log
        self._task = asyncio.create_task(self._follow(), name="sse_asgi live tail")

    def __len__(self) -> int:
        return len(self.events)

    def close(self) -> "asyncio.Task[None]":
        """Stop following, and let its viewers go; return the task that does so."""
        self.closed = True
        self._task.cancel()
        self.wake()
        return self._task

    async def fetch(self, after: int) -> Batch:
        """Read what has left the tail; the viewer waits if the log is out of reach."""
        began = time.monotonic()
        while True:
            try:
                batch = await self._log.read(self.key, self.token, after)
            except LogUnavailableError:
                batch = Batch(after, ())
            if batch.events or not (batch.ending is None or batch.ending.outcome == LOST):
                return batch
            # The log is out of reach or has lost events; its producer may bring them back.
            if self.lost or time.monotonic() - began > self._log.lease:
                return Batch(after, (), Ending(LOST))
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        try:
            while self.ending is None:
                try:
                    await self._follow_once()
                except LogUnavailableError:
                    self.end(Ending(LOST))
        finally:
            self.end(Ending(LOST))  # no viewer waits for a tail that nobody feeds

    async def _follow_once(self) -> None:
        async with aclosing(self._log.follow(self.key, self.token, self.last)) as batches:
            async for batch in batches:
                self._take(batch)

    def _take(self, batch: Batch) -> None:
        self.events += batch.events
        if len(self.events) >= 2 * SIZE:
            surplus = len(self.events) - SIZE
            del self.events[:surplus]
            self.first += surplus
        self.ending = batch.ending
        self.advance(self.first + len(self.events))


class Tails:
    """The tails of one process, each open while somebody looks at it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tails: dict[str, Tail] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tails)

    def open(self, key: str, token: str, last: int) -> Tail:
        """Return a generation's tail.

        Args:
            key: The generation.
            token: Its producer.
            last: Where the log's end is known to be: a new tail begins there.
        """
        tail = self._tails.get(key)
        if tail is None or tail.token != token or tail.lost:
            tail = self._tails[key] = Tail(self._log, key, token, last, tails=self)
        return tail

    def close(self, tail: Tail) -> None:
        """Close a tail that nobody looks at any more."""
        if self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
        task = tail.close()
        if not task.done():
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Let all viewers go, without an ending: they can resume elsewhere."""
        for tail in list(self._tails.values()):
            self.close(tail)
        if self._closing:
            await asyncio.wait(self._closing)
