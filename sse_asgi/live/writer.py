"""The writer: brings a producer's events into the log, whatever happens to the log.

It keeps every event until the end. When the log has lost some, or the lease, the writer takes
the generation back and appends again what is missing, under the same positions. Its feed shows
the events to the viewers of this process, as far as the log has acknowledged them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from sse_asgi.errors import GenerationTooLargeError, LeaseLostError, LogError, LogUnavailableError
from sse_asgi.live.appends import Appends
from sse_asgi.live.defects import defect
from sse_asgi.live.feed import Feed
from sse_asgi.live.log import LOST, Ack, Append, Ending, Lease, LocalLog, Log

_EVENTS = 512
_BYTES = 65_536
_BACKLOG = 4096
_PAUSE = 0.1

_logger = logging.getLogger("sse_asgi")


class Writer:
    """Appends one generation's events, in order.

    Args:
        log: Where to.
        appends: What brings them there, together with those of other generations.
        key: The generation.
        feed: Where viewers read them.
        meta: As in `Log.create`.
        keep: As in `Log.create`.
        max_events: Events that the generation may have.
        max_bytes: Bytes that its events may have together.
        on_stop: Called when the log says that somebody asked for the end.
        on_lost: Called once when the generation cannot be written any more: it is fenced, or
            the log has been out of reach for longer than its lease.

    Attributes:
        key: The generation.
        feed: Where viewers read; its `last` is the position that the log has acknowledged.
        token: The producer's token.
        meta: What the log knows of it.
        size: Bytes of all events.
    """

    def __init__(
        self,
        log: Log,
        appends: Appends,
        key: str,
        feed: Feed,
        meta: str,
        *,
        keep: float,
        max_events: int,
        max_bytes: int,
        on_stop: Callable[[], object],
        on_lost: Callable[[LogError], object],
    ) -> None:
        self.key = key
        self.feed = feed
        self.token = feed.token
        self.meta = meta
        self.size = 0
        self._log = log
        self._append_now = log.append_now if isinstance(log, LocalLog) else None
        self._appends = appends
        self._keep = keep
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._events = feed.events
        self._shown = 0  # kept only where the log has lost what viewers may have seen
        self._busy = False  # an append or a repair is under way
        self._lost = False
        self._failing_since: float | None = None
        self._repair: asyncio.Task[None] | None = None
        self._progress: asyncio.Event | None = None

    @property
    def last(self) -> int:
        """The position of the last event, acknowledged or waiting."""
        return len(self._events)

    @property
    def shown(self) -> int:
        """The position up to which viewers may have seen events."""
        return max(self._shown, self.feed.last)

    def write(self, events: Sequence[bytes]) -> Awaitable[None] | None:
        """Add events. What it returns, if anything, is to be awaited before the next call.

        Raises:
            GenerationTooLargeError: They are more than the generation may have; none is added.
        """
        if not events:
            return None
        prev = len(self._events)
        size = self.size + (len(events[0]) if len(events) == 1 else sum(map(len, events)))
        if size > self._max_bytes or prev + len(events) > self._max_events:
            raise GenerationTooLargeError(
                f"the generation outgrew {self._max_events} events or {self._max_bytes} bytes; "
                "raise max_events or max_bytes of Live if that is expected"
            )
        self.size = size
        self._events += events
        if self._busy or self._lost:
            return self._room() if prev - self.feed.last > _BACKLOG else None
        self._busy = True
        if self._append_now is not None and prev == self.feed.last:
            answer: Ack | LogError
            try:
                answer = self._append_now(Append(self.key, self.token, prev, events))
            except LogUnavailableError as error:
                answer = error
            except Exception as error:  # noqa: BLE001 - logged, and the generation's failure
                answer = defect(error, "append_now")
            self.settle(answer)
        else:
            self._appends.add(self)
        return None

    def next(self) -> Append:
        """Return the events to append now, bounded in number and bytes."""
        prev = self.feed.last
        events = self._events[prev : prev + _EVENTS]
        if len(events) > 1:
            size = 0
            for count, event in enumerate(events):
                size += len(event)
                if size > _BYTES:
                    del events[max(1, count) :]
                    break
        return Append(self.key, self.token, prev, events)

    def settle(self, answer: Ack | LogError) -> None:
        """Note what the log says to an append, and go on."""
        self._busy = False
        if isinstance(answer, Ack):
            self._acknowledge(answer)
            if self.feed.last < len(self._events):
                self._go_on()
        elif isinstance(answer, LeaseLostError):
            self._start_repair(self._try(self._attach))
        elif isinstance(answer, LogUnavailableError):
            self._start_repair(self._pause(answer))
        else:
            self.lose(answer)

    def heed(self, lease: Lease) -> None:
        """Act on a beat's answer: take the generation back, or append what was lost."""
        if not self._busy and not self._lost:
            if not lease.held:
                self._start_repair(self._try(self._attach))
            elif lease.tail < self.feed.last:
                self._shown = self.shown
                self.feed.last = lease.tail
                self._go_on()
        if lease.held and lease.stop:
            self._on_stop()

    def lose(self, error: LogError) -> None:
        """Give up writing."""
        if not self._lost:
            self._lost = True
            self._note_progress()
            self.feed.end(Ending(LOST))
            self._on_lost(error)

    async def drain(self) -> None:
        """Wait until every event is acknowledged and nothing is under way, or it is lost."""
        while (self._busy or self.feed.last < len(self._events)) and not self._lost:
            self._go_on()
            self._progress = self._progress or asyncio.Event()
            await self._progress.wait()

    async def finish(self, events: Sequence[bytes], ending: Ending) -> None:
        """Append what is missing, the last events and the ending; or give up."""
        await self.drain()
        self._busy = True  # from here on there is only this
        written = len(self._events)
        self._events += events
        finished = False

        async def finish() -> Ack:
            nonlocal finished
            prev = self.feed.last
            ack = await self._log.finish(self.key, self.token, prev, self._events[prev:], ending)
            finished = ack.tail == len(self._events)
            return ack

        while not (finished or self._lost):
            # The log may lose events meanwhile: those come first, in bounded pieces.
            await self._try(self._append if self.feed.last < written else finish)
        self.feed.end(ending)

    # Appending

    def _go_on(self) -> None:
        if self.feed.last < len(self._events) and not (self._busy or self._lost):
            self._busy = True
            self._appends.add(self)

    async def _append(self) -> Ack:
        (answer,) = await self._log.append([self.next()])
        if isinstance(answer, LogError):
            raise answer
        return answer

    def _acknowledge(self, ack: Ack) -> None:
        self._failing_since = None
        tail = min(ack.tail, len(self._events))
        if tail < self.feed.last:
            self._shown = self.shown
        self.feed.advance(tail)
        if ack.stop:
            self._on_stop()
        if self._progress is not None:
            self._note_progress()

    def _note_progress(self) -> None:
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    async def _room(self) -> None:
        while len(self._events) - self.feed.last > _BACKLOG and not self._lost:
            self._progress = self._progress or asyncio.Event()
            await self._progress.wait()

    # Repairing

    def _start_repair(self, repair: Coroutine[None, None, None]) -> None:
        self._busy = True
        self._repair = asyncio.create_task(repair, name="sse_asgi live repair")
        self._repair.add_done_callback(self._repaired)

    def _repaired(self, _: "asyncio.Task[None]") -> None:
        self._busy = False
        self._note_progress()
        self._go_on()

    async def _attach(self) -> Ack:
        return Ack(await self._log.attach(self.key, self.token, self.meta, keep=self._keep))

    async def _try(self, call: Callable[[], Awaitable[Ack]]) -> None:
        """Make a call once, and note what it says; whoever calls goes on until it is enough."""
        try:
            self._acknowledge(await self._call(call))
        except LogUnavailableError as error:
            await self._pause(error)
        except LogError as error:
            self.lose(error)
        except Exception as error:  # noqa: BLE001 - logged, and the generation's failure
            self.lose(defect(error, "append, attach or finish"))

    async def _call(self, call: Callable[[], Awaitable[Ack]]) -> Ack:
        try:
            return await call()
        except LeaseLostError:
            return await self._attach()

    async def _pause(self, error: LogUnavailableError) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            _logger.warning("the log of a generation is out of reach; trying again")
        if now - self._failing_since > self._log.lease:
            self.lose(error)
        else:
            await asyncio.sleep(_PAUSE)
