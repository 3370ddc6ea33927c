"""An answer as an event stream, in FastAPI."""

from typing import Annotated

from fastapi import Body, Depends, FastAPI, Header, HTTPException
from model import answer, save

from sse_asgi.starlette import EventStreamResponse


def authorized(authorization: Annotated[str, Header()] = ""):
    if authorization != "Bearer secret":
        raise HTTPException(401)


app = FastAPI(dependencies=[Depends(authorized)])


@app.get("/answer", response_class=EventStreamResponse)
async def get_answer(prompt: str):
    return EventStreamResponse(answer(prompt), on_complete=save)


@app.post("/answer", response_class=EventStreamResponse)
async def post_answer(prompt: Annotated[str, Body(embed=True)]):
    return EventStreamResponse(answer(prompt), on_complete=save)
