"""Stream a LangChain model's answer from FastAPI, and save it."""

from contextlib import aclosing
from typing import Annotated

from fastapi import Body, FastAPI
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages.ai import add_usage

from sse_asgi import Finish, Usage
from sse_asgi.starlette import EventStreamResponse

model = FakeListChatModel(responses=["Hello from LangChain."])  # put your chat model here
saved = []  # your database
app = FastAPI()


async def answer(prompt):
    usage = None
    reason = None
    async with aclosing(model.astream([("user", prompt)])) as chunks:
        async for chunk in chunks:
            yield chunk.text or None  # None is skipped
            usage = add_usage(usage, chunk.usage_metadata)
            reason = chunk.response_metadata.get("finish_reason", reason)
    if usage and usage["total_tokens"]:
        yield Usage(usage["input_tokens"], usage["output_tokens"])
    if reason:
        yield Finish(reason)


@app.post("/answer", response_class=EventStreamResponse)
async def endpoint(prompt: Annotated[str, Body(embed=True)]):
    def save(transcript):
        saved.append((prompt, transcript.text, transcript.outcome, transcript.usage))

    return EventStreamResponse(answer(prompt), on_complete=save)
