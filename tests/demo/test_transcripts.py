"""Transcripts that can be waited for."""

from datetime import UTC, datetime

import anyio
import pytest

from sse_asgi import Outcome, Transcript
from sse_asgi.demo.transcripts import Transcripts

pytestmark = pytest.mark.anyio


def transcript(text):
    return Transcript(
        text=text,
        outcome=Outcome.COMPLETED,
        chunks=1,
        sent_chunks=1,
        error=None,
        started_at=datetime.now(UTC),
        time_to_first_chunk=0.1,
        duration=0.2,
    )


async def test_one_that_is_there_is_returned_at_once():
    transcripts = Transcripts()
    await transcripts.add("a", transcript("text"))
    found = await transcripts.wait_for("a", seconds=0)
    assert found is not None
    assert found.text == "text"


async def test_all_who_wait_get_it_when_it_comes():
    transcripts = Transcripts()
    found = []

    async def wait():
        found.append(await transcripts.wait_for("a", seconds=30))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await transcripts.add("other", transcript("other"))
            await anyio.wait_all_tasks_blocked()
            assert found == []
            await transcripts.add("a", transcript("text"))
    assert [each.text for each in found] == ["text"] * 3


async def test_waiting_ends():
    with anyio.fail_after(10):
        assert await Transcripts().wait_for("a", seconds=0.01) is None


async def test_only_the_last_ones_are_kept():
    transcripts = Transcripts(limit=3)
    for number in range(5):
        await transcripts.add(str(number), transcript(str(number)))
    kept = [await transcripts.wait_for(str(number), seconds=0) for number in range(5)]
    assert [each and each.text for each in kept] == [None, None, "2", "3", "4"]
