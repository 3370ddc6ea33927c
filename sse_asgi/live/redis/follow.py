"""Follow one generation: pushes while they join, the log whenever they do not."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.log import LOST, Batch, Ending
from sse_asgi.live.redis.absence import Absence
from sse_asgi.live.redis.push import Channel
from sse_asgi.live.redis.session import Session
from sse_asgi.live.redis.wire import read_push

_PAUSE = 0.25


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
        self._pause = session.settings.silence
        self._looked = 0.0
        self._behind = False
        self._ended = False

    async def batches(self, after: int) -> AsyncGenerator[Batch, None]:
        """Yield batches from a position on, up to the ending."""
        channel: Channel | None = None
        try:
            while True:
                if channel is not None:
                    channel.dirty = False
                batch = await self._look(after)
                if batch is not None:
                    after = batch.last
                    yield batch
                    if batch.ending is not None:
                        self._ended = True
                        return
                if channel is None:
                    log = self._session.keys(self._key, "log")[0]
                    channel = self._session.pushes.listen(log)
                while not self._behind and await self._hears(channel):
                    events = self._take(channel, after)
                    if events:
                        batch = Batch(after, events)
                        after = batch.last
                        yield batch
        finally:
            await self._leave(channel)

    async def _leave(self, channel: Channel | None) -> None:
        if channel is not None:
            self._session.pushes.leave(channel)
        if not self._ended:
            with suppress(LogUnavailableError):
                await self._session.leave(self._key)

    async def _hears(self, channel: Channel) -> bool:
        """Wait for a push; False when the log has to be looked at instead."""
        # Also in the middle of a busy stream the log has to hear that somebody follows.
        if time.monotonic() - self._looked > self._session.settings.lease / 3:
            return False
        return await channel.wait(self._pause) and not channel.dirty

    def _take(self, channel: Channel, after: int) -> list[bytes]:
        """Join the waiting pushes, up to one that does not fit: then the log has more."""
        events: list[bytes] = []
        while channel.messages:
            push = read_push(channel.messages.popleft())
            reached = after + len(events)
            if push.token != self._token or push.prev > reached or not push.events:
                self._behind = True
                break
            events += push.events[reached - push.prev :]
        return events

    async def _look(self, after: int) -> Batch | None:
        """Read the log once, and say there that somebody follows; None if nothing is new yet."""
        self._behind = False
        self._looked = time.monotonic()
        try:
            reading = await self._session.read(self._key, after, bury=self._bury, present=True)
        except LogUnavailableError:
            if self._down.seconds(missing=True) > self._session.settings.lease:
                raise
            await asyncio.sleep(_PAUSE)
            return None
        self._down.seconds(missing=False)
        gone = self._gone.seconds(missing=reading is None)
        if reading is None:
            self._pause = min(_PAUSE, self._session.settings.silence)
            dead = gone > self._session.settings.lease + self._session.settings.silence
            return Batch(after, (), Ending(LOST)) if dead else None
        if reading.token != self._token:
            return Batch(after, (), Ending(LOST))
        self._note_owner(owned=reading.owned or reading.ending is not None)
        batch = reading.batch(after)
        self._behind = batch.last < reading.last
        return batch if batch.events or batch.ending is not None else None

    def _note_owner(self, *, owned: bool) -> None:
        settings = self._session.settings
        self._bury = self._unowned.seconds(missing=not owned) > settings.grace
        self._pause = settings.silence if owned else min(_PAUSE, settings.silence)
