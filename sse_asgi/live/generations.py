"""The generations of a process: those that run here, and those that it watches elsewhere."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from typing import Any, Final

from sse_asgi.around import Attendant
from sse_asgi.errors import UnknownGenerationError, shown
from sse_asgi.live.bounds import Bounds
from sse_asgi.live.checks import is_id
from sse_asgi.live.events import Block, has_seen_all
from sse_asgi.live.heartbeat import Heartbeat
from sse_asgi.live.log import Head, Log
from sse_asgi.live.outage import Outage
from sse_asgi.live.producer import Producer
from sse_asgi.live.stored import Meta, meta_of, read_back
from sse_asgi.live.tail import Tails
from sse_asgi.live.viewer import Feed, view
from sse_asgi.live.writer import Writer
from sse_asgi.source.source import SourceOpener
from sse_asgi.stream.lifecycle import LAST_CHANCE, Cause
from sse_asgi.stream.options import Options
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome

LAST_WORDS: Final = LAST_CHANCE + 1.0
"""Seconds in which the last generations are stored and reported once their sources have ended."""

LABEL_KEEP: Final = 86_400.0
"""Seconds for which a label names a generation."""

_logger = logging.getLogger("sse_asgi")


class Generations:
    """Runs generations, finds them, and gives what viewers are sent.

    Args:
        log: Where they are kept.
        bounds: How much those that run here may store.
        keep: As for `Live`.

    Attributes:
        outage: Told of a log that does not answer.
        producers: Those that run here, by key.
        tails: Those elsewhere that somebody here watches.
    """

    def __init__(self, log: Log, bounds: Bounds, *, keep: float) -> None:
        self.outage: Outage = Outage()
        self.producers: dict[str, Producer] = {}
        self.tails: Tails = Tails(log, self.outage)
        self._log = log
        self._bounds = bounds
        self._keep = keep
        self._heartbeat = Heartbeat(log, self.outage, self.producers)
        self._beginning: set[asyncio.Task[None]] = set()
        self._closing = False

    # Running

    def check_open(self) -> None:
        """Check that generations may be started.

        Raises:
            RuntimeError: All are being ended.
        """
        if self._closing:
            raise RuntimeError("this Live is being closed and starts nothing more")

    async def begin(
        self,
        key: str,
        opener: SourceOpener,
        options: Options,
        meta: Meta,
        *,
        attendant: Attendant,
        linger: float | None,
        at_once: bool = False,
    ) -> bool:
        """Begin a generation, unless the id exists.

        Once it is on its way to the log it begins, also if whoever asks for it is cancelled:
        the log would have one that nobody runs, and its id would be wasted.

        Raises:
            RuntimeError: All are being ended. If it had begun it is ended, too.
        """
        begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        token = secrets.token_urlsafe(12)
        writer = Writer(
            self._log, self._bounds, key, token, meta.text(), keep=self._keep, outage=self.outage
        )
        task = asyncio.create_task(
            self._run(begun, writer, opener, options, linger, attendant=attendant, at_once=at_once),
            name="sse_asgi live generation",
        )
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        task.add_done_callback(lambda _: attendant.over())
        started = await begun
        self.check_open()
        return started

    async def _run(
        self,
        begun: "asyncio.Future[bool]",
        writer: Writer,
        opener: SourceOpener,
        options: Options,
        linger: float | None,
        *,
        attendant: Attendant,
        at_once: bool,
    ) -> None:
        try:
            producer = Producer(opener, options, writer, linger=linger, at_once=at_once)
            started = await self._log.create(
                writer.key, writer.feed.token, writer.meta, keep=self._keep
            )
        except Exception as error:  # noqa: BLE001 - whoever starts it is told
            if not begun.done():
                begun.set_exception(error)
            return
        except BaseException:
            begun.cancel()
            raise
        if not begun.done():
            begun.set_result(started)
        if not started:
            return
        attendant.begun()
        self._note(writer.key, producer)
        if self._closing:
            await producer.end_unbegun(Outcome.SHUT_DOWN)
        else:
            self._beginning.difference_update((asyncio.current_task(),))
            await producer.run()

    def _note(self, key: str, producer: Producer) -> None:
        """Know a producer by its key until it is done, and beat for it."""

        def forget(_: object) -> None:
            if self.producers.get(key) is producer:
                del self.producers[key]
            if not self.producers:
                self._heartbeat.stop()

        self.producers[key] = producer
        producer.ended.add_done_callback(forget)
        self._heartbeat.start()

    async def stop(self, key: str, head: Head) -> bool:
        """Stop a generation that the caller may stop; tell whether it was running."""
        producer = self.producers.get(key)
        if producer is not None and producer.writer.feed.token == head.token:
            return producer.stop(Outcome.STOPPED)
        return head.ending is None and await self._log.stop(key)

    async def aclose(self, drain: float, *, cleanup: float) -> None:
        """Let them end by themselves for `drain` seconds, end the rest, and close the log.

        It takes no longer than `drain`, `cleanup` and 2.5 s, whatever sources, hooks and log do.
        """
        self._closing = True
        try:
            await self._wait(drain)
            for producer in list(self.producers.values()):
                producer.stop(Outcome.SHUT_DOWN, by=Cause.SHUTDOWN)
            await self._wait(cleanup + LAST_WORDS)
            if left := len(self.producers):
                _logger.error("%d live generations did not end, and are left alone", left)
            await self._heartbeat.aclose()
            await self.tails.aclose()
            await self._log.aclose()
        finally:
            self._closing = False

    async def _wait(self, seconds: float) -> None:
        """Wait for the end of all that run here, for so many seconds at most."""
        ended = (producer.ended for producer in self.producers.values())
        waiting: list[asyncio.Future[Any]] = [*ended, *self._beginning]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)

    # Watching

    async def look(self, key: str) -> Head | None:
        """Look a generation up; None if there is none.

        Raises:
            LogUnavailableError: The log is out of reach, and the generation does not run here.
        """
        if not is_id(key):
            return None
        producer = self.producers.get(key)
        if producer is not None and producer.writer.feed.ending is None:
            # While it runs the producer is the truth, also if the log has lost it.
            feed = producer.writer.feed
            return Head(feed.token, producer.writer.meta, feed.last, None)
        return await self._log.look(key)

    async def find(self, key: str, *, owner: str | None) -> Head:
        """Look a generation up for somebody.

        Raises:
            TypeError: The id is no string.
            UnknownGenerationError: There is none, or it has another owner.
            LogUnavailableError: As for `look`.
        """
        if not isinstance(key, str):
            raise TypeError(f"id must be a str, not {shown(key)} ({type(key).__qualname__})")
        head = await self.look(key)
        if head is None or meta_of(head).owner not in (None, owner):
            raise UnknownGenerationError(
                f"there is no generation {shown(key)}: it is over, mistyped, or another owner's"
            )
        return head

    async def join(self, key: str, *, owner: str | None) -> None:
        """Check that somebody who starts a generation of an id that exists may follow that one.

        Raises:
            UnknownGenerationError: It has another owner, or has gone meanwhile.
            LogUnavailableError: As for `look`.
        """
        head = await self.look(key)
        if head is None:
            raise UnknownGenerationError(f"generation {shown(key)} ended just now; start it again")
        if meta_of(head).owner not in (None, owner):
            raise UnknownGenerationError(
                f"the id {shown(key)} is taken by a generation of another owner; start with an id "
                "of its own, or with the owner that it has"
            )

    async def label(self, label: str, key: str) -> None:
        """Let a label name a generation, for a day at most.

        Raises:
            LogUnavailableError: The log is out of reach.
        """
        await self._log.label(label, key, keep=LABEL_KEEP)

    async def labelled(self, label: str) -> str | None:
        """Return the key that a label names, None for none.

        Raises:
            LogUnavailableError: The log is out of reach.
        """
        return await self._log.labelled(label)

    def runs_here(self, key: str, head: Head) -> bool:
        """Tell whether a generation runs in this process."""
        producer = self.producers.get(key)
        feed = None if producer is None else producer.writer.feed
        return feed is not None and feed.token == head.token and not feed.lost

    def view(
        self, key: str, head: Head, after: int, first_line: bytes = b""
    ) -> AsyncGenerator[Block, None]:
        """Yield what a viewer gets after a position, up to the end.

        Args:
            key: The generation.
            head: What is known of it.
            after: The viewer's position.
            first_line: A line of the first event that it gets.
        """
        if has_seen_all(head, after):
            return _nothing()
        if head.ending is not None:
            after = min(after, head.last)  # a cursor beyond a log that lost events: hear the end
        return view(self._feed(key, head), after, first_line)

    def _feed(self, key: str, head: Head) -> Feed:
        """Return what the viewers of this process share: the producer's, if it is here."""
        if self.runs_here(key, head):
            return self.producers[key].writer.feed
        return self.tails.open(key, head.token, head.last)

    async def read(self, key: str, framing: Framing) -> Transcript:
        """Follow a generation to its end, and return what it produced.

        Raises:
            UnknownGenerationError: There is none.
            LogUnavailableError: As for `look`.
        """
        head = await self.look(key)
        if head is None:
            raise UnknownGenerationError(f"there is no generation {shown(key)}: it is over")
        return await read_back(self.view(key, head, 0), head, framing)


async def _nothing() -> AsyncGenerator[Block, None]:
    return
    yield
