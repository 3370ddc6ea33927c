"""The generations that this process knows of: those that run here, and those that the log has."""

import re
from collections.abc import AsyncGenerator
from typing import Final

from sse_asgi.errors import UnknownGenerationError, shown
from sse_asgi.live.events import Block, has_seen_all
from sse_asgi.live.generation import meta_of, read_back
from sse_asgi.live.log import Head, Log
from sse_asgi.live.outage import Outage
from sse_asgi.live.running import Running
from sse_asgi.live.viewer import Tails
from sse_asgi.live.writer import Bounds, Writer
from sse_asgi.stream.options import wrong_type
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome

LABEL_KEEP: Final = 86_400.0
"""Seconds for which a label names a generation."""

_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~:@-]{0,199}")


class Generations:
    """Finds generations, and gives what viewers are sent.

    Each call that asks the log raises a `LogError` if that fails.

    Attributes:
        outage: Told of a log that does not answer.
        running: Those that run here.
        tails: Those elsewhere that somebody here watches.
    """

    def __init__(self, log: Log, bounds: Bounds, *, keep: float) -> None:
        self.outage: Outage = Outage()
        self.running: Running = Running(log, self.outage, bounds, keep=keep)
        self.tails: Tails = Tails(log, self.outage)
        self._log = log

    async def look(self, key: str) -> Head | None:
        """Look a generation up; None if there is none."""
        if not _ID.fullmatch(key):
            return None
        producer = self.running.producers.get(key)
        if producer is not None and producer.writer.ending is None:
            # While it runs the producer is the truth, also if the log has lost it.
            writer = producer.writer
            return Head(writer.token, writer.meta, writer.last, None)
        return await self._log.look(key)

    async def find(self, key: str, *, owner: str | None) -> Head:
        """Look a generation up for somebody.

        Raises:
            TypeError: The id is no string.
            UnknownGenerationError: There is none, or it has another owner.
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
        """Check that somebody who starts a generation that exists may follow that one.

        Raises:
            UnknownGenerationError: It has another owner, or has gone meanwhile.
        """
        try:
            await self.find(key, owner=owner)
        except UnknownGenerationError:
            raise UnknownGenerationError(
                f"the id {shown(key)} is taken by a generation of another owner, or was until just "
                "now; start with an id of its own, or with the owner that it has"
            ) from None

    async def stop(self, key: str, head: Head) -> bool:
        """Stop a generation that the caller may stop; tell whether it was running."""
        producer = self.running.producers.get(key)
        if producer is not None and producer.writer.token == head.token:
            return producer.stop(Outcome.STOPPED)
        return head.ending is None and await self._log.stop(key)

    async def label(self, label: str, key: str) -> None:
        """Let a label name a generation, for a day at most."""
        await self._log.label(label, key, keep=LABEL_KEEP)

    async def labelled(self, label: str) -> str | None:
        """Return the key that a label names, None for none."""
        return await self._log.labelled(label)

    def runs_here(self, key: str, head: Head) -> bool:
        """Tell whether a generation runs in this process."""
        return self._writer_of(key, head) is not None

    def view(
        self, key: str, head: Head, after: int, first_line: bytes = b""
    ) -> AsyncGenerator[Block, None]:
        """Yield what a viewer gets after a position, up to the end.

        `head` is what is known of the generation. The first event begins with `first_line`.
        """
        if has_seen_all(head, after):
            return _nothing()
        if head.ending is not None:
            after = min(after, head.last)  # a cursor beyond a log that lost events: hear the end
        feed = self._writer_of(key, head) or self.tails.open(key, head.token, head.last)
        return feed.view(after, first_line)

    async def read(self, key: str, framing: Framing) -> Transcript:
        """Follow a generation to its end, and return what it produced.

        Raises:
            UnknownGenerationError: There is none.
        """
        head = await self.look(key)
        if head is None:
            raise UnknownGenerationError(f"there is no generation {shown(key)}: it is over")
        return await read_back(self.view(key, head, 0), head, framing)

    async def aclose(self, drain: float, *, cleanup: float) -> None:
        """End those that run here, let the viewers of the others go, and close the log."""
        await self.running.aclose(drain, cleanup=cleanup)
        await self.tails.aclose()
        await self._log.aclose()

    def _writer_of(self, key: str, head: Head) -> Writer | None:
        producer = self.running.producers.get(key)
        if producer is None or producer.writer.token != head.token or producer.writer.lost:
            return None
        return producer.writer


async def _nothing() -> AsyncGenerator[Block, None]:
    return
    yield


def check_id(id: str) -> str:  # noqa: A002 - the option's name
    """Return an id that a user chose, if it fits into a path and a key.

    Raises:
        TypeError: It is no string.
        ValueError: It has other characters, or too many.
    """
    if not isinstance(id, str):
        raise wrong_type("id", id, "a str or None")
    if not _ID.fullmatch(id):
        raise ValueError(
            f"id {shown(id)}: use 1 to 200 letters, digits and the signs . _ ~ : @ - of which the "
            "first is a letter, a digit, _ or -"
        )
    return id


def check_log(log: object) -> None:
    """Check that this may be a `Log`; its types cannot be known before it is called.

    Raises:
        TypeError: It is a class, or lacks something.
    """
    if isinstance(log, type):
        raise TypeError(f"log must be a Log: pass {log.__qualname__}(), not the class")
    missing = [name for name in vars(Log) if name[0] != "_" and not hasattr(log, name)]
    if missing:  # not its repr: a URL may hold a password
        raise TypeError(
            f"log must be a Log, not of type {type(log).__qualname__}, which has no "
            f"{missing[0]!r}; pass MemoryLog() or a RedisLog, for instance"
        )
