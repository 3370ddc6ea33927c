"""What the examples stream, and what keeps their answers: put your own in its place."""

import asyncio

from sse_asgi import Transcript


async def answer(prompt: str):
    """Give an answer word by word."""
    for word in prompt.split():
        yield word + " "
        await asyncio.sleep(0.05)


async def save(transcript: Transcript):
    """Keep what was produced, however the stream ended."""
    print(transcript.outcome, transcript.text)
