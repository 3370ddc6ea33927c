"""Stream a Claude model's answer from FastAPI, and save it."""

import os
from typing import Annotated

from anthropic import AsyncAnthropic
from fastapi import Body, FastAPI

from sse_asgi.starlette import EventStreamResponse
from sse_asgi.upstream import from_anthropic

client = AsyncAnthropic(api_key=os.environ.get("ANTHROPIC_API_KEY", "your key"))
saved = []  # your database
app = FastAPI()


def answer(prompt):
    return from_anthropic(
        client.messages.create(
            model="claude-sonnet-5-5",
            max_tokens=4096,
            messages=[{"role": "user", "content": prompt}],
            stream=True,
        )
    )


@app.post("/answer", response_class=EventStreamResponse)
async def endpoint(prompt: Annotated[str, Body(embed=True)]):
    def save(transcript):
        saved.append((prompt, transcript.text, transcript.outcome, transcript.usage))

    return EventStreamResponse(answer(prompt), on_complete=save)
