"""The generations that run in this process: begun, kept alive in the log, and ended."""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sse_asgi.around import Attendant
from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.log import BEAT, Lease, Log
from sse_asgi.live.outage import Outage, Patience, defect
from sse_asgi.live.producer import ENDING, Producer
from sse_asgi.live.viewer import Feed
from sse_asgi.live.writer import Bounds, Writer
from sse_asgi.source.source import SourceOpener
from sse_asgi.stream.lifecycle import LAST_CHANCE, Cause
from sse_asgi.stream.options import Options
from sse_asgi.wire.outcome import Outcome

BEATS: Final = 6
"""Beats in the time of one lease, at least."""

FIRST_VIEWER: Final = 30.0
"""Seconds that a generation which lingers waits at least for its first viewer."""

LAST_WORDS: Final = LAST_CHANCE + ENDING + 0.5
"""Seconds in which the last generations are stored and reported once their sources have ended."""

_logger = logging.getLogger("sse_asgi")


class Running:
    """The generations that run here.

    Attributes:
        producers: Those that run, by key.
        closing: Whether all are being ended.
    """

    def __init__(self, log: Log, outage: Outage, bounds: Bounds, *, keep: float) -> None:
        self.producers: dict[str, Producer] = {}
        self.closing: bool = False
        self._log = log
        self._outage = outage
        self._bounds = bounds
        self._keep = keep
        self._lingers: dict[str, Linger] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._beats: asyncio.Task[None] | None = None

    def check_open(self) -> None:
        """Check that generations may be started.

        Raises:
            RuntimeError: All are being ended; or asyncio does not run here.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "Live needs asyncio, and no asyncio event loop runs here; under trio, or without "
                "one, it cannot start a generation: run the application with asyncio"
            ) from None
        if self.closing:
            raise RuntimeError("this Live is being closed and starts nothing more")

    async def start(
        self, key: str, meta: str, opener: SourceOpener, options: Options, *,
        attendant: Attendant, linger: float | None, at_once: bool,
    ) -> bool:  # fmt: skip
        """Begin a generation, unless the id exists; tell which.

        Once it is on its way to the log it begins, also if whoever asks for it is cancelled:
        the log would have one that nobody runs, and its id would be wasted.

        Raises:
            RuntimeError: All are being ended. If it had begun it is ended, too.
        """
        token = secrets.token_urlsafe(12)
        writer = Writer(
            self._log, self._outage, self._bounds, key=key, token=token, meta=meta, keep=self._keep
        )
        begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        make = partial(_producer_for(options), opener, options, writer, at_once=at_once)
        task = asyncio.create_task(
            self._run(begun, writer, make, linger, attendant), name="sse_asgi live generation"
        )
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        task.add_done_callback(lambda _: attendant.over())
        started = await begun
        self.check_open()
        return started

    async def _run(
        self,
        begun: "asyncio.Future[bool]",
        writer: Writer,
        make: Callable[[], Producer],
        linger: float | None,
        attendant: Attendant,
    ) -> None:
        try:
            producer = make()
            started = await self._log.create(writer.key, writer.token, writer.meta, keep=self._keep)
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)  # for whoever starts it
            if isinstance(error, Exception):
                return
            raise
        if not begun.done():
            begun.set_result(started)
        if not started:
            return
        attendant.begun()
        self._note(producer, linger)
        if self.closing:
            await producer.end_unbegun(Outcome.SHUT_DOWN)
        else:
            self._starting.difference_update((asyncio.current_task(),))
            await producer.run()

    def _note(self, producer: Producer, linger: float | None) -> None:
        """Know a producer until it is done, and beat for it."""
        key = producer.writer.key
        self.producers[key] = producer
        if linger is not None:
            self._lingers[key] = Linger(linger)
        producer.ended.add_done_callback(partial(self._forget, key, producer))
        if self._beats is None or self._beats.done():  # whoever closes the event loop cancels it
            self._beats = asyncio.create_task(self._beat_on(), name="sse_asgi live beats")

    def _forget(self, key: str, producer: Producer, _: object) -> None:
        if self.producers.get(key) is producer:
            del self.producers[key]
            self._lingers.pop(key, None)

    # The heartbeat: tells the log that the producers live, and them what it answers

    async def _beat_on(self) -> None:
        interval, patience = min(BEAT, self._log.lease / BEATS), Patience(self._log.lease)
        while self.producers:
            began = time.monotonic()
            await asyncio.sleep(interval)
            try:
                await self._beat()
            except LogUnavailableError as error:
                self._outage.note(error)
                if patience.is_over(began):  # by now readers in other processes take them for dead
                    for producer in list(self.producers.values()):
                        producer.writer.lose(error)
            except LogError as error:
                self._outage.note(error)
                self._stop_all(Outcome.FAILED, error)
            except Exception as error:  # noqa: BLE001 - logged, and the generations' failure
                self._stop_all(Outcome.FAILED, defect(error, "beat"))
            else:
                patience.reset()

    async def _beat(self) -> None:
        """Beat for all in one call."""
        asked = {key: producer.writer for key, producer in self.producers.items()}
        if not asked:
            return
        acknowledged = {key: writer.last for key, writer in asked.items()}
        leases = await self._log.beat({key: writer.token for key, writer in asked.items()})
        for key, lease in leases.items():
            writer, producer = asked[key], self.producers.get(key)
            if producer is None or producer.writer is not writer:
                continue
            writer.heed(lease, acknowledged[key])
            linger = self._lingers.get(key)
            if linger is not None and lease.held and linger.is_over(lease, writer):
                producer.stop(Outcome.DISCONNECTED)

    # The end

    def _stop_all(
        self, outcome: Outcome, error: LogError | None = None, *, by: Cause = Cause.CLIENT
    ) -> None:
        for producer in list(self.producers.values()):
            producer.stop(outcome, error, by=by)

    async def aclose(self, drain: float, *, cleanup: float) -> None:
        """Let them end by themselves for `drain` seconds, and end the rest; the log stays open.

        It takes no longer than `drain`, `cleanup` and 4 s, whatever sources, hooks and log do.
        """
        self.closing = True
        try:
            await self._wait(drain)
            self._stop_all(Outcome.SHUT_DOWN, by=Cause.SHUTDOWN)
            await self._wait(cleanup + LAST_WORDS)
            if left := len(self.producers):
                _logger.error("%d live generations did not end, and are left alone", left)
            if self._beats is not None and not self._beats.done():
                self._beats.cancel()
                await asyncio.wait((self._beats,), timeout=1.0)
        finally:
            self.closing = False

    async def _wait(self, seconds: float) -> None:
        """Wait for the end of all that run here, for so many seconds at most."""
        ended = (producer.ended for producer in self.producers.values())
        waiting: list[asyncio.Future[Any]] = [*ended, *self._starting]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)


def _producer_for(options: Options) -> type[Producer]:
    if options.coalesce is None:
        return Producer
    from sse_asgi.live.coalescing import CoalescingProducer  # noqa: PLC0415 - only if used

    return CoalescingProducer


class Linger:
    """Knows for how long nobody, in any process, has watched a generation. Asked at each beat."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._alone_since = time.monotonic()
        self._visited = False

    def is_over(self, lease: Lease, feed: Feed) -> bool:
        """Tell whether that is long enough, by what the log and the viewers here say now."""
        now = time.monotonic()
        if lease.followers or feed.viewers:
            self._visited, self._alone_since = True, math.inf
            return False
        if not self._visited and (lease.visited or feed.left):  # between two beats
            self._visited, self._alone_since = True, feed.left or now
        self._alone_since = max(min(self._alone_since, now), feed.left)
        least = 0.0 if self._visited else FIRST_VIEWER
        return now - self._alone_since >= max(self._seconds, least)
