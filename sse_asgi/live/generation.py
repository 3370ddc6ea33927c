"""Generation: one run of a source, as those see it who start or watch it; and its transcript."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.errors import GenerationInterruptedError, IncompleteStreamError, RemoteSourceError
from sse_asgi.live.events import Block
from sse_asgi.live.log import LOST, Ending, Head
from sse_asgi.stream.transcript import Recorder, Transcript
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.framing import Framing, items_of
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

EVENT_BYTES: Final = 2**40
"""The decoder's limit: an event that could be stored, by any process, can be read."""


class Generation:
    """A generation, here or in another process; and an ASGI application that follows it.

    As an application it answers any path and method with the events, and with the headers that its
    framing demands, for as many viewers as there are. Whoever mounts or returns it has decided that
    its viewers may see it.

    Attributes:
        id: Its id.
        started: Whether this call of `Live.start` began it; if not, it existed.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the option's name
        *,
        started: bool,
        ended: "asyncio.Future[Transcript] | None",
        read: Callable[[], Awaitable[Transcript]],
        serve: Callable[[Scope, Receive, Send], Awaitable[None]],
    ) -> None:
        self.id = id
        self.started = started
        self._ended = ended
        self._read = read
        self._serve = serve

    async def transcript(self) -> Transcript:
        """Wait for its end and return what it produced.

        If it runs in another process, the text is read back from the log with this
        generation's framing, and `error` is a `GenerationInterruptedError` or a
        `RemoteSourceError`.

        Raises:
            UnknownGenerationError: Its time is over, or the log has lost it.
            LogUnavailableError: The log is out of reach, and it runs in another process.
        """
        if self._ended is not None:
            return await asyncio.shield(self._ended)
        return await self._read()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow it: one viewer, from where its `Last-Event-ID` says."""
        await self._serve(scope, receive, send)


class Meta(NamedTuple):
    """What the log keeps of a generation's start."""

    owner: str | None
    chosen: bool  # by the application is the id: others may be able to guess it
    framing: str  # the name of its class
    started_at: datetime

    def text(self) -> str:
        return json.dumps({**self._asdict(), "started_at": self.started_at.isoformat()})


def meta_of(head: Head) -> Meta:
    fields: dict[str, Any] = json.loads(head.meta)
    started_at = datetime.fromisoformat(fields["started_at"])
    return Meta(fields["owner"], fields.get("chosen", True), fields.get("framing", ""), started_at)


def ending_of(transcript: Transcript) -> Ending:
    """Return the ending that goes into the log; the text is there already."""
    detail = {
        "by": transcript.by,
        "chunks": transcript.chunks,
        "sent_chunks": transcript.sent_chunks,
        "time_to_first_chunk": transcript.time_to_first_chunk,
        "duration": transcript.duration,
        "error": None if transcript.error is None else type(transcript.error).__qualname__,
    }
    return Ending(transcript.outcome.value, json.dumps(detail))


async def read_back(
    blocks: AsyncGenerator[Block, None], head: Head, framing: Framing
) -> Transcript:
    """Read what a viewer of a generation gets, up to the end, and return what it produced.

    A `FramingError` says that it was started with another framing.
    """
    decoder, decode = EventStreamDecoder(max_event_size=EVENT_BYTES), framing.decoder()
    recorder, chunks, ending = Recorder(), 0, Ending(LOST)
    async with aclosing(blocks):
        async for block in blocks:
            for event in decoder.feed(block.data):
                try:
                    items = items_of(decode(event))
                except IncompleteStreamError:  # the failure that the ending tells, too
                    continue
                chunks += sum(_record(recorder, item) for item in items)
            if block.ending is not None:
                ending = block.ending
                break
    return _transcript(recorder, chunks, ending, meta_of(head).started_at)


def _record(recorder: Recorder, item: object) -> bool:
    """Record what an event says; tell whether it is a chunk of text."""
    if isinstance(item, Part):
        recorder.parts.append(item)
    elif isinstance(item, str) and item:
        recorder.keep(item)
        recorder.compact()
        return True
    return False


def _transcript(
    recorder: Recorder, chunks: int, ending: Ending, started_at: datetime
) -> Transcript:
    """Return the transcript. What was read is counted where the producer left no numbers."""
    detail: dict[str, Any] = json.loads(ending.detail) if ending.detail else {}
    known = ending.outcome in list(Outcome)
    read = recorder.transcript(
        Outcome(ending.outcome) if known else Outcome.FAILED,
        detail.get("by", "server"),  # it died
        _error(ending, detail),
        chunks=detail.get("chunks", chunks),
        sent=detail.get("sent_chunks", chunks),
    )
    age = (datetime.now(UTC) - started_at).total_seconds()
    return replace(
        read,
        started_at=started_at,
        time_to_first_chunk=detail.get("time_to_first_chunk"),
        duration=detail.get("duration", age),
    )


def _error(ending: Ending, detail: dict[str, Any]) -> BaseException | None:
    if not ending.detail:
        return GenerationInterruptedError("the generation ended before its source did")
    if detail.get("error") is not None:
        return RemoteSourceError(f"the source raised {detail['error']}")
    return None
