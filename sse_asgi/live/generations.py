"""The generations that this process knows of: those that run here, and those that the log has."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from typing import Any, Final

from sse_asgi.around import Attendant
from sse_asgi.checks import wrong_type
from sse_asgi.errors import LogUnavailableError, UnknownGenerationError, shown
from sse_asgi.live.events import Block, has_seen_all
from sse_asgi.live.log import BEAT, Head, Log
from sse_asgi.live.outage import Outage, Patience
from sse_asgi.live.producer import ENDING, Producer
from sse_asgi.live.record import meta_of, read_back
from sse_asgi.live.viewer import Tails
from sse_asgi.live.writer import Bounds, Writer
from sse_asgi.stream.lifecycle import LAST_CHANCE
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome

BEATS: Final = 6
"""Beats in the time of one lease, at least."""

LAST_WORDS: Final = LAST_CHANCE + ENDING + 0.5
"""Seconds in which the last generations are stored and reported once their sources have ended."""

_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~:@-]{0,199}")

_logger = logging.getLogger("sse_asgi")


class Generations:
    """Begins, finds and ends generations, and gives what their viewers are sent.

    Each call that asks the log raises a `LogError` if that fails.
    """

    def __init__(self, log: Log, bounds: Bounds, *, keep: float) -> None:
        self.log: Log = log
        self.outage: Outage = Outage()
        self.producers: dict[str, Producer] = {}  # of those that run here, by key
        self.tails: Tails = Tails(log, self.outage)  # of those elsewhere that are watched here
        self.closing: bool = False
        self._bounds = bounds
        self._keep = keep
        self._starting: set[asyncio.Task[None]] = set()
        self._beating: asyncio.Task[None] | None = None

    # Their beginning

    def check_open(self) -> None:
        """Raise a `RuntimeError` where generations cannot be started."""
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
        self,
        key: str,
        meta: str,
        make: Callable[[Writer], Producer],
        attendants: Iterable[Attendant],
    ) -> bool:
        """Begin a generation with the producer that is made, unless the id exists; tell which.

        Once it is on its way to the log it begins, also if whoever asks for it is cancelled:
        the log would have one that nobody runs, and its id would be wasted. If all are being ended
        by then, it is ended, too.
        """
        writer = Writer(
            self.log, self.outage, self._bounds,
            key=key, token=secrets.token_urlsafe(12), meta=meta, keep=self._keep,
        )  # fmt: skip
        begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            self._run(begun, writer, make, attendants), name="sse_asgi live generation"
        )
        self._starting.add(task)

        def over(_: object) -> None:
            self._starting.discard(task)
            for each in attendants:
                each.over()

        task.add_done_callback(over)
        started = await begun
        self.check_open()
        return started

    async def _run(
        self,
        begun: "asyncio.Future[bool]",
        writer: Writer,
        make: Callable[[Writer], Producer],
        attendants: Iterable[Attendant],
    ) -> None:
        try:
            producer = make(writer)
            started = await self.log.create(writer.key, writer.token, writer.meta, keep=self._keep)
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
        for each in attendants:
            each.begun()
        self.producers[writer.key] = producer
        producer.ended.add_done_callback(partial(self._forget, writer.key, producer))
        if self._beating is None or self._beating.done():  # who closes the event loop cancels it
            self._beating = asyncio.create_task(self._beat_on(), name="sse_asgi live beats")
        if self.closing:
            await producer.end_unbegun(Outcome.SHUT_DOWN)
        else:
            self._starting.difference_update((asyncio.current_task(),))
            await producer.run()

    def _forget(self, key: str, producer: Producer, _: object) -> None:
        if self.producers.get(key) is producer:
            del self.producers[key]

    # Their heartbeat: it tells the log that they live, and them what it answers

    async def _beat_on(self) -> None:
        """Beat for as long as one of them runs."""
        interval, patience = min(BEAT, self.log.lease / BEATS), Patience(self.log.lease)
        while self.producers:
            began = time.monotonic()
            await asyncio.sleep(interval)
            try:
                await self._beat()
            except Exception as raised:  # noqa: BLE001 - logged, and the generations' failure
                error = self.outage.note(raised, "beat")
                if not isinstance(error, LogUnavailableError):
                    for producer in list(self.producers.values()):
                        producer.stop(Outcome.FAILED, error, by="server")
                elif patience.is_over(began):  # readers in other processes take them for dead
                    for producer in list(self.producers.values()):
                        producer.writer.lose(error)
            else:
                patience.reset()

    async def _beat(self) -> None:
        """Beat for all in one call."""
        asked = dict(self.producers)
        if asked:
            acknowledged = {key: producer.writer.last for key, producer in asked.items()}
            tokens = {key: producer.writer.token for key, producer in asked.items()}
            for key, lease in (await self.log.beat(tokens)).items():
                asked[key].heed(lease, acknowledged[key])

    # What is known of them

    async def look(self, key: str) -> Head | None:
        if not _ID.fullmatch(key):
            return None
        producer = self.producers.get(key)
        if producer is not None and producer.writer.ending is None:
            # While it runs the producer is the truth, also if the log has lost it.
            writer = producer.writer
            return Head(writer.token, writer.meta, writer.last, None)
        return await self.log.look(key)

    async def find(
        self,
        key: str,
        *,
        owner: str | None,
        unknown: str = "there is no generation {}: it is over, mistyped, or another owner's",
    ) -> Head:
        """Look a generation up for somebody; raise `UnknownGenerationError` if it is not theirs."""
        if not isinstance(key, str):
            raise TypeError(f"id must be a str, not {shown(key)} ({type(key).__qualname__})")
        head = await self.look(key)
        if head is None or meta_of(head).owner not in (None, owner):
            raise UnknownGenerationError(unknown.format(shown(key)))
        return head

    # What their viewers are sent

    def writer_of(self, key: str, head: Head) -> Writer | None:
        """Return the writer of a generation that runs here."""
        producer = self.producers.get(key)
        if producer is None or producer.writer.token != head.token or producer.writer.lost:
            return None
        return producer.writer

    def view(self, key: str, head: Head, after: int) -> AsyncGenerator[Block, None]:
        """Yield what a viewer gets after a position, up to the end, by what is known of it."""
        if has_seen_all(head, after):
            return _nothing()
        if head.ending is not None:
            after = min(after, head.last)  # a cursor beyond a log that lost events: hear the end
        feed = self.writer_of(key, head) or self.tails.open(key, head.token, head.last)
        return feed.view(after)

    async def read(self, key: str, framing: Framing) -> Transcript:
        """Follow a generation to its end, and return what it produced."""
        head = await self.look(key)
        if head is None:
            raise UnknownGenerationError(f"there is no generation {shown(key)}: it is over")
        return await read_back(self.view(key, head, 0), head, framing)

    # Their end

    async def stop(self, key: str, head: Head) -> bool:
        """Stop a generation that the caller may stop; tell whether it was running."""
        producer = self.producers.get(key)
        if producer is not None and producer.writer.token == head.token:
            return producer.stop(Outcome.STOPPED)
        return head.ending is None and await self.log.stop(key)

    async def aclose(self, drain: float, *, cleanup: float) -> None:
        """End those that run here, let the viewers of the others go, and close the log.

        It takes no longer than `drain`, `cleanup` and 4 s, whatever sources, hooks and log do.
        """
        self.closing = True
        try:
            await self._wait(drain)
            for producer in list(self.producers.values()):
                producer.stop(Outcome.SHUT_DOWN, by="shutdown")
            await self._wait(cleanup + LAST_WORDS)
            if left := len(self.producers):
                _logger.error("%d live generations did not end, and are left alone", left)
            if self._beating is not None and not self._beating.done():
                self._beating.cancel()
                await asyncio.wait((self._beating,), timeout=1.0)
        finally:
            self.closing = False
        await self.tails.aclose()
        await self.log.aclose()

    async def _wait(self, seconds: float) -> None:
        """Wait for the end of all that run here, for so many seconds at most."""
        ended = (producer.ended for producer in self.producers.values())
        waiting: list[asyncio.Future[Any]] = [*ended, *self._starting]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)


async def _nothing() -> AsyncGenerator[Block, None]:
    return
    yield


def check_id(id: str) -> str:  # noqa: A002 - the option's name
    """Return an id that a user chose, if it fits into a path and a key."""
    if not isinstance(id, str):
        raise wrong_type("id", id, "a str or None")
    if not _ID.fullmatch(id):
        raise ValueError(
            f"id {shown(id)}: use 1 to 200 letters, digits and the signs . _ ~ : @ - of which the "
            "first is a letter, a digit, _ or -"
        )
    return id


def check_log(log: object) -> None:
    """Check that this may be a `Log`; its types cannot be known before it is called."""
    if isinstance(log, type):
        raise TypeError(f"log must be a Log: pass {log.__qualname__}(), not the class")
    missing = [name for name in vars(Log) if name[0] != "_" and not hasattr(log, name)]
    if missing:  # not its repr: a URL may hold a password
        raise TypeError(
            f"log must be a Log, not of type {type(log).__qualname__}, which has no "
            f"{missing[0]!r}; pass MemoryLog() or a RedisLog, for instance"
        )
