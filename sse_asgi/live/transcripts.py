"""Transcripts that outlive their process: what an ending says, and what is read back from it."""

import json
from datetime import UTC, datetime
from typing import Any

from sse_asgi.errors import GenerationInterruptedError, RemoteSourceError
from sse_asgi.live.log import Ending
from sse_asgi.stream.transcript import Outcome, Transcript


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


def transcript_of(text: str, chunks: int, ending: Ending, started_at: datetime) -> Transcript:
    """Return the transcript of a generation that ran elsewhere.

    Args:
        text: What was read back.
        chunks: How many pieces it came in; counts where the producer left no numbers.
        ending: What the log says.
        started_at: When it began.
    """
    detail: dict[str, Any] = json.loads(ending.detail) if ending.detail else {}
    try:
        outcome = Outcome(ending.outcome)
    except ValueError:
        outcome = Outcome.FAILED
    return Transcript(
        text=text,
        outcome=outcome,
        chunks=detail.get("chunks", chunks),
        sent_chunks=detail.get("sent_chunks", chunks),
        error=_error(ending, detail),
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
