"""Chat completion chunks as templates stream them: FastAPI, and a pydantic model for each chunk."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Literal

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

MODEL = "bench"


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None


class Choice(BaseModel):
    index: int = 0
    delta: Delta
    finish_reason: Literal["stop", "length"] | None = None


class Chunk(BaseModel):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[Choice]


def app_of(source: Callable[[], AsyncIterator[str]]) -> FastAPI:
    """Return an app that streams `source` at `/`."""
    app = FastAPI()

    @app.get("/")
    async def answer() -> StreamingResponse:
        return StreamingResponse(events(source()), media_type="text/event-stream")

    return app


async def events(tokens: AsyncIterator[str]) -> AsyncIterator[str]:
    completion, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def event(delta: Delta, finish_reason: Literal["stop"] | None = None) -> str:
        choice = Choice(delta=delta, finish_reason=finish_reason)
        chunk = Chunk(id=completion, created=created, model=MODEL, choices=[choice])
        return f"data: {chunk.model_dump_json()}\n\n"

    yield event(Delta(role="assistant", content=""))
    async for token in tokens:
        yield event(Delta(content=token))
    yield event(Delta(), "stop")
    yield "data: [DONE]\n\n"
