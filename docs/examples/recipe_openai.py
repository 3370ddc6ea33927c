"""Stream an OpenAI model's answer from FastAPI, and save it."""

import os
from typing import Annotated

from fastapi import Body, FastAPI
from openai import AsyncOpenAI

from sse_asgi.starlette import EventStreamResponse
from sse_asgi.upstream import from_openai

client = AsyncOpenAI(api_key=os.environ.get("OPENAI_API_KEY", "your key"))
saved = []  # your database
app = FastAPI()


def answer(prompt):
    return from_openai(
        client.chat.completions.create(
            model="gpt-5.5",
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )


@app.post("/answer", response_class=EventStreamResponse)
async def endpoint(prompt: Annotated[str, Body(embed=True)]):
    def save(transcript):
        saved.append((prompt, transcript.text, transcript.outcome, transcript.usage))

    return EventStreamResponse(answer(prompt), on_complete=save)
