"""The writer: brings a generation's events into the log, whatever happens to the log.

It keeps every event until the end. When the log has lost some, or the lease, the writer takes
the generation back and appends again what is missing, under the same positions.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

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
    """How many bytes the generations of a process may store: each, and all that run."""

    def __init__(self, *, max_bytes: int, max_total_bytes: int) -> None:
        check_int("max_bytes", max_bytes, lowest=1)
        check_int("max_total_bytes", max_total_bytes, lowest=1)
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._total = 0

    def admit(self, cost: int, size: int) -> None:
        """Count an event in, with which its generation has that size, if there is room."""
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
        self._total -= size


class Writer(Feed):
    """The events of a generation that runs here. Viewers see what the log has acknowledged."""

    last: int

    def __init__(
        self, log: Log, outage: Outage, bounds: Bounds, *,
        key: str, token: str, meta: str, keep: float,
    ) -> None:  # fmt: skip
        super().__init__(token)
        self.key: str = key
        self.meta: str = meta
        self.shown: int = 0  # viewers may have seen the events up to here
        self.holds: bool = False  # the source waits until there is room
        self.stop_asked: bool = False
        self.error: LogError | None = None  # why nothing can be written any more
        self.on_news: Callable[[], None] | None = None  # the log has said something
        self._log = log
        self._outage = outage
        self._bounds = bounds
        self._keep = keep
        self._size = 0
        self._is_local = log.lease == math.inf  # its `append` does not wait
        self._attached = True  # as far as is known, the log takes appends
        self._patience = Patience(log.lease)
        self._failing = False
        self._final: Ending | None = None
        self._before_final = 0  # the events before those that go with the ending
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the log that the source has to wait, too."""
        return len(self.events) - self.last > BACKLOG and self.ending is None

    def write(self, events: Sequence[bytes]) -> None:
        """Add events; `go_on` or `call` brings them into the log.

        Raises a `GenerationTooLargeError` if there is no room for all; those that fit are added.
        """
        for event in events:
            cost = len(event) + EVENT_COST
            self._bounds.admit(cost, self._size + cost)
            self._size += cost
            self.events.append(event)

    @property
    def appends_here(self) -> bool:
        """Whether the source's own task may append: the log is one that does not wait."""
        return self._is_local and self.last < len(self.events) and self._is_free

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
        self._tell(stop=lease.held and lease.stop)

    def lose(self, error: LogError) -> None:
        """Give up writing."""
        if self.ending is None:
            self.error = error
            self.end(Ending(LOST))
            self._tell()

    def close(self) -> None:
        """Tell nobody any more, and let others have the memory."""
        self._bounds.release(self._size)
        self._size, self.on_news = 0, None
        if self._task is not None:
            self._task.cancel()

    def _tell(self, *, stop: bool = False) -> None:
        self.stop_asked = self.stop_asked or stop
        if self.on_news is not None:
            self.on_news()

    # Doing what is due

    @property
    def _is_free(self) -> bool:
        return self._task is None and self._attached and self.ending is None

    @property
    def _stop(self) -> int:
        """The position up to which events are appended; `finish` takes the others."""
        return len(self.events) if self._final is None else self._before_final

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
            if not await self.call(call):
                await asyncio.sleep(PAUSE)

    def _due(self) -> str | None:
        """Return the name of the log's call that is due."""
        if self.ending is not None:
            return None
        if not self._attached:
            return "attach"
        if self.last < self._stop:
            return "append"
        return None if self._final is None else "finish"

    async def call(self, name: str) -> bool:
        """Call the log, and act on what it answers or raises; tell whether it has answered."""
        try:
            ack = await self._call(name)
        except LogError as error:
            self._failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - logged, and the generation's failure
            self.lose(defect(error, name))
            return False
        if self._failing and name != "attach":
            self._failing = False
            self._patience.reset()
        if self.ending is None:
            tail = min(ack.tail, len(self.events))
            self.shown = max(self.shown, tail)
            self.advance(tail)  # or back: viewers see no more than the log still has
        if ack.stop or self.holds:
            self._tell(stop=ack.stop)
        return True

    def _failed(self, error: LogError) -> None:
        self._failing = True
        self._outage.note(error)
        if isinstance(error, LeaseLostError):
            self._attached = False
        if self._patience.is_over() or not isinstance(error, (LeaseLostError, LogUnavailableError)):
            self.lose(error)

    def _call(self, name: str) -> Awaitable[Ack]:
        if name == "attach":
            return self._attach()
        if name == "finish" and self._final is not None:
            return self._finish(self._final)
        events = bounded(self.events, self.last, self._stop)
        return self._log.append(self.key, self.token, self.last, events)

    async def _attach(self) -> Ack:
        tail = await self._log.attach(self.key, self.token, self.meta, keep=self._keep)
        self._attached = True
        return Ack(tail)

    async def _finish(self, ending: Ending) -> Ack:
        prev = self.last
        ack = await self._log.finish(self.key, self.token, prev, self.events[prev:], ending)
        if self.ending is not None:  # given up meanwhile
            return ack
        if ack.tail == len(self.events):
            self.shown = ack.tail
            self.last = ack.tail
            self.end(ending)
        elif ack.tail >= prev:  # else the log has lost events: they first
            raise FencedError("the readers of the generation have ended it")
        return ack
