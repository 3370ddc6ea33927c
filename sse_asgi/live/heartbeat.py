"""The heartbeat: tells the log that this process's producers live, and them what it answers."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.log import BEAT, Log
from sse_asgi.live.outage import Outage, defect
from sse_asgi.live.producer import Producer
from sse_asgi.wire.outcome import Outcome

BEATS: Final = 6
"""Beats in the time of one lease, at least."""


class Heartbeat:
    """Beats for all producers of a process, in one call, while there are any.

    Args:
        log: Where to.
        outage: Told of a log that does not answer.
        producers: The running ones, by key; read at each beat.
    """

    def __init__(self, log: Log, outage: Outage, producers: Mapping[str, Producer]) -> None:
        self._log = log
        self._outage = outage
        self._producers = producers
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat, unless that goes on already."""
        if self._task is None or self._task.done():  # whoever closes the event loop cancels it
            self._task = asyncio.create_task(self._beat_on(), name="sse_asgi live beats")

    def stop(self) -> None:
        """Beat no more; `start` may be called at once, for a task of its own."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait for the end of it."""
        task = self._task
        self.stop()
        if task is not None:
            await asyncio.wait((task,), timeout=1.0)

    async def _beat_on(self) -> None:
        interval = min(BEAT, self._log.lease / BEATS)
        heard = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            try:
                await self._beat()
            except LogUnavailableError as error:
                self._outage.note(error)
                # By now the readers in other processes count the producers as dead.
                if time.monotonic() - heard > self._log.lease:
                    for producer in list(self._producers.values()):
                        producer.writer.lose(error)
            except LogError as error:
                self._outage.note(error)
                self._fail_all(error)
            except Exception as error:  # noqa: BLE001 - logged, and the generations' failure
                self._fail_all(defect(error, "beat"))
            else:
                heard = time.monotonic()

    async def _beat(self) -> None:
        asked = {key: producer.writer.feed for key, producer in self._producers.items()}
        if not asked:
            return
        acknowledged = {key: feed.last for key, feed in asked.items()}
        leases = await self._log.beat({key: feed.token for key, feed in asked.items()})
        for key, lease in leases.items():
            producer = self._producers.get(key)
            if producer is not None and producer.writer.feed is asked[key]:
                producer.heed(lease, acknowledged[key])

    def _fail_all(self, error: LogError) -> None:
        for producer in list(self._producers.values()):
            producer.stop(Outcome.FAILED, error)
