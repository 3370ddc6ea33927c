"""Follow one generation: pushes while they join, the log whenever they do not."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator

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
        self._pushed: deque[Batch] = deque()
        self._size = 0  # of these, in bytes
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
            self._pushed.append(Batch(prev, events))
            self._size += len(message)
            if self._size > _QUEUE_BYTES:  # nobody takes them; the log has them, too
                self._forget()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _forget(self) -> None:
        self._pushed.clear()
        self._size, self._stale = 0, True

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yield batches up to the ending."""
        try:
            # Who is counted before it reads leaves no moment in which nobody seems to follow.
            try:
                await self._session.listen(self._channel, self.hear)
            except LogError:
                self._stale = True  # the look that follows says so
            while True:
                batch = await self._look() if self._stale else self._next()
                if batch is not None:
                    self._after = batch.last
                    yield batch
                    if batch.ending is not None:
                        return
                elif self._missing:
                    await asyncio.sleep(PAUSE)
                elif not self._stale:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        finally:
            self._session.leave(self._channel, self.hear)

    def _next(self) -> Batch | None:
        """Return events that were pushed and follow; None if there are none."""
        while self._pushed:
            pushed = self._pushed[0]
            skip = self._after - pushed.after
            if skip < 0:
                self._forget()  # a hole: the log has what is in it, or nobody has
                break
            if events := bounded(pushed.events, skip, len(pushed.events)):
                return Batch(self._after, events)
            self._pushed.popleft()
        self._size = 0
        return None

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
