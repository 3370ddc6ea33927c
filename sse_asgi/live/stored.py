"""Transcripts that outlive their process: what an ending says, and what is read back from it."""

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


def ending_of(transcript: Transcript) -> Ending:
    """Return the ending that goes into the log; the text is there already."""
    detail = {
        "chunks": transcript.chunks,
        "sent_chunks": transcript.sent_chunks,
        "time_to_first_chunk": transcript.time_to_first_chunk,
        "duration": transcript.duration,
        "error": None if transcript.error is None else type(transcript.error).__qualname__,
    }
    return Ending(transcript.outcome.value, json.dumps(detail))


class Meta(NamedTuple):
    """What the log keeps of a generation's start.

    Attributes:
        owner: Whose it is.
        chosen: Whether the application chose the id, so that others may be able to guess it.
        framing: The name of the framing's class.
        started_at: When it began.
    """

    owner: str | None
    chosen: bool
    framing: str
    started_at: datetime

    def text(self) -> str:
        """Return it as text for `Log.create`."""
        return json.dumps({**self._asdict(), "started_at": self.started_at.isoformat()})


def meta_of(head: Head) -> Meta:
    """Return what a log has of a generation's start."""
    fields: dict[str, Any] = json.loads(head.meta)
    return Meta(
        fields["owner"],
        fields.get("chosen", True),
        fields.get("framing", ""),
        datetime.fromisoformat(fields["started_at"]),
    )


class Reader:
    """Reads back what a generation that ran elsewhere has said.

    Args:
        framing: The one that it was started with.
    """

    def __init__(self, framing: Framing) -> None:
        self._decoder = EventStreamDecoder(max_event_size=EVENT_BYTES)
        self._decode = framing.decoder()
        self._recorder = Recorder(record=True)
        self._chunks = 0

    def read(self, encoded: bytes) -> None:
        """Read the next events.

        Raises:
            FramingError: They are of another framing.
        """
        for event in self._decoder.feed(encoded):
            try:
                items = items_of(self._decode(event))
            except IncompleteStreamError:  # the failure that the ending tells, too
                continue
            for item in items:
                if isinstance(item, Part):
                    self._recorder.take_part(item)
                elif item:
                    self._recorder.keep(item)
                    self._recorder.compact()
                    self._chunks += 1

    def transcript(self, ending: Ending, started_at: datetime) -> Transcript:
        """Return the transcript. What was read is counted where the producer left no numbers.

        Args:
            ending: What the log says.
            started_at: When the generation began.
        """
        detail: dict[str, Any] = json.loads(ending.detail) if ending.detail else {}
        try:
            outcome = Outcome(ending.outcome)
        except ValueError:
            outcome = Outcome.FAILED
        return replace(
            self._recorder.transcript(
                outcome,
                _error(ending, detail),
                chunks=detail.get("chunks", self._chunks),
                sent_chunks=detail.get("sent_chunks", self._chunks),
            ),
            started_at=started_at,
            time_to_first_chunk=detail.get("time_to_first_chunk"),
            duration=detail.get("duration", (datetime.now(UTC) - started_at).total_seconds()),
        )


def _error(ending: Ending, detail: dict[str, Any]) -> BaseException | None:
    if not ending.detail:
        return GenerationInterruptedError("the generation ended before its source did")
    if detail.get("error") is not None:
        return RemoteSourceError(f"the source raised {detail['error']}")
    return None


async def read_back(
    blocks: AsyncGenerator[Block, None], head: Head, framing: Framing
) -> Transcript:
    """Follow a generation from its start to its end, and return what it produced.

    Args:
        blocks: What a viewer of it gets.
        head: What the log knows of it.
        framing: The one that it was started with.
    """
    reader, ending = Reader(framing), Ending(LOST)
    async with aclosing(blocks):
        async for block in blocks:
            reader.read(block.data)
            if block.ending is not None:
                ending = block.ending
                break
    return reader.transcript(ending, meta_of(head).started_at)
