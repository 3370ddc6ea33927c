"""Viewing: finds a generation for somebody, and gives what one viewer is sent."""

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, TypeVar

from sse_asgi.errors import UnknownGenerationError, shown
from sse_asgi.live.feed import Feed
from sse_asgi.live.frames import encode_events, has_seen_all
from sse_asgi.live.log import LOST, Batch, Ending, Head, Log
from sse_asgi.live.producer import Producer
from sse_asgi.live.tail import Tails
from sse_asgi.live.transcripts import Reader
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing

T = TypeVar("T")

_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~:@-]{0,199}")


def check_id(id: str) -> str:  # noqa: A002 - the contract's name
    """Return an id that a user chose, if it fits into a path and a key.

    Raises:
        TypeError: It is no string.
        ValueError: It has other characters, or too many.
    """
    if not isinstance(id, str):
        raise TypeError(f"id must be a str or None, not {shown(id)} ({type(id).__qualname__})")
    if not _ID.fullmatch(id):
        raise ValueError(f"id {shown(id)}: use 1 to 200 letters, digits and the signs . _ ~ : @ -")
    return id


def owner_of(head: Head) -> str | None:
    """Return a generation's owner."""
    owner: str | None = _meta(head)["owner"]
    return owner


def _meta(head: Head) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(head.meta)
    return meta


class Viewing:
    """Looks at generations, here and in other processes.

    Args:
        log: Where they are kept.
        producers: Those that run here, by key.
        tails: The followers that viewers here share.
    """

    def __init__(self, log: Log, producers: Mapping[str, Producer], tails: Tails) -> None:
        self._log = log
        self._producers = producers
        self._tails = tails

    async def look(self, key: str) -> Head | None:
        """Look a generation up; None if there is none.

        Raises:
            LogUnavailableError: The log is out of reach, and the generation does not run here.
        """
        if not _ID.fullmatch(key):
            return None
        producer = self._producers.get(key)
        if producer is not None and producer.feed.ending is None:
            # While it runs the producer is the truth, also if the log has lost it.
            return Head(producer.feed.token, producer.writer.meta, producer.feed.last, None)
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
        if head is None or owner_of(head) not in (None, owner):
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
        if head is not None and owner_of(head) not in (None, owner):
            raise UnknownGenerationError(
                f"the id {shown(key)} is taken by a generation of another owner; start with an id "
                "of its own, or with the owner that it has"
            )
        if head is None:
            raise UnknownGenerationError(f"generation {shown(key)} ended just now; start it again")

    async def read(
        self,
        key: str,
        head: Head,
        after: int,
        make: Callable[[Batch], T],
    ) -> AsyncGenerator[T, None]:
        """Yield what a viewer gets after a position, up to the end.

        One generator, and no coroutine of its own while it waits: this runs for each viewer and
        chunk.

        Args:
            key: The generation.
            head: What is known of it.
            after: The viewer's position.
            make: What becomes of a batch.
        """
        if has_seen_all(head, after):
            return
        if head.ending is not None:
            after = min(after, head.last)  # a cursor beyond a log that lost events: hear the end
        feed = self._feed(key, head)
        feed.viewers += 1
        try:
            while not feed.closed:
                if after < feed.first:
                    batch = await feed.fetch(after)
                elif after < feed.last or feed.ending is not None:
                    batch = feed.batch(after)
                else:
                    await feed.changed()
                    continue
                after = batch.last
                yield make(batch)
                if batch.ending is not None:
                    return
        finally:
            feed.leave()

    def _feed(self, key: str, head: Head) -> Feed:
        """Return what is shared by the viewers of this process: the producer's, if it is here."""
        producer = self._producers.get(key)
        feed = None if producer is None else producer.feed
        if feed is not None and feed.token == head.token and not feed.lost:
            return feed
        return self._tails.open(key, head.token, head.last)

    async def read_transcript(self, key: str, framing: Framing) -> Transcript:
        """Follow a generation to its end, and return what it produced.

        Raises:
            UnknownGenerationError: There is none.
            LogUnavailableError: As for `look`.
        """
        head = await self.look(key)
        if head is None:
            raise UnknownGenerationError(f"there is no generation {shown(key)}: it is over")
        reader, ending = Reader(framing), Ending(LOST)
        async with aclosing(self.read(key, head, 0, lambda batch: batch)) as batches:
            async for batch in batches:
                reader.read(encode_events(b"", 0, batch.events))
                ending = batch.ending or ending
        started_at = datetime.fromisoformat(_meta(head)["started_at"])
        return reader.transcript(ending, started_at)
