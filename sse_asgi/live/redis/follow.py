"""Follow one generation: pushes while they join, the log whenever they do not."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.log import BATCH_BYTES, BATCH_EVENTS, LOST, Batch, Ending
from sse_asgi.live.redis.entries import read_push
from sse_asgi.live.redis.pubsub import Channel
from sse_asgi.live.redis.session import Session

PAUSE: Final = 0.25
"""Seconds after which somebody looks again who waits for something to come back."""


class Absence:
    """A clock that runs while something is missing."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, *, missing: bool) -> float:
        """Note whether it is missing now, and return for how long it has been."""
        if not missing:
            self._since = None
            return 0.0
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since


class Follower:
    """Gives the batches of one generation.

    A missing owner is not yet a dead one: after a failover the server may know no lease while
    the producer is about to take it back, so readers wait a little before they write
    `INTERRUPTED`. A missing log is waited for as long as a producer could bring it back.
    """

    def __init__(self, session: Session, key: str, token: str) -> None:
        self._session = session
        self._key = key
        self._token = token
        self._unowned = Absence()
        self._gone = Absence()
        self._down = Absence()
        self._bury = False
        self._pause = session.silence
        self._behind = False

    async def batches(self, after: int) -> AsyncGenerator[Batch, None]:
        """Yield batches from a position on, up to the ending."""
        await self._session.ready()
        channel = self._session.pushes.listen(self._session.keys(self._key)[0])
        try:
            # Who is counted before it reads leaves no moment in which nobody seems to follow.
            await channel.wait(min(1.0, self._session.silence))
            while True:
                channel.dirty = False
                batch = await self._look(after)
                if batch is not None:
                    after = batch.last
                    yield batch
                    if batch.ending is not None:
                        return
                while not self._behind and await channel.wait(self._pause) and not channel.dirty:
                    events = self._take(channel, after)
                    if events:
                        batch = Batch(after, events)
                        after = batch.last
                        yield batch
        finally:
            self._session.pushes.leave(channel)

    def _take(self, channel: Channel, after: int) -> list[bytes]:
        """Join the waiting pushes, up to one that does not fit: then the log has more."""
        events: list[bytes] = []
        size = 0
        while channel.messages and size < BATCH_BYTES and len(events) < BATCH_EVENTS:
            message = channel.messages.popleft()
            push = read_push(message)
            reached = after + len(events)
            if push.token != self._token or push.prev > reached or not push.events:
                self._behind = True
                break
            events += push.events[reached - push.prev :]
            size += len(message)
        return events

    async def _look(self, after: int) -> Batch | None:
        """Read the log once, and note there that somebody follows; None if nothing is new yet."""
        self._behind = False
        session = self._session
        try:
            reading = await session.read(self._key, after, bury=self._bury, present=True)
        except LogUnavailableError:
            if self._down.seconds(missing=True) > session.lease:
                raise
            await asyncio.sleep(PAUSE)
            return None
        self._down.seconds(missing=False)
        gone = self._gone.seconds(missing=reading is None)
        if reading is None:
            self._pause = min(PAUSE, session.silence)
            dead = gone > session.lease + session.silence
            return Batch(after, (), Ending(LOST)) if dead else None
        if reading.token != self._token:
            return Batch(after, (), Ending(LOST))
        self._note_owner(owned=reading.owned or reading.ending is not None)
        batch = reading.batch(after)
        self._behind = batch.last < reading.last
        return batch if batch.events or batch.ending is not None else None

    def _note_owner(self, *, owned: bool) -> None:
        session = self._session
        self._bury = self._unowned.seconds(missing=not owned) > session.grace
        self._pause = session.silence if owned else min(PAUSE, session.silence)
