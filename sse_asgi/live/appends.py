"""Appends: what all producers of a process bring into the log, in one exchange at a time.

While one is under way the next events gather. So a busy process pays one exchange for many
generations, an idle one waits for nobody, and no timer is needed.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.log import Ack, Append, Log

TOGETHER: Final = 256
"""Generations whose events go in one exchange at most."""

_logger = logging.getLogger("sse_asgi")


class Appender(Protocol):
    """Somebody who has events to append."""

    def next(self) -> Append:
        """Return the events to append now."""
        ...

    def settle(self, answer: Ack | LogError) -> None:
        """Note what the log says to them."""
        ...


class Appends:
    """Appends for whoever asks to.

    Args:
        log: Where to.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._due: list[Appender] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, appender: Appender) -> None:
        """Take what it has into the next exchange; not again before it is settled."""
        self._due.append(appender)
        if self._task is None:
            self._start()

    async def exchange(self, appenders: Sequence[Appender]) -> None:
        """Append what these have now, and settle it."""
        answers: Sequence[Ack | LogError] = ()
        try:
            answers = await self._log.append([each.next() for each in appenders])
        except LogUnavailableError as error:
            answers = [error] * len(appenders)
        except Exception as error:
            _logger.exception("a log's append raised")
            answers = [LogError(repr(error))] * len(appenders)
        finally:  # also if cancelled: whoever closes the event loop cancels every task
            answers = answers or [LogUnavailableError("cancelled")] * len(appenders)
            for appender, answer in zip(appenders, answers, strict=True):
                appender.settle(answer)

    async def aclose(self) -> None:
        """Wait until nothing is under way any more."""
        while self._task is not None:
            await asyncio.wait([self._task])
            await asyncio.sleep(0)  # its callback

    def _start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sse_asgi live appends")
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        while self._due:
            appenders = self._due[:TOGETHER]
            del self._due[:TOGETHER]
            await self.exchange(appenders)
            await asyncio.sleep(0)  # viewers see these before the next are gathered

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._task = None
        if self._due:  # it was cancelled, or there is more since
            self._start()
