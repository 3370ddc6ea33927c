"""Follow one generation: pushes while they join, the log whenever they do not."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.log import LOST, Batch, Ending, bounded
from sse_asgi.live.redis.client import PAUSE
from sse_asgi.live.redis.scripts import read_push
from sse_asgi.live.redis.session import Session

_QUEUE_BYTES = 1_048_576


class Follower:
    """Gives the batches of one generation. It listens to the channel of its log.

    A missing owner is not yet a dead one: after a failover the server may know no lease while
    the producer is about to take it back, so readers wait a little before they write
    `INTERRUPTED`. A missing log is waited for as long as a producer could bring it back.
    """

    def __init__(self, session: Session, key: str, token: str, after: int) -> None:
        self._session = session
        self._key = key
        self._token = token
        self._channel = session.name(key, "log")
        self._after = after
        self._pushed: list[bytes] = []  # consecutive events that came last
        self._first = after  # the position before the first of them
        self._size = 0  # of their pushes
        self._stale = False  # whether the log may have what was not pushed
        self._waiter: asyncio.Future[None] | None = None
        self._missing, self._since = "", 0.0  # what is, and since when
        self._bury = False

    def hear(self, message: bytes | None) -> None:
        """Take a push in; or note, where there is none, that some may have been lost."""
        token, prev, events = ("", 0, []) if message is None else read_push(message)
        if message is None or token != self._token or not events:  # another's, or the ending
            self._stale = True
        else:
            self._keep(prev, events, len(message))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _keep(self, prev: int, events: list[bytes], size: int) -> None:
        self._size = self._size + size if self._pushed else size
        reached = self._first + len(self._pushed)
        if prev > reached or self._size > _QUEUE_BYTES:
            self._pushed, self._size = [], size
            self._first = reached = prev
        self._pushed += events[reached - prev :]
        self._stale = self._stale or self._first > self._after

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yield batches up to the ending."""
        try:
            # Who is counted before it reads leaves no moment in which nobody seems to follow.
            try:
                await self._session.listen(self._channel, self.hear)
            except LogError:
                self._stale = True  # the look that follows says so
            while True:
                batch: Batch | None = None
                if self._stale:
                    batch = await self._look()
                    if batch is None and self._missing:
                        await asyncio.sleep(PAUSE)
                elif events := self._take():
                    batch = Batch(self._after, events)
                else:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
                if batch is not None:
                    self._after = batch.last
                    yield batch
                    if batch.ending is not None:
                        return
        finally:
            self._session.leave(self._channel, self.hear)

    def _take(self) -> Sequence[bytes]:
        """Take pushed events that follow."""
        skip = self._after - self._first
        if skip < 0:
            return ()  # the log does not have those before them: nor does the producer, yet
        events = bounded(self._pushed, skip, len(self._pushed))
        self._first = self._after + len(events)
        del self._pushed[: skip + len(events)]
        return events

    async def _look(self) -> Batch | None:
        """Read the log once, and note there that somebody follows; None if nothing is new yet."""
        session = self._session
        self._stale = False
        try:
            await session.listen(self._channel, self.hear)
            reading = await session.read(self._key, self._after, bury=self._bury, present=True)
        except LogUnavailableError:
            self._bury = False
            if self._lasts("server") > session.lease:
                raise
            return None
        if reading is None:
            gone = self._lasts("log") > session.lease + session.silence
            return Batch(self._after, (), Ending(LOST)) if gone else None
        head, batch = reading.head, reading.batch
        if head.token != self._token:
            return Batch(self._after, (), Ending(LOST))
        if reading.owned or head.ending is not None:
            self._missing, self._bury = "", False
        else:
            self._bury = self._lasts("owner") > session.grace
        self._stale = self._stale or batch.last < head.last
        return batch if batch.events or batch.ending is not None else None

    def _lasts(self, missing: str) -> float:
        """Note what is missing, to look again, and return for how many seconds it has been that."""
        self._stale = True
        now = time.monotonic()
        if self._missing != missing:
            self._missing, self._since = missing, now
        return now - self._since
