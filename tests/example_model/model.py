"""What the examples import as `model` when they are under test: the prompt says how it ends."""

import os

import anyio

from sse_asgi import Outcome
from sse_asgi.shutdown.shutdown import DEFAULT
from tests.sources import Run

DEFAULT.grace = float(os.environ["SSE_TEST_GRACE"])  # the examples keep the default of 5 s

CHUNKS = {"words": ["one ", "two ", "three"], "fails": ["one ", "two "], "waits": ["one "]}


async def answer(prompt):
    """Do what the prompt says, under the name of the run that comes with it."""
    kind, name = prompt.split(":")
    run = Run(name)
    try:
        for chunk in CHUNKS[kind]:
            yield run.produce(chunk)
            await anyio.sleep(0.001)
        if kind == "fails":
            raise RuntimeError("the model fell over")
        if kind == "waits":
            await anyio.sleep_forever()
    finally:
        await run.clean_up()


async def save(transcript):
    """Note a transcript; which run it is of, nobody can tell but by its outcome."""
    assert isinstance(transcript.outcome, Outcome)
    await anyio.sleep(0.02)
    await Run("saved").on_complete(transcript)
