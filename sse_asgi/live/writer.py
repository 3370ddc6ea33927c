"""The writer: brings a producer's events into the log, whatever happens to the log.

It keeps every event until the end. When the log has lost some, or the lease, the writer takes
the generation back and appends again what is missing, under the same positions.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from sse_asgi.errors import GenerationTooLargeError, LeaseLostError, LogError, LogUnavailableError
from sse_asgi.live.log import Ack, Ending, Lease, Log

_EVENTS = 512
_BYTES = 65_536
_BACKLOG = 4096
_PAUSE = 0.1

_logger = logging.getLogger("sse_asgi")


class Writer:
    """Appends one generation's events, in order, over one exchange at a time.

    Args:
        log: Where to.
        key: The generation.
        token: Its producer.
        meta: As in `Log.create`.
        keep: As in `Log.create`.
        max_events: Events that the generation may have.
        max_bytes: Bytes that its events may have together.
        on_stop: Called when the log says that somebody asked for the end.
        on_lost: Called once when the generation cannot be written any more: it is fenced, or
            the log has been out of reach for longer than its lease.

    Attributes:
        key: The generation.
        token: Its producer.
        meta: What the log knows of it.
        acked: The position up to which the log has acknowledged the events.
        size: Bytes of all events.
    """

    def __init__(
        self,
        log: Log,
        key: str,
        token: str,
        meta: str,
        *,
        keep: float,
        max_events: int,
        max_bytes: int,
        on_stop: Callable[[], None],
        on_lost: Callable[[LogError], None],
    ) -> None:
        self.key = key
        self.token = token
        self.acked = 0
        self.size = 0
        self._log = log
        self.meta = meta
        self._keep = keep
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._local = log.local
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._events: list[bytes] = []
        self._lost = False
        self._failing_since: float | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None

    @property
    def last(self) -> int:
        """The position of the last event, written or waiting."""
        return len(self._events)

    async def write(self, events: Sequence[bytes]) -> None:
        """Add events; wait only if too many have not been acknowledged.

        Raises:
            GenerationTooLargeError: They are more than the generation may have.
        """
        prev = len(self._events)
        self._events += events
        self.size += len(events[0]) if len(events) == 1 else sum(map(len, events))
        if self.size > self._max_bytes or prev >= self._max_events:
            raise GenerationTooLargeError(
                f"the generation outgrew {self._max_events} events or {self._max_bytes} bytes; "
                "raise max_events or max_bytes of Live if that is expected"
            )
        if self._local:
            await self._write_now(prev, events)
            return
        self._start()
        while len(self._events) - self.acked > _BACKLOG and not self._lost:
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    async def _write_now(self, prev: int, events: Sequence[bytes]) -> None:
        """Append to a log that never waits, so that a chunk costs no task."""
        if prev != self.acked or self._lost:
            await self._flush()
            return
        try:
            ack = await self._log.append(self.key, self.token, prev, events)
        except LogError:
            await self._flush()
        else:
            self.acked = ack.tail
            if ack.stop:
                self._on_stop()

    def heed(self, lease: Lease) -> None:
        """Act on a beat's answer: take the generation back, or append what was lost."""
        if self._flushing is None and not self._lost:
            if not lease.held:
                self._start(self._exchange(self._attach))
            elif lease.tail < self.acked:
                self.acked = lease.tail
                self._start()
        if lease.held and lease.stop:
            self._on_stop()

    def lose(self, error: LogError) -> None:
        """Give up writing."""
        if not self._lost:
            self._lost = True
            self._wake()
            self._on_lost(error)

    async def drain(self) -> None:
        """Wait until every event is acknowledged, or the writer has given up."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])
        await self._flush()

    async def finish(self, events: Sequence[bytes], ending: Ending) -> None:
        """Append what is missing, the last events and the ending; or give up."""
        await self.drain()
        written = len(self._events)
        self._events += events
        finished = False

        async def finish() -> Ack:
            nonlocal finished
            rest = self._events[self.acked :]
            ack = await self._log.finish(self.key, self.token, self.acked, rest, ending)
            finished = ack.tail == len(self._events)
            return ack

        while not (finished or self._lost):
            # The log may lose events meanwhile: those come first, in bounded pieces.
            await self._exchange(self._append if self.acked < written else finish)

    def _start(self, work: Awaitable[None] | None = None) -> None:
        if self._flushing is None and not self._lost:
            self._flushing = asyncio.create_task(self._work(work), name="sse_asgi live writer")

    async def _work(self, first: Awaitable[None] | None) -> None:
        try:
            if first is not None:
                await first
            await self._flush()
        finally:
            self._flushing = None

    async def _flush(self) -> None:
        while self.acked < len(self._events) and not self._lost:
            await self._exchange(self._append)
            self._wake()

    async def _append(self) -> Ack:
        return await self._log.append(self.key, self.token, self.acked, self._next())

    def _next(self) -> Sequence[bytes]:
        """Return the events to append now, bounded in number and bytes."""
        events = self._events[self.acked : self.acked + _EVENTS]
        if len(events) > 1:
            size = 0
            for count, event in enumerate(events):
                size += len(event)
                if size > _BYTES:
                    return events[: max(1, count)]
        return events

    async def _exchange(self, call: Callable[[], Awaitable[Ack]]) -> None:
        """Make a call once, and note what it says; whoever calls goes on until it is enough."""
        try:
            try:
                ack = await call()
            except LeaseLostError:
                ack = await self._attach()
        except LogUnavailableError as error:
            await self._pause(error)
        except LogError as error:
            self.lose(error)
        else:
            self._failing_since = None
            self.acked = min(ack.tail, len(self._events))
            if ack.stop:
                self._on_stop()

    async def _attach(self) -> Ack:
        return Ack(await self._log.attach(self.key, self.token, self.meta, keep=self._keep))

    async def _pause(self, error: LogUnavailableError) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            _logger.warning("the log of a generation is out of reach; trying again")
        if now - self._failing_since > self._log.lease:
            self.lose(error)
        else:
            await asyncio.sleep(_PAUSE)

    def _wake(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None
