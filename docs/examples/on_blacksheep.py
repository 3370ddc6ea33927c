"""An answer as an event stream, in BlackSheep."""

from blacksheep import Application, Request, Response, StreamedContent, get, post
from blacksheep.server.responses import unauthorized
from model import answer, save

from sse_asgi import EventStreamMiddleware, ServerSentEvent


def streamed(prompt):
    async def events():
        async for chunk in answer(prompt):
            yield ServerSentEvent(data=chunk).encode()
        yield ServerSentEvent(data="[DONE]").encode()

    return Response(200, content=StreamedContent(b"text/event-stream", events))


@get("/answer")
async def get_answer(prompt: str):
    return streamed(prompt)


@post("/answer")
async def post_answer(request: Request):
    return streamed((await request.json())["prompt"])


async def authorize(request, handler):
    if request.get_first_header(b"authorization") != b"Bearer secret":
        return unauthorized()
    return await handler(request)


application = Application()
application.middlewares.append(authorize)
app = EventStreamMiddleware(application, on_complete=save)
