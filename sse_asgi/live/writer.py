"""The writer: brings a generation's events into the log, whatever happens to the log.

It keeps every event until the end. When the log has lost some, or the lease, the writer takes
the generation back and appends again what is missing, under the same positions.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Final, Protocol

from sse_asgi.errors import (
    FencedError,
    GenerationTooLargeError,
    LeaseLostError,
    LogError,
    LogUnavailableError,
)
from sse_asgi.live.log import EVENT_COST, LOST, Ack, Ending, Lease, Log, bounded
from sse_asgi.live.outage import PAUSE, Outage, Patience, defect
from sse_asgi.live.viewer import Feed
from sse_asgi.stream.options import check_int

BACKLOG: Final = 4096
"""Events that wait for the log before the source has to wait, too."""


class Bounds:
    """How many bytes the generations of a process may store: each, and all that run.

    Raises:
        TypeError: One of them is no int.
        ValueError: One of them is less than 1.
    """

    def __init__(self, *, max_bytes: int, max_total_bytes: int) -> None:
        check_int("max_bytes", max_bytes, lowest=1)
        check_int("max_total_bytes", max_total_bytes, lowest=1)
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._total = 0

    def admit(self, cost: int, size: int) -> None:
        """Count an event in, with which its generation has that size.

        Raises:
            GenerationTooLargeError: It is not counted, for there is no room.
        """
        if size > self._max_bytes:
            raise GenerationTooLargeError(
                f"the generation outgrew {self._max_bytes} bytes; raise max_bytes of Live if that "
                "is expected"
            )
        if self._total + cost > self._max_total_bytes:
            raise GenerationTooLargeError(
                f"the generations that run in this process outgrew {self._max_total_bytes} bytes "
                "together; raise max_total_bytes of Live if the process has the memory"
            )
        self._total += cost

    def release(self, size: int) -> None:
        """Count a generation out: it has ended."""
        self._total -= size


class Told(Protocol):
    """Who has to know what the log says."""

    def stop_asked(self) -> None:
        """Note that somebody asked for the end."""

    def has_room(self) -> None:
        """Note that the log has caught up."""

    def lost(self, error: LogError) -> None:
        """Note, once, that the generation cannot be written any more."""


class Writer(Feed):
    """The events of a generation that runs here. Viewers see what the log has acknowledged.

    Attributes:
        key: The generation.
        meta: What the log knows of it.
        told: Who is told; None before the start and after the end.
        shown: The position up to which viewers may have seen events.
        error: Why nothing can be written any more.
    """

    def __init__(
        self, log: Log, outage: Outage, bounds: Bounds, *,
        key: str, token: str, meta: str, keep: float,
    ) -> None:  # fmt: skip
        super().__init__(token)
        self.key: str = key
        self.meta: str = meta
        self.told: Told | None = None
        self.shown: int = 0
        self.error: LogError | None = None
        self._log = log
        self._outage = outage
        self._bounds = bounds
        self._keep = keep
        self._size = 0
        self._is_local = log.lease == math.inf  # its `append` does not wait
        self._attached = True  # as far as is known, the log takes appends
        self._patience = Patience(log.lease)
        self._final: Ending | None = None
        self._before_final = 0  # the events before those that go with the ending
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the log that the source has to wait, too."""
        return self.ending is None and len(self.events) - self.last > BACKLOG

    def write(self, events: Sequence[bytes]) -> None:
        """Add events. `append_here` or `go_on` have them appended.

        Raises:
            GenerationTooLargeError: They are more than may be stored; those that fit are added.
        """
        for event in events:
            cost = len(event) + EVENT_COST
            self._bounds.admit(cost, self._size + cost)
            self._size += cost
            self.events.append(event)

    async def append_here(self) -> None:
        """Append what waits, from the source's own task if the log is one that does not wait."""
        if self._is_local and self._is_free and self.last < len(self.events):
            await self._try("append")
        if self.last < len(self.events):
            self.go_on()

    def finish(self, events: Sequence[bytes], ending: Ending) -> None:
        """Add the last events and the ending, which no bound refuses. `ending` is set when done."""
        self._before_final, self._final = len(self.events), ending
        self.events.extend(events)
        self.go_on()

    def heed(self, lease: Lease, last: int) -> None:
        """Act on a beat's answer: take the generation back, or append what was lost.

        When it was asked the log had acknowledged the events up to `last`.
        """
        if self.ending is not None:  # it has no lease any more, and needs none
            return
        if not lease.held:
            self._attached = False
        elif lease.tail < min(last, self.last) and self._is_free:
            self.last = lease.tail
        self.go_on()
        if lease.held and lease.stop and self.told is not None:
            self.told.stop_asked()

    def lose(self, error: LogError) -> None:
        """Give up writing."""
        if self.ending is None:
            self.error = error
            self.end(Ending(LOST))
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
        return self._task is None and self._attached and self.ending is None

    def go_on(self) -> None:
        """Have done what is due, in a task of its own."""
        if self._task is None and self._due() is not None:
            self._task = asyncio.create_task(self._work(), name="sse_asgi live writer")
            self._task.add_done_callback(self._worked)

    def _worked(self, _: "asyncio.Task[None]") -> None:
        self._task = None
        self.go_on()  # also if whoever closes the event loop has cancelled the task

    async def _work(self) -> None:
        while (call := self._due()) is not None:
            if not await self._try(call):
                await asyncio.sleep(PAUSE)

    def _due(self) -> str | None:
        """Return the name of the log's call that is due."""
        if self.ending is not None:
            return None
        if not self._attached:
            return "attach"
        if self.last < (len(self.events) if self._final is None else self._before_final):
            return "append"
        return None if self._final is None else "finish"

    async def _try(self, call: str) -> bool:
        """Call the log, and act on what it answers or raises; tell whether it has answered."""
        try:
            ack = await self._call(call)
        except LogError as error:
            self._failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - logged, and the generation's failure
            self.lose(defect(error, call))
            return False
        if call != "attach":
            self._patience.reset()
        self._acknowledge(ack)
        return True

    def _failed(self, error: LogError) -> None:
        self._outage.note(error)
        if isinstance(error, LeaseLostError):
            self._attached = False
        if self._patience.is_over() or not isinstance(error, (LeaseLostError, LogUnavailableError)):
            self.lose(error)

    def _acknowledge(self, ack: Ack) -> None:
        tail, stop = ack
        if self.ending is None:
            tail = min(tail, len(self.events))
            self.shown = max(self.shown, tail)
            self.advance(tail)  # or back: viewers see no more than the log still has
        if self.told is not None:
            if stop:
                self.told.stop_asked()
            self.told.has_room()

    async def _call(self, call: str) -> Ack:
        key, token, prev = self.key, self.token, self.last
        if call == "attach":
            tail = await self._log.attach(key, token, self.meta, keep=self._keep)
            self._attached = True
            return Ack(tail)
        if self._final is None or call == "append":
            stop = len(self.events) if self._final is None else self._before_final
            return await self._log.append(key, token, prev, bounded(self.events, prev, stop))
        ack = await self._log.finish(key, token, prev, self.events[prev:], self._final)
        if self.ending is None and ack.tail == len(self.events):  # else given up meanwhile
            self.shown = ack.tail
            self.last: int = ack.tail
            self.end(self._final)
        elif self.ending is None and ack.tail >= prev:  # else the log has lost events: they first
            raise FencedError("the readers of the generation have ended it")
        return ack
