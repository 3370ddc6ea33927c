"""What stays on the server: counts, text and times."""

import dataclasses
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from sse_asgi import Outcome, Transcript
from sse_asgi.stream.transcript import Recorder


def test_outcomes_are_their_words():
    assert [str(outcome) for outcome in Outcome] == [
        "completed", "disconnected", "failed", "timed_out", "shut_down", "stopped",
    ]  # fmt: skip
    assert Outcome("timed_out") is Outcome.TIMED_OUT
    assert Outcome.SHUT_DOWN == "shut_down"


def test_a_transcript_cannot_be_changed():
    transcript = Recorder(record=True).transcript(Outcome.COMPLETED, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        transcript.text = "other"
    assert not hasattr(transcript, "__dict__")


def test_fields_are_the_public_ones():
    assert [field.name for field in dataclasses.fields(Transcript)] == [
        "text", "outcome", "chunks", "sent_chunks", "error", "started_at",
        "time_to_first_chunk", "duration", "parts", "usage", "finish_reason",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "chunks", [[], [""], ["a", "", "b"], ["\r\n", "\r", "\n", "\u2028", "\ud800", "\0"]]
)
def test_text_is_the_chunks_joined_unchanged(chunks):
    recorder = Recorder(record=True)
    for chunk in chunks:
        recorder.take(chunk)
    transcript = recorder.transcript(Outcome.COMPLETED, None)
    assert transcript.text == "".join(chunks)
    assert transcript.chunks == len(chunks)


def test_without_record_the_text_is_empty_and_the_counts_stay():
    recorder = Recorder(record=False)
    recorder.take("one")
    recorder.take("two")
    recorder.sent_chunks = 1
    transcript = recorder.transcript(Outcome.DISCONNECTED, None)
    assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("", 2, 1)
    assert transcript.time_to_first_chunk is not None


def test_without_record_memory_does_not_grow():
    recorder = Recorder(record=False)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            recorder.take(f"chunk {number} " + "x" * 50)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 10_000


def test_record_keeps_small_chunks_in_little_memory():
    recorder = Recorder(record=True)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            recorder.take(f"{number:05}")
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 8 * 5 * 20_000


def test_times_are_utc_and_in_order():
    before = datetime.now(UTC)
    recorder = Recorder(record=True)
    recorder.take("a")
    transcript = recorder.transcript(Outcome.COMPLETED, None)
    assert transcript.started_at.utcoffset() == timedelta(0)
    assert before <= transcript.started_at <= datetime.now(UTC)
    assert 0 <= transcript.time_to_first_chunk <= transcript.duration


def test_no_chunk_no_time_to_the_first():
    transcript = Recorder(record=True).transcript(Outcome.FAILED, ValueError("no"))
    assert transcript.time_to_first_chunk is None
    assert transcript.error.args == ("no",)


def test_time_to_first_chunk_is_that_of_the_first():
    recorder = Recorder(record=True)
    recorder.take("a")
    first = recorder.transcript(Outcome.COMPLETED, None).time_to_first_chunk
    recorder.take("b")
    assert recorder.transcript(Outcome.COMPLETED, None).time_to_first_chunk == first
