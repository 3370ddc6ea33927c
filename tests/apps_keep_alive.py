"""Good and bad streams for clients that keep their connection: `/<kind>/<good or bad>`."""

import os

import anyio

from sse_asgi import EventStream, EventStreamMiddleware
from tests.apps import answer, lifespan


async def source(request):
    yield "one "
    await anyio.sleep(0)
    if request.path.endswith("/bad"):
        raise RuntimeError("the model fell over")
    yield "two"


async def endpoint(scope, receive, send):
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: one \n\n", "more_body": True})
    if scope["path"].endswith("/bad"):
        raise RuntimeError("the model fell over")
    rest = b"data: two\n\ndata: [DONE]\n\n"
    await send({"type": "http.response.body", "body": rest, "more_body": False})


KINDS = {"ours": EventStream(source), "wrapped": EventStreamMiddleware(endpoint)}


async def app(scope, receive, send):
    """Route one request."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["path"] == "/ready":
        return await answer(send, os.environ["SSE_TEST_TOKEN"].encode())
    return await KINDS[scope["path"].split("/")[-2]](scope, receive, send)
