"""The heartbeat: tells the log that the producers here live, and them what it answers."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.log import BEAT, Log
from sse_asgi.live.outage import Outage, Patience, defect
from sse_asgi.live.producer import Producer
from sse_asgi.wire.outcome import Outcome

BEATS: Final = 6
"""Beats in the time of one lease, at least."""


class Heartbeat:
    def __init__(self, log: Log, outage: Outage, producers: Mapping[str, Producer]) -> None:
        self._log = log
        self._outage = outage
        self._producers = producers  # by key, as long as they run
        self._task: asyncio.Task[None] | None = None

    def go_on(self) -> None:
        """Beat for as long as a producer runs."""
        if self._task is None or self._task.done():  # whoever closes the event loop cancels it
            self._task = asyncio.create_task(self._run(), name="sse_asgi live beats")

    async def aclose(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)

    async def _run(self) -> None:
        interval, patience = min(BEAT, self._log.lease / BEATS), Patience(self._log.lease)
        while self._producers:
            began = time.monotonic()
            await asyncio.sleep(interval)
            try:
                await self._beat()
            except LogUnavailableError as error:
                self._outage.note(error)
                if patience.is_over(began):  # by now readers in other processes take them for dead
                    for producer in list(self._producers.values()):
                        producer.writer.lose(error)
            except LogError as error:
                self._outage.note(error)
                self._fail_all(error)
            except Exception as error:  # noqa: BLE001 - logged, and the generations' failure
                self._fail_all(defect(error, "beat"))
            else:
                patience.reset()

    async def _beat(self) -> None:
        """Beat for all in one call."""
        asked = {key: producer.writer for key, producer in self._producers.items()}
        if not asked:
            return
        acknowledged = {key: writer.last for key, writer in asked.items()}
        leases = await self._log.beat({key: writer.token for key, writer in asked.items()})
        for key, lease in leases.items():
            writer, producer = asked[key], self._producers.get(key)
            if producer is None or producer.writer is not writer:
                continue
            writer.heed(lease, acknowledged[key])
            if lease.held and producer.linger and producer.linger.is_over(lease, writer):
                producer.stop(Outcome.DISCONNECTED)

    def _fail_all(self, error: LogError) -> None:
        for producer in list(self._producers.values()):
            producer.stop(Outcome.FAILED, error, by="server")
