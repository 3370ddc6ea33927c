"""The exchange: what all producers of a process bring into the log, one call of it at a time.

While one is under way the next events gather. So a busy process pays one call for many
generations, an idle one waits for nobody, and no timer is needed.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.log import Ack, Append, Log
from sse_asgi.live.outage import Outage, defect

TOGETHER: Final = 256
"""Generations whose events go in one call at most."""


class Appender(Protocol):
    """Somebody who has events to append."""

    def next(self) -> Append:
        """Return the events to append now."""
        ...

    def settle(self, answer: Ack | LogError) -> None:
        """Note what the log says to them."""
        ...


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


class Exchange:
    """Appends for whoever asks to, in one task that lives while there is something to do.

    Args:
        log: Where to.
        outage: Told of a log that does not answer.
    """

    def __init__(self, log: Log, outage: Outage) -> None:
        self.log = log
        self.outage = outage
        self._due: list[Appender] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, appender: Appender) -> None:
        """Take what it has into the next call; not again before it is settled."""
        self._due.append(appender)
        if self._task is None:
            self._start()

    async def aclose(self) -> None:
        """Stop, and wait for the end of it."""
        task, self._task = self._task, None
        self._due.clear()
        if task is not None:
            task.cancel()
            await asyncio.wait((task,), timeout=1.0)

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name="sse_asgi live appends"
        )
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        while self._due:
            together = self._due[:TOGETHER]
            del self._due[:TOGETHER]
            answers: Sequence[Ack | LogError] = ()
            try:
                answers = await self.log.append([each.next() for each in together])
            except LogError as error:
                answers = [error] * len(together)
            except Exception as error:  # noqa: BLE001 - logged, and each generation's failure
                answers = [defect(error, "append")] * len(together)
            finally:  # also if cancelled: whoever closes the event loop cancels every task
                answers = answers or [LogUnavailableError("cancelled")] * len(together)
                for appender, answer in zip(together, answers, strict=True):
                    appender.settle(answer)
            if self._due:
                await asyncio.sleep(0)  # what is ready now goes with the next

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task is self._task:
            self._task = None
            if self._due:  # whoever closes the event loop has cancelled it
                self._start()
