"""What the log keeps of a generation beside its events, and the transcript that this makes."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

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


# What another process tells of its transcript; one of a later version may tell more.
_TOLD: Final = ("by", "chunks", "sent_chunks", "time_to_first_chunk", "duration")


class Meta(NamedTuple):
    """What the log keeps of a generation's start."""

    owner: str | None
    started_at: datetime
    chosen: bool = True  # by the application is the id: others may be able to guess it
    framing: str = ""  # the name of its class

    def text(self) -> str:
        return json.dumps({**self._asdict(), "started_at": self.started_at.isoformat()})


def meta_of(head: Head) -> Meta:
    fields: dict[str, Any] = json.loads(head.meta)
    fields["started_at"] = datetime.fromisoformat(fields["started_at"])
    return Meta(**{name: fields[name] for name in Meta._fields if name in fields})


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
    error: Exception | None = None
    if ending.detail:
        told: dict[str, Any] = json.loads(ending.detail)
        if raised := told.get("error"):
            error = RemoteSourceError(f"the source raised {raised}")
        detail = {name: told[name] for name in _TOLD if name in told}
    else:
        detail = {"duration": (datetime.now(UTC) - started_at).total_seconds()}
        error = GenerationInterruptedError("the generation ended before its source did")
    known = ending.outcome in list(Outcome)
    outcome = Outcome(ending.outcome) if known else Outcome.FAILED
    read = recorder.transcript(outcome, "server", error, chunks=chunks, sent=chunks)  # it died
    return replace(read, started_at=started_at, **detail)
