"""An answer as an event stream, in Starlette."""

from model import answer, save
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from sse_asgi.starlette import EventStreamResponse


async def endpoint(request):
    if request.headers.get("authorization") != "Bearer secret":
        raise HTTPException(401)
    if request.method == "POST":
        prompt = (await request.json())["prompt"]
    else:
        prompt = request.query_params.get("prompt", "")
    return EventStreamResponse(answer(prompt), on_complete=save)


app = Starlette(routes=[Route("/answer", endpoint, methods=["GET", "POST"])])
