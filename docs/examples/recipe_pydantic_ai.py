"""Stream the answer of a Pydantic AI agent from FastAPI, and save it."""

from typing import Annotated

from fastapi import Body, FastAPI
from pydantic_ai import Agent

from sse_asgi.starlette import EventStreamResponse
from sse_asgi.upstream import from_pydantic_ai

agent = Agent("openai:gpt-5.5", defer_model_check=True)  # reads OPENAI_API_KEY when it runs
saved = []  # your database
app = FastAPI()


@agent.tool_plain
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"It rains in {city}."


def answer(prompt):
    return from_pydantic_ai(agent.run_stream_events(prompt))


@app.post("/answer", response_class=EventStreamResponse)
async def endpoint(prompt: Annotated[str, Body(embed=True)]):
    def save(transcript):
        saved.append((prompt, transcript.text, transcript.outcome, transcript.parts))

    return EventStreamResponse(answer(prompt), on_complete=save)
