"""An endpoint that streams already, and one line that takes care of it."""

from model import answer, save
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from sse_asgi import EventStreamMiddleware


async def endpoint(request):
    async def events():
        async for chunk in answer(request.query_params.get("prompt", "")):
            yield f"data: {chunk}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


app = Starlette(routes=[Route("/answer", endpoint)])
app = EventStreamMiddleware(app, on_complete=save)  # this one
