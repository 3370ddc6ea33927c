"""Leases: tells the log that this process's producers live, and them what it answers."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.defects import defect
from sse_asgi.live.log import BEAT, Lease, Log
from sse_asgi.live.producer import Producer
from sse_asgi.wire.outcome import Outcome

BEATS: Final = 6
"""Beats in the time of one lease, at least."""

_PAUSE = 0.5

_logger = logging.getLogger("sse_asgi")


class Leases:
    """Beats for all producers of a process, in one exchange, while there are any.

    Args:
        log: Where to.
        producers: The running ones, by key; read at each beat.
    """

    def __init__(self, log: Log, producers: Mapping[str, Producer]) -> None:
        self._log = log
        self._producers = producers
        self._tasks: list[asyncio.Task[None]] = []
        self._checks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to beat, unless that goes on already."""
        if any(not task.done() for task in self._tasks):
            return
        self._tasks = [asyncio.create_task(self._beat_on(), name="sse_asgi live beats")]

    def stop(self) -> None:
        """Beat no more."""
        for task in (*self._tasks, *self._checks):
            task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait for the end of it."""
        self.stop()
        if tasks := [*self._tasks, *self._checks]:
            await asyncio.wait(tasks)

    def ask(self, key: str, tell: Callable[[Lease], None]) -> None:
        """Ask the log now for a lease, to learn who follows, and tell it."""
        task = asyncio.create_task(self._ask(key, tell), name="sse_asgi live linger")
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _ask(self, key: str, tell: Callable[[Lease], None]) -> None:
        while (producer := self._producers.get(key)) is not None:
            try:
                lease = (await self._log.beat({key: producer.feed.token}))[key]
            except LogUnavailableError:
                await asyncio.sleep(_PAUSE)
            except Exception as error:  # noqa: BLE001 - logged, and the generation's failure
                producer.stop(Outcome.FAILED, defect(error, "beat"))
                return
            else:
                tell(lease)
                return

    async def _beat_on(self) -> None:
        interval = min(BEAT, self._log.lease / BEATS)
        heard = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            try:
                await self._beat({key: p.feed.token for key, p in self._producers.items()})
            except LogUnavailableError as error:
                self._outlast(heard, error)
            except Exception as error:
                _logger.exception("a log's beat raised; trying again")
                self._outlast(heard, LogError(f"the log's beat raised {error!r}"))
            else:
                heard = time.monotonic()

    async def _beat(self, tokens: Mapping[str, str]) -> None:
        if not tokens:
            return
        for key, lease in (await self._log.beat(tokens)).items():
            producer = self._producers.get(key)
            if producer is not None and producer.feed.token == tokens[key]:
                producer.heed(lease)

    def _outlast(self, heard: float, error: LogError) -> None:
        """End the producers once the readers in other processes count them as dead."""
        if time.monotonic() - heard <= self._log.lease:
            return
        for producer in list(self._producers.values()):
            producer.writer.lose(error)
