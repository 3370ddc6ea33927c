"""The generations that run in this process: their beginning, and the end of them all."""

import asyncio
from collections.abc import Callable
from typing import Any

from sse_asgi.live.appends import Appends
from sse_asgi.live.leases import Leases
from sse_asgi.live.log import Lease, Log
from sse_asgi.live.producer import Producer
from sse_asgi.live.writer import Writer
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.outcome import Outcome


class Running:
    """Runs producers, and knows them by key while they run.

    Args:
        log: Where their events go.
        keep: As for `Live`.
        max_events: As for `Live`.
        max_bytes: As for `Live`.

    Attributes:
        producers: By key.
        tasks: By key; what gives the transcript.
    """

    def __init__(self, log: Log, *, keep: float, max_events: int, max_bytes: int) -> None:
        self.producers: dict[str, Producer] = {}
        self.tasks: dict[str, asyncio.Task[Transcript]] = {}
        self._log = log
        self._keep = keep
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._leases = Leases(log, self.producers)
        self._appends = Appends(log)
        self._beginning: set[asyncio.Task[bool]] = set()
        self._closing = False

    def check_open(self) -> None:
        """Check that generations may be started.

        Raises:
            RuntimeError: All are being ended.
        """
        if self._closing:
            raise RuntimeError("this Live is being closed and starts nothing more")

    def ask_lease(self, key: str, tell: Callable[[Lease], None]) -> None:
        """Ask the log for the lease of a generation that runs here, and tell it."""
        self._leases.ask(key, tell)

    async def begin(self, key: str, producer: Producer, meta: str) -> bool:
        """Begin a generation, unless the id exists.

        Once it is on its way to the log it begins, also if whoever asks for it is cancelled:
        the log would have one that nobody runs, and its id would be wasted.

        Raises:
            RuntimeError: All are being ended. If it had begun it is ended, too.
        """
        beginning = asyncio.create_task(
            self._begin(key, producer, meta), name="sse_asgi live beginning"
        )
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)
        begun = await asyncio.shield(beginning)
        self.check_open()
        return begun

    async def _begin(self, key: str, producer: Producer, meta: str) -> bool:
        begun = await self._log.create(key, producer.feed.token, meta, keep=self._keep)
        if begun:
            self._run(key, producer, meta)
            if self._closing:  # the log has it, so it needs an ending
                producer.stop(Outcome.SHUT_DOWN)
        return begun

    async def aclose(self, drain: float) -> None:
        """Let them end by themselves for that many seconds, and end the rest."""
        self._closing = True
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=drain)
        for producer in self.producers.values():
            producer.stop(Outcome.SHUT_DOWN)
        while pending := self._pending():
            await asyncio.wait(pending)
        await self._leases.aclose()
        await self._appends.aclose()

    def reopen(self) -> None:
        """Let generations be started again."""
        self._closing = False

    def _pending(self) -> "list[asyncio.Future[Any]]":
        return [*self.tasks.values(), *self._beginning]

    def _run(self, key: str, producer: Producer, meta: str) -> None:
        """Run a producer in tasks of its own, and forget it when it is done."""

        def forget(task: asyncio.Task[Transcript]) -> None:
            if self.tasks.get(key) is task:
                del self.tasks[key], self.producers[key]
            if not self.tasks:
                self._leases.stop()
                self._appends.stop()

        writer = Writer(
            self._log,
            self._appends,
            key,
            producer.feed,
            meta,
            keep=self._keep,
            max_events=self._max_events,
            max_bytes=self._max_bytes,
            on_stop=lambda: producer.stop(Outcome.STOPPED),
            on_lost=producer.lose,
        )
        self.producers[key] = producer
        self.tasks[key] = producer.start(writer)
        self.tasks[key].add_done_callback(forget)
        self._leases.start()
