"""Appends: what all producers of a process bring into the log, in one exchange at a time.

While one is under way the next events gather. So a busy process pays one exchange for many
generations, an idle one waits for nobody, and no timer is needed.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.defects import defect
from sse_asgi.live.log import Ack, Append, Log

TOGETHER: Final = 256
"""Generations whose events go in one exchange at most."""


class Appender(Protocol):
    """Somebody who has events to append."""

    def next(self) -> Append:
        """Return the events to append now."""
        ...

    def settle(self, answer: Ack | LogError) -> None:
        """Note what the log says to them."""
        ...


class Appends:
    """Appends for whoever asks to, in one task that waits while there is nothing to do.

    Args:
        log: Where to.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._due: list[Appender] = []
        self._task: asyncio.Task[None] | None = None
        self._more: asyncio.Future[None] | None = None  # what the task waits for

    def add(self, appender: Appender) -> None:
        """Take what it has into the next exchange; not again before it is settled."""
        self._due.append(appender)
        more, self._more = self._more, None
        if more is not None and not more.done():
            more.set_result(None)
        elif self._task is None or self._task.done():
            self._start()

    def stop(self) -> None:
        """End the task; the next `add` starts it again."""
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait for the end of it."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def exchange(self, appenders: Sequence[Appender]) -> None:
        """Append what these have now, and settle it."""
        answers: Sequence[Ack | LogError] = ()
        try:
            answers = await self._log.append([each.next() for each in appenders])
        except LogUnavailableError as error:
            answers = [error] * len(appenders)
        except Exception as error:  # noqa: BLE001 - logged, and each generation's failure
            answers = [defect(error, "append")] * len(appenders)
        finally:  # also if cancelled: whoever closes the event loop cancels every task
            answers = answers or [LogUnavailableError("cancelled")] * len(appenders)
            for appender, answer in zip(appenders, answers, strict=True):
                appender.settle(answer)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sse_asgi live appends")
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        while True:
            while self._due:
                appenders = self._due[:TOGETHER]
                del self._due[:TOGETHER]
                await self.exchange(appenders)
                if self._due:
                    await asyncio.sleep(0)  # what is ready now goes with the next
            self._more = asyncio.get_running_loop().create_future()
            await self._more

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task is self._task:
            self._task = self._more = None
            if self._due:  # whoever closes the event loop cancelled it
                self._start()
