"""Follow one generation: pushes while they join, the log whenever they do not."""

import asyncio
import contextlib
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
        self._trouble = "", 0.0  # what is missing, and since when
        self._bury = False
        self._pause = session.silence

    def hear(self, message: bytes | None) -> None:
        """Take a push in; or note, where there is none, that some may have been lost."""
        if message is not None:
            self._take_in(message)
        else:
            self._stale = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_in(self, message: bytes) -> None:
        token, prev, events = read_push(message)
        if token != self._token or not events:  # another producer's, or the ending
            self._stale = True
            return
        self._size = self._size + len(message) if self._pushed else len(message)
        reached = self._first + len(self._pushed)
        if prev > reached or self._size > _QUEUE_BYTES:
            self._pushed, self._size = [], len(message)
            self._first = reached = prev
        self._pushed += events[reached - prev :]
        self._stale = self._stale or self._first > self._after

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yield batches up to the ending."""
        try:
            # Who is counted before it reads leaves no moment in which nobody seems to follow.
            with contextlib.suppress(LogError):  # the first look says so
                await self._session.listen(self._channel, self.hear)
                await self._wait(min(1.0, self._session.silence))
            self._stale = True
            while True:
                batch = await self._next()
                if batch is not None:
                    self._after = batch.last
                    yield batch
                    if batch.ending is not None:
                        return
        finally:
            self._session.leave(self._channel, self.hear)

    async def _next(self) -> Batch | None:
        """Return what follows, or None if that is not known yet."""
        if self._stale:
            return await self._look()
        events = self._take()
        if events:
            return Batch(self._after, events)
        return None if await self._wait(self._pause) else await self._look()

    def _take(self) -> Sequence[bytes]:
        """Take pushed events that follow."""
        skip = self._after - self._first
        if skip < 0:
            return ()  # the log does not have those before them: nor does the producer, yet
        events = bounded(self._pushed, skip, len(self._pushed))
        self._first = self._after + len(events)
        del self._pushed[: skip + len(events)]
        return events

    async def _wait(self, seconds: float) -> bool:
        """Wait for a push or a loss; return False after that many seconds of silence."""
        if self._stale:
            return True
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError:
            return False
        finally:
            self._waiter = None
        return True

    async def _look(self) -> Batch | None:
        """Read the log once, and note there that somebody follows; None if nothing is new yet."""
        session = self._session
        try:
            await self._session.listen(self._channel, self.hear)
            self._stale = False
            reading = await session.read(self._key, self._after, bury=self._bury, present=True)
        except LogUnavailableError:
            self._stale = True
            if self._lasts("server") > session.lease:
                raise
            await asyncio.sleep(PAUSE)
            return None
        if reading is None:
            self._pause = PAUSE
            gone = self._lasts("log") > session.lease + session.silence
            return Batch(self._after, (), Ending(LOST)) if gone else None
        head, batch = reading.head, reading.batch
        if head.token != self._token:
            return Batch(self._after, (), Ending(LOST))
        if reading.owned or head.ending is not None:
            self._trouble, self._bury, self._pause = ("", 0.0), False, session.silence
        else:
            self._bury, self._pause = self._lasts("owner") > session.grace, PAUSE
        self._stale = self._stale or batch.last < head.last
        return batch if batch.events or batch.ending is not None else None

    def _lasts(self, missing: str) -> float:
        """Note what is missing now, and return for how many seconds it has been that."""
        now = time.monotonic()
        if self._trouble[0] != missing:
            self._trouble = missing, now
        return now - self._trouble[1]
