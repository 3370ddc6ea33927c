"""The writer: brings a producer's events into the log, whatever happens to the log.

It keeps every event until the end. When the log has lost some, or the lease, the writer takes
the generation back and appends again what is missing, under the same positions. Its feed shows
the events to the viewers of this process, as far as the log has acknowledged them.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

from sse_asgi.errors import FencedError, LeaseLostError, LogError, LogUnavailableError
from sse_asgi.live.bounds import Bounds
from sse_asgi.live.log import LOST, Ack, Ending, Lease, Log, bounded
from sse_asgi.live.outage import Outage, defect
from sse_asgi.live.viewer import Feed

BACKLOG: Final = 4096
"""Events that wait for the log before the source has to wait, too."""

_PAUSE: Final = 0.1


class Told(Protocol):
    """Who has to know what the log says."""

    def stop_asked(self) -> None:
        """Note that somebody asked for the end."""
        ...

    def has_room(self) -> None:
        """Note that the log has caught up."""
        ...

    def lost(self, error: LogError) -> None:
        """Note, once, that the generation cannot be written any more."""
        ...


class Writer:
    """Appends one generation's events, in order.

    Args:
        log: Where to.
        bounds: How much it may store.
        key: The generation.
        token: Its producer's token.
        meta: As in `Log.create`.
        keep: As in `Log.create`.
        outage: Told of a log that does not answer.

    Attributes:
        key: The generation.
        meta: What the log knows of it.
        feed: Where viewers read; its `last` is the position that the log has acknowledged.
        told: Who is told; None before the start and after the end.
    """

    def __init__(
        self, log: Log, bounds: Bounds, key: str, token: str, meta: str, *, keep: float,
        outage: Outage,
    ) -> None:  # fmt: skip
        self.key = key
        self.meta = meta
        self.feed: Feed = Feed(token)
        self.told: Told | None = None
        self._log = log
        self._outage = outage
        self._is_local = log.lease == math.inf  # its `append` does not wait
        self._bounds = bounds
        self._keep = keep
        self._events = self.feed.events
        self._size = 0
        self._shown = 0  # kept only where the log has lost what viewers may have seen
        self._attached = True  # as far as is known, the log takes appends
        self._failing_since: float | None = None
        self._error: LogError | None = None  # why it is lost
        self._ending: Ending | None = None
        self._ended: asyncio.Future[None]
        self._before_ending = 0  # how many events come before those of the ending
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None  # what the task waits for

    @property
    def last(self) -> int:
        """The position of the last event, acknowledged or waiting."""
        return len(self._events)

    @property
    def shown(self) -> int:
        """The position up to which viewers may have seen events."""
        return max(self._shown, self.feed.last)

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the log that the source has to wait, too."""
        return self.feed.ending is None and len(self._events) - self.feed.last > BACKLOG

    def write(self, events: Sequence[bytes]) -> None:
        """Add events.

        Raises:
            GenerationTooLargeError: They are more than may be stored; those that fit are added.
        """
        prev = len(self._events)
        events, size, error = self._bounds.admit(events, prev, self._size)
        self._size += size
        self._events += events
        if events and not self._is_local:
            self.go_on()
        if error is not None:
            raise error

    async def append_here(self) -> None:
        """Append what waits from the source's own task, if the log is one that does not wait."""
        if self._is_local and self._is_free and self.feed.last < len(self._events):
            try:
                self._acknowledge(await self._append())
            except LogError as error:
                self._note_failure(error)
            except Exception as error:  # noqa: BLE001 - logged, and the generation's failure
                self.lose(defect(error, "append"))
        if self.feed.last < len(self._events):
            self.go_on()

    def finish(self, events: Sequence[bytes], ending: Ending) -> "asyncio.Future[None]":
        """Add the last events and the ending, which no bound refuses.

        Returns:
            What is done when the log has all of it, or raises why it will not.
        """
        self._ended = asyncio.get_running_loop().create_future()
        self._before_ending, self._ending = len(self._events), ending
        self._events += events
        if self._error is not None:
            self._ended.set_exception(self._error)
        self.go_on()
        return self._ended

    def heed(self, lease: Lease, last: int) -> None:
        """Act on a beat's answer: take the generation back, or append what was lost.

        Args:
            lease: The answer.
            last: What the log had acknowledged when it was asked.
        """
        if self.feed.ending is not None:  # it has no lease any more, and needs none
            return
        if not lease.held:
            self._attached = False
            self.go_on()
        elif lease.tail < min(last, self.feed.last) and self._is_free:
            self._set_back(lease.tail)
            self.go_on()
        if lease.held and lease.stop and self.told is not None:
            self.told.stop_asked()

    def lose(self, error: LogError) -> None:
        """Give up writing."""
        if self.feed.ending is not None:
            return
        self._error = error
        self.feed.end(Ending(LOST))
        self.go_on()  # the task ends
        if self._ending is not None and not self._ended.done():
            self._ended.set_exception(error)
        if self.told is not None:
            self.told.lost(error)

    def close(self) -> None:
        """Tell nobody any more, and let others have the memory."""
        self._bounds.release(self._size)
        self._size, self.told = 0, None
        if self._task is not None:
            self._task.cancel()

    # Doing what is due

    @property
    def _is_free(self) -> bool:
        at_work = self._task is not None and self._idle is None
        return self._attached and not at_work and self.feed.ending is None

    @property
    def _appendable(self) -> int:
        """The position of the last event that is appended, not stored with the ending."""
        return len(self._events) if self._ending is None else self._before_ending

    def go_on(self) -> None:
        """Have done what is due, in a task that lives until the ending."""
        if self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
        elif self._task is None and self.feed.ending is None:
            self._task = asyncio.create_task(self._work(), name="sse_asgi live writer")
            self._task.add_done_callback(self._worked)

    def _worked(self, _: "asyncio.Task[None]") -> None:
        """Go on, if whoever closes the event loop has cancelled the task."""
        self._task = self._idle = None
        self.go_on()

    async def _work(self) -> None:
        while self.feed.ending is None:
            name, call = self._due()
            if call is None:
                self._failing_since = None
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
                self._idle = None
                continue
            try:
                ack = await call()
            except (LeaseLostError, LogUnavailableError) as error:
                await self._pause(error)
            except LogError as error:
                self._note_failure(error)
            except Exception as error:  # noqa: BLE001 - logged, and the generation's failure
                self.lose(defect(error, name))
            else:
                self._failing_since = self._failing_since if name == "attach" else None
                self._acknowledge(ack)

    def _due(self) -> tuple[str, Callable[[], Awaitable[Ack]] | None]:
        if not self._attached:
            return "attach", self._attach
        if self.feed.last < self._appendable:
            return "append", self._append
        if self._ending is not None:
            return "finish", partial(self._finish, self._ending)
        return "", None

    async def _pause(self, error: LogError) -> None:
        """Let a log that has failed come back. A lost lease is first taken back without a wait."""
        again = self._failing_since is not None or isinstance(error, LogUnavailableError)
        self._note_failure(error)
        if again:
            await asyncio.sleep(_PAUSE)

    def _note_failure(self, error: LogError) -> None:
        now = time.monotonic()
        self._outage.note(error)
        if isinstance(error, LeaseLostError):
            self._attached = False
        elif not isinstance(error, LogUnavailableError):
            self.lose(error)
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since > self._log.lease:
            self.lose(error)

    def _acknowledge(self, ack: Ack) -> None:
        tail = min(ack.tail, len(self._events))
        if tail < self.feed.last:
            self._set_back(tail)
        else:
            self.feed.advance(tail)
        if self.told is not None:
            if ack.stop:
                self.told.stop_asked()
            self.told.has_room()

    def _set_back(self, tail: int) -> None:
        """Show viewers no more than the log still has."""
        self._shown = self.shown
        self.feed.last = tail

    async def _attach(self) -> Ack:
        tail = await self._log.attach(self.key, self.feed.token, self.meta, keep=self._keep)
        self._attached = True
        return Ack(tail)

    async def _append(self) -> Ack:
        prev = self.feed.last
        events = bounded(self._events, prev, self._appendable)
        return await self._log.append(self.key, self.feed.token, prev, events)

    async def _finish(self, ending: Ending) -> Ack:
        prev = self.feed.last
        ack = await self._log.finish(self.key, self.feed.token, prev, self._events[prev:], ending)
        if ack.tail == len(self._events) and self.feed.ending is None:  # else given up meanwhile
            self.feed.last = ack.tail
            self.feed.end(ending)
            self._ended.set_result(None)
        elif (
            self.feed.ending is None and ack.tail >= prev
        ):  # else the log has lost events, which come first
            raise FencedError("the readers of the generation have ended it")
        return ack
