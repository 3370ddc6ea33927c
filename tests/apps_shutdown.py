"""Streams that are open when their server is told to stop, ours and others'.

`/<kind>/<what>?run=<run>`: `kind` is whose stream it is, and `what` says whether it ends by
itself once the file SSE_TEST_GO exists, or never.
"""

import asyncio
import os
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

import anyio

from sse_asgi import EventStream, EventStreamMiddleware, ServerSentEvent, Shutdown
from tests.apps import answer, lifespan
from tests.sources import BIG, Run

GRACE = 0.7
FAREWELL = ServerSentEvent(event="farewell", data="back soon", retry=100)


async def chunks(run, what):
    """Give one chunk, wait, and clean up with awaits."""
    run.note("started")
    try:
        yield run.produce("first ")
        while what == "endless" or not Path(os.environ["SSE_TEST_GO"]).exists():
            await anyio.sleep(0.01)
        yield run.produce("last")
    finally:
        await run.clean_up()


async def save(run, transcript):
    """Take a moment to save, as to a database."""
    run.note("saving")
    await anyio.sleep(0.1)
    await run.on_complete(transcript)


def shutdown():
    return Shutdown(grace=float(os.environ.get("SSE_TEST_GRACE", GRACE)), farewell=FAREWELL)


SHUTDOWN = shutdown()


def own(run, what):
    return EventStream(
        lambda request: chunks(run, what), shutdown=SHUTDOWN, on_complete=partial(save, run)
    )


def retrofit(run, what):
    """Give a hand-written endpoint that is wrapped by the middleware."""

    async def endpoint(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        source = chunks(run, what)
        try:
            async for chunk in source:
                body = b"data: " + chunk.encode() + b"\n\n"
                await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            await source.aclose()
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    return EventStreamMiddleware(endpoint, shutdown=SHUTDOWN, on_complete=partial(save, run))


def opted_out(run, what):
    return EventStream(
        lambda request: chunks(run, what), shutdown=None, on_complete=partial(save, run)
    )


def flood(run, what):
    """Give a stream whose client is behind: it notes when a send does not come back."""

    async def source(request):
        while True:
            yield run.produce(BIG)
            await anyio.sleep(0)

    async def watch_sends(send, message):
        timer = asyncio.get_running_loop().call_later(0.3, run.note, "blocked")
        try:
            await send(message)
        finally:
            timer.cancel()

    stream = EventStream(source, shutdown=SHUTDOWN, on_complete=partial(save, run))
    return lambda scope, receive, send: stream(scope, receive, partial(watch_sends, send))


def sse_starlette(run, what):
    from sse_starlette import EventSourceResponse

    async def events():
        async for chunk in chunks(run, what):
            yield {"data": chunk}

    return EventSourceResponse(events())


def sse_starlette_graceful(run, what):
    """Give a stream with what sse-starlette documents for a graceful end."""
    from sse_starlette import EventSourceResponse

    stopping = anyio.Event()

    async def events():
        run.note("started")
        try:
            yield {"data": run.produce("first ")}
            await stopping.wait()
            yield {"event": "farewell", "data": "back soon"}
        finally:
            await run.clean_up()

    return EventSourceResponse(events(), shutdown_event=stopping, shutdown_grace_period=GRACE)


def fastapi_app():
    from fastapi import FastAPI
    from fastapi.sse import EventSourceResponse

    app = FastAPI()

    @app.get("/fastapi/{what}", response_class=EventSourceResponse)
    async def stream(run: str, what: str):
        async for chunk in chunks(Run(run), what):
            yield chunk

    return app


KINDS = {
    "own": own,
    "retrofit": retrofit,
    "opted-out": opted_out,
    "flood": flood,
    "sse-starlette": sse_starlette,
    "sse-starlette-graceful": sse_starlette_graceful,
}
OF_FASTAPI = fastapi_app() if os.environ.get("SSE_TEST_PEERS") else None


async def app(scope, receive, send):
    """Route one request."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["path"] == "/ready":
        return await answer(send, os.environ["SSE_TEST_TOKEN"].encode())
    if scope["path"] == "/pid":
        return await answer(send, b"%d" % os.getpid())
    _, kind, what = scope["path"].split("/")
    if kind == "fastapi":
        return await OF_FASTAPI(scope, receive, send)
    run = Run(dict(parse_qsl(scope["query_string"].decode()))["run"])
    return await KINDS[kind](run, what)(scope, receive, send)
