"""Tails: the viewers of a process share one follower of each generation that runs elsewhere.

The tail holds the newest events; a viewer that is behind them reads the log until it has
caught up.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final

from sse_asgi.errors import LogError
from sse_asgi.live.events import Block
from sse_asgi.live.log import BATCH_BYTES, LOST, Batch, Ending, Log
from sse_asgi.live.outage import Outage, defect
from sse_asgi.live.viewer import Feed

KEPT_EVENTS: Final = 512
"""Events that a tail keeps when it makes room, which it does at twice as many."""

KEPT_BYTES: Final = 4 * BATCH_BYTES
"""The same in bytes; the newest event is always kept."""

_PAUSE: Final = 0.25


class Tail(Feed):
    """The newest events of a generation that runs elsewhere, followed once for all viewers here.

    A viewer that is behind them reads the log until it has caught up.

    Args:
        log: Where they come from.
        outage: Told of a log that does not answer.
        key: The generation.
        token: Its producer.
        after: The position to follow from.
        tails: Where it is listed while somebody looks at it.
    """

    events: list[bytes]
    first: int
    ending: Ending | None

    def __init__(
        self, log: Log, outage: Outage, key: str, token: str, after: int, *, tails: "Tails"
    ) -> None:
        super().__init__(token, first=after)
        self.key = key
        self._log = log
        self._outage = outage
        self._size = 0
        self._has_heard = False
        self._tails = tails
        self.task: asyncio.Task[None]
        self.task = asyncio.create_task(self._follow(), name="sse_asgi live tail")

    def leave(self) -> None:
        """Note that a viewer has left; the last one lets the generation go."""
        super().leave()
        if not self.viewers:
            self._tails.close(self)

    def close(self) -> None:
        """Stop following, and let its viewers go.

        If nothing has come yet, a little later: the log may not know yet that somebody follows, and
        a generation that lingers must learn of a viewer who came and left at once.
        """
        self.closed = True
        self.wake()
        if self._has_heard:
            self.task.cancel()
        else:
            asyncio.get_running_loop().call_later(_PAUSE, self.task.cancel)

    async def fetch(self, after: int, first_line: bytes) -> Block:
        """Read what has left the tail; the viewer waits if the log is out of reach."""
        began = time.monotonic()
        while True:
            known = self.known_behind(after, first_line)
            if known is not None:
                return known
            batch = await self._read(after)
            known = self.known_behind(after, first_line)
            if known is not None and known.last == batch.last:
                return known  # another viewer, who waited for the same, was first
            if batch.events or not (batch.ending is None or batch.ending.outcome == LOST):
                return self.encode_behind(after, batch.events, batch.ending, first_line)
            # The log is out of reach or has lost events; its producer may bring them back.
            if self.lost or self.closed or time.monotonic() - began > self._log.lease:
                return Block(b"", after, after, Ending(LOST))
            await asyncio.sleep(_PAUSE)

    async def _read(self, after: int) -> Batch:
        try:
            return await self._log.read(self.key, self.token, after)
        except LogError as error:
            self._outage.note(error)
            return Batch(after, ())

    async def _follow(self) -> None:
        try:
            while self.ending is None:
                await self._follow_once()
        except LogError as error:
            self._outage.note(error)
        except Exception as error:  # noqa: BLE001 - logged; the viewers are told below
            defect(error, "follow")
        finally:
            self.end(Ending(LOST))  # no viewer waits for a tail that nobody feeds

    async def _follow_once(self) -> None:
        async with aclosing(self._log.follow(self.key, self.token, self.last)) as batches:
            async for batch in batches:
                self._take(batch)

    def _take(self, batch: Batch) -> None:
        self._has_heard = True
        self.events += batch.events
        self._size += sum(map(len, batch.events))
        if len(self.events) >= 2 * KEPT_EVENTS or self._size >= 2 * KEPT_BYTES:
            self._make_room()
        self.ending = batch.ending
        self.advance(self.first + len(self.events))

    def _make_room(self) -> None:
        """Drop the oldest events, but never the newest one."""
        kept = size = 0
        for event in reversed(self.events):
            if kept == KEPT_EVENTS or (kept and size + len(event) > KEPT_BYTES):
                break
            kept += 1
            size += len(event)
        self.first += len(self.events) - kept
        del self.events[: len(self.events) - kept]
        self._size = size


class Tails:
    """The tails of one process, each open while somebody looks at it.

    Args:
        log: Where the generations are kept.
        outage: Told of a log that does not answer.
    """

    def __init__(self, log: Log, outage: Outage) -> None:
        self._log = log
        self._outage = outage
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
            tail = Tail(self._log, self._outage, key, token, last, tails=self)
            self._tails[key] = tail
        return tail

    def close(self, tail: Tail) -> None:
        """Close a tail that nobody looks at any more."""
        if self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
        tail.close()
        if not tail.task.done():
            self._closing.add(tail.task)
            tail.task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Let all viewers go, without an ending: they can resume elsewhere."""
        for tail in list(self._tails.values()):
            self.close(tail)
        for task in self._closing:
            task.cancel()
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)
