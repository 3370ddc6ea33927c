"""An answer as an event stream, in Litestar."""

from litestar import Litestar, Request, get, post
from litestar.exceptions import NotAuthorizedException
from litestar.types import ASGIApp
from model import answer, save

from sse_asgi import EventStream


def authorized(connection, _):
    if connection.headers.get("authorization") != "Bearer secret":
        raise NotAuthorizedException


@get("/answer")
async def get_answer(request: Request) -> ASGIApp:
    return EventStream(answer(request.query_params.get("prompt", "")), on_complete=save)


@post("/answer")
async def post_answer(request: Request) -> ASGIApp:
    prompt = (await request.json())["prompt"]
    return EventStream(answer(prompt), on_complete=save)


app = Litestar([get_answer, post_answer], guards=[authorized])
