"""The writer: brings a generation's events into the log, whatever happens to the log.

It keeps every event until the end. When the log has lost some, or the lease, the writer takes
the generation back and appends again what is missing, under the same positions.
"""

import asyncio
import math
from array import array
from collections.abc import Callable, Sequence
from typing import Final

from sse_asgi.asgi import Message
from sse_asgi.checks import check_int
from sse_asgi.errors import (
    FencedError,
    GenerationTooLargeError,
    LeaseLostError,
    LogError,
    LogUnavailableError,
)
from sse_asgi.live.events import Cutter
from sse_asgi.live.log import EVENT_COST, LOST, Ack, Ending, Lease, Log, bounded
from sse_asgi.live.outage import PAUSE, Outage, Patience
from sse_asgi.live.viewer import Feed
from sse_asgi.stream.outbox import Outbox
from sse_asgi.wire.outcome import Outcome

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
        self.written_chunks: int = 0  # of text, in all events
        self.sent_chunks: int = 0  # in those that viewers may have seen
        self.error: LogError | None = None  # why nothing can be written any more
        self.source_ends: bool = False  # nothing waits for room any more
        self.outbox: Outbox  # of the producer: it counts the chunks
        self.on_stop: Callable[..., object] = _ignore  # called as `Producer.stop`
        self._log = log
        self._outage = outage
        self._bounds = bounds
        self._keep = keep
        self.cut: Callable[[bytes], list[bytes]] = Cutter().cut
        self._chunks = array("L")  # for each event, how many chunks of text have come up to it
        self._size = 0
        self._is_local = log.lease == math.inf  # its `append` does not wait
        self._attached = True  # as far as is known, the log takes appends
        self._patience = Patience(log.lease)
        self._final: tuple[Sequence[bytes], Ending] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the log that the source has to wait, too."""
        return len(self.events) - self.last > BACKLOG and self.ending is None

    async def room(self) -> None:
        """Wait until there is room for more, or the source ends."""
        while self.is_full and not self.source_ends:
            await self.changed()

    async def send(self, message: Message) -> None:
        """Take a message of the producer's as soon as there is room for it."""
        await self.room()
        self.store(message.get("body", b""))
        self.go_on()

    def store(self, body: bytes) -> None:
        """Add encoded events, or end the generation that has no room for them."""
        try:
            self.write(body)
        except GenerationTooLargeError as error:
            self.on_stop(Outcome.FAILED, error, by="source")

    def write(self, body: bytes) -> None:
        """Add encoded events; `go_on` brings them into the log.

        Raises a `GenerationTooLargeError` if there is no room for all; those that fit are added.
        """
        chunks, written = self.outbox.sent_chunks, self.written_chunks
        events = self.cut(body)
        for number, event in enumerate(events, 1):
            cost = len(event) + EVENT_COST
            self._bounds.admit(cost, self._size + cost)
            self._size += cost
            self.events.append(event)
            is_last = number == len(events)
            self.written_chunks = chunks if is_last else min(chunks, written + number)
            self._chunks.append(self.written_chunks)

    async def append_here(self) -> bool:
        """Append in the task that calls this if the log is one that does not wait; else soon.

        Return whether so much waits now that the source has to wait, too.
        """
        if self._is_local and self._is_free and self.last < len(self.events):
            await self._step()
        if self.last == len(self.events):
            return False
        self.go_on()
        return self.is_full

    def finish(self, events: Sequence[bytes], ending: Ending) -> None:
        """Add the last events and the ending, which no bound refuses. `ending` is set when done."""
        self._final = events, ending
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
        if lease.held and lease.stop:
            self.on_stop(Outcome.STOPPED)

    def lose(self, error: LogError) -> None:
        """Give up writing."""
        if self.ending is None:
            self.error = error
            self.end(Ending(LOST))
            self.on_stop(Outcome.FAILED, error, by="server")

    def close(self) -> None:
        """Tell nobody any more, and let others have the memory."""
        self._bounds.release(self._size)
        self._size, self.on_stop = 0, _ignore
        if self._task is not None:
            self._task.cancel()

    # Doing what is due

    @property
    def _is_free(self) -> bool:
        return self._task is None and self._attached and self.ending is None

    @property
    def _is_due(self) -> bool:
        """Whether there is something to ask of the log."""
        behind = self.last < len(self.events) or self._final is not None
        return self.ending is None and (behind or not self._attached)

    def go_on(self) -> None:
        """Have done what is due, in a task of its own."""
        if self._task is None and self._is_due:
            self._task = asyncio.create_task(self._work(), name="sse_asgi live writer")
            self._task.add_done_callback(self._worked)

    def _worked(self, _: "asyncio.Task[None]") -> None:
        self._task = None
        self.go_on()  # also if whoever closes the event loop has cancelled the task

    async def _work(self) -> None:
        while self._is_due:
            if not await self._step():
                await asyncio.sleep(PAUSE)

    async def _step(self) -> bool:
        """Make the call of the log that is due; tell whether it has answered."""
        call = "attach" if not self._attached else "append"
        try:
            if not self._attached:
                ack = Ack(await self._log.attach(self.key, self.token, self.meta, keep=self._keep))
                self._attached = True
            elif self.last < len(self.events):
                events = bounded(self.events, self.last, len(self.events))
                ack = await self._log.append(self.key, self.token, self.last, events)
            elif self._final is not None:
                call = "finish"
                ack = await self._finish(*self._final)
            else:
                return True
        except Exception as raised:  # noqa: BLE001 - logged, and the generation's failure
            self._failed(self._outage.note(raised, call))
            return False
        if call != "attach":
            self._patience.reset()
        if self.ending is None:
            tail = min(ack.tail, len(self.events))
            if tail:
                self.sent_chunks = max(self.sent_chunks, self._chunks[tail - 1])
            self.advance(tail)  # or back: viewers see no more than the log still has
        if ack.stop:
            self.on_stop(Outcome.STOPPED)
        return True

    async def _finish(self, events: Sequence[bytes], ending: Ending) -> Ack:
        prev = self.last
        ack = await self._log.finish(self.key, self.token, prev, events, ending)
        if self.ending is not None:  # given up meanwhile
            return ack
        if ack.tail == prev + len(events):
            self.events.extend(events)
            self.sent_chunks, self.last = self.written_chunks, ack.tail
            self.end(ending)
        elif ack.tail >= prev:  # else the log has lost events: they first
            raise FencedError("the readers of the generation have ended it")
        return ack

    def _failed(self, error: LogError) -> None:
        if isinstance(error, LeaseLostError):
            self._attached = False
        if self._patience.is_over() or not isinstance(error, (LeaseLostError, LogUnavailableError)):
            self.lose(error)


def _ignore(*_: object) -> None: ...
