"""Streams with what operators ask for, behind a framework that answers an early failure."""

import asyncio
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from sse_asgi import EventStream, EventStreamMiddleware, JSONFraming, Reasoning
from sse_asgi.chat import ChatApp
from sse_asgi.limits import Limits
from sse_asgi.live import Live

WORDS = [f"word-{number} " for number in range(40)]
PACE = 0.01  # seconds
calls = []


async def fails(request):
    """Fail after so many seconds as the client says."""
    await asyncio.sleep(float(request.query_params["after"]))
    raise LookupError
    yield


async def words(request):
    for word in WORDS:
        yield word
        await asyncio.sleep(PACE)
    yield Reasoning("done")


async def stays(request):
    calls.append("stays")
    yield "a"
    await asyncio.Event().wait()


async def endpoint(scope, receive, send):
    async def events():
        async for word in stays(Request(scope)):
            yield f"data: {word}\n\n"

    await StreamingResponse(events(), media_type="text/event-stream")(scope, receive, send)


async def generate(chat):
    calls.append(chat.dialect)
    yield "a"
    await asyncio.Event().wait()


async def generate_words(chat):
    for word in WORDS:
        yield word
        await asyncio.sleep(PACE)


async def told(request):
    return JSONResponse(calls)


async def says_token(request):
    return PlainTextResponse(os.environ["SSE_TEST_TOKEN"])


async def sorry(request, error):
    return PlainTextResponse("sorry", status_code=503)


app = Starlette(
    routes=[
        Route("/ready", says_token),
        Route("/calls", told),
        Mount("/prefetch", app=EventStream(fails, prefetch=1.0, heartbeat=0.2)),
        Mount("/plain", app=EventStream(words, framing=JSONFraming())),
        Mount("/joined", app=EventStream(words, framing=JSONFraming(), coalesce=0.1)),
        Mount("/limited", app=EventStream(stays, limits=Limits(1))),
        Mount("/guarded", app=EventStreamMiddleware(endpoint, limits=Limits(1))),
        Mount("/live", app=ChatApp(generate_words, live=Live(), coalesce=0.1)),
        Mount("/chat", app=ChatApp(generate, limits=Limits(1))),
    ],
    exception_handlers={LookupError: sorry},
)
