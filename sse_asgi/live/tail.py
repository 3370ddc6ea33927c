"""Tails: the viewers of a process share one follower of each generation.

A viewer is a cursor, not a queue. The tail holds the newest events; a viewer that is behind
them reads the log until it has caught up, and slows nobody down.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.log import LOST, Batch, Ending, Log

SIZE: Final = 512
"""Events that a tail holds at least once it has seen as many; it never holds twice as many."""

_PAUSE = 0.25


class Tail:
    """The newest events of one generation.

    Args:
        log: Where they come from.
        key: The generation.
        token: Its producer.
        after: The position to follow from.

    Attributes:
        first: The position before the oldest event held.
        ending: How the generation ended; None while it runs.
        viewers: How many look at it.
    """

    def __init__(self, log: Log, key: str, token: str, after: int) -> None:
        self.key = key
        self.token = token
        self.first = after
        self.ending: Ending | None = None
        self.viewers = 0
        self._log = log
        self._closed = False
        self._events: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._task = asyncio.create_task(self._follow(), name="sse_asgi live tail")

    def __len__(self) -> int:
        return len(self._events)

    @property
    def last(self) -> int:
        """The position of the newest event."""
        return self.first + len(self._events)

    @property
    def lost(self) -> bool:
        """Whether it ended without an ending that is in the log."""
        return self.ending is not None and self.ending.outcome == LOST

    async def view(self, after: int) -> AsyncGenerator[Batch, None]:
        """Yield the batches after a position, up to the ending or a close, for one viewer."""
        while not self._closed:
            if after < self.first:
                batch = await self._read(after)
            elif after < self.last:
                batch = Batch(after, self._events[after - self.first :], self.ending)
            elif self.ending is not None:
                batch = Batch(after, (), self.ending)
            else:
                await self._change()
                continue
            after = batch.last
            if batch.events or batch.ending is not None:
                yield batch
            if batch.ending is not None:
                return

    def end(self, ending: Ending) -> None:
        """End the generation for the viewers here, whatever the log says."""
        if self.ending is None:
            self.ending = ending
            self._wake()

    def close(self) -> "asyncio.Task[None]":
        """Stop following, and let its viewers go; return the task that does so."""
        self._closed = True
        self._task.cancel()
        self._wake()
        return self._task

    async def _read(self, after: int) -> Batch:
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
        if self.ending is not None:
            return
        self._events += batch.events
        if len(self._events) >= 2 * SIZE:
            surplus = len(self._events) - SIZE
            del self._events[:surplus]
            self.first += surplus
        self.ending = batch.ending
        self._wake()

    async def _change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Tails:
    """The tails of one process, each open while somebody looks at it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tails: dict[str, Tail] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tails)

    async def view(
        self, key: str, token: str, after: int, *, last: int
    ) -> AsyncGenerator[Batch, None]:
        """Yield the batches of a generation after a position, up to the ending.

        Args:
            key: The generation.
            token: Its producer.
            after: The viewer's position.
            last: Where the log's tail is known to be: a new tail begins there.
        """
        tail = self._tails.get(key)
        if tail is None or tail.token != token or tail.lost:
            tail = self._tails[key] = Tail(self._log, key, token, last)
        tail.viewers += 1
        try:
            async with aclosing(tail.view(after)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            tail.viewers -= 1
            if not tail.viewers:
                self._close(tail)

    def end(self, key: str, token: str, ending: Ending) -> None:
        """End a generation for the viewers here, because its producer here has given up."""
        tail = self._tails.get(key)
        if tail is not None and tail.token == token:
            tail.end(ending)

    async def aclose(self) -> None:
        """Let all viewers go, without an ending: they can resume elsewhere."""
        for tail in list(self._tails.values()):
            self._close(tail)
        if self._closing:
            await asyncio.wait(self._closing)

    def _close(self, tail: Tail) -> None:
        if self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
        task = tail.close()
        if not task.done():
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
