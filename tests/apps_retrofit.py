"""Endpoints that stream already, each in its framework's own way, wrapped by the middleware.

`/<framework>/<source>?run=<run>` is a stream of `tests.sources`; the run's notes tell what the
middleware reported. Options of the middleware are in OPTIONS, by source.
"""

import hashlib
import json
import os
from functools import partial
from urllib.parse import parse_qsl

import anyio

from sse_asgi import EventStreamMiddleware, ServerSentEvent, Shutdown
from tests.apps import RUNS, SIDE_ENDPOINTS, answer, lifespan
from tests.sources import SOURCES, Run

FAREWELL = ServerSentEvent(event="farewell", data="back soon")
HEARTBEAT = 0.05  # seconds
SHUTDOWN = Shutdown(grace=0.5, farewell=FAREWELL)
OPTIONS = {
    "heartbeat": {"heartbeat": HEARTBEAT},
    "send-timeout": {"send_timeout": 0.3, "cleanup_timeout": 1.0},
}
PIECES = (b"data: fir", b"st \n", b"\nid: 1\ndata: second\n\n")
EVENT_STREAM = [(b"content-type", b"text/event-stream")]


def chunks(query):
    """Give what the source of that name gives, with its notes and its clean-up."""
    run = RUNS[query["run"]]
    if query["source"] == "words":
        return words(run)
    source, _ = SOURCES[query["source"]]
    return source(run, None)


async def words(run):
    for word in ("one ", "two\nlines ", "three"):
        yield run.produce(word)


async def events(query):
    async for chunk in chunks(query):
        yield ServerSentEvent(data=chunk).encode()


async def pieces(query):
    """Send two events in pieces, with silences longer than the heartbeat between them."""
    for piece in PIECES:
        yield piece
        await anyio.sleep(5 * HEARTBEAT)


def frames(query):
    return pieces(query) if query["source"] == "pieces" else events(query)


def query_of(scope):
    source = scope["path"].rpartition("/")[2]
    return {"source": source, **dict(parse_qsl(scope["query_string"].decode()))}


async def by_hand(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
    source = frames(query_of(scope))
    try:
        async for frame in source:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    finally:
        await source.aclose()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def on_starlette(*middleware):
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    async def stream(request):
        return StreamingResponse(frames(query_of(request.scope)), media_type="text/event-stream")

    async def upload(request):
        digest = hashlib.sha256()
        async for part in request.stream():
            digest.update(part)
        run = Run(request.query_params["run"])

        async def background():
            await anyio.sleep(0.3)
            run.note("background")

        body = {"digest": digest.hexdigest(), "gone": await request.is_disconnected()}
        return JSONResponse(body, background=BackgroundTask(background))

    async def download(request):
        async def parts():
            for number in range(100):
                yield b"%d" % number * 10_000

        return StreamingResponse(parts(), media_type="text/plain")

    routes = [
        Route("/{app}/upload", upload, methods=["POST"]),
        Route("/{app}/download", download),
        Route("/{app}/{source}", stream),
    ]
    return Starlette(routes=routes, middleware=middleware)


def on_starlette_with_middleware():
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.middleware.gzip import GZipMiddleware

    async def dispatch(request, call_next):
        return await call_next(request)

    return on_starlette(
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(GZipMiddleware, minimum_size=1),
        Middleware(BaseHTTPMiddleware, dispatch=dispatch),
    )


def on_fastapi():
    from fastapi import FastAPI, Request
    from fastapi.sse import EventSourceResponse, ServerSentEvent

    app = FastAPI()

    @app.get("/{app}/{source}", response_class=EventSourceResponse)
    async def stream(request: Request):
        async for chunk in chunks(query_of(request.scope)):
            yield ServerSentEvent(raw_data=chunk)

    return app


def on_sse_starlette():
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def stream(request):
        async def events():
            async for chunk in chunks(query_of(request.scope)):
                yield {"data": chunk}

        return EventSourceResponse(events())

    return Starlette(routes=[Route("/{app}/{source}", stream)])


def on_litestar(**options):
    from litestar import Litestar, Request, get
    from litestar.response import ServerSentEvent

    @get("/{app:str}/{source:str}")
    async def stream(request: Request) -> ServerSentEvent:
        async def events():
            async for chunk in chunks(query_of(request.scope)):
                yield {"data": chunk}

        return ServerSentEvent(events())

    return Litestar([stream], **options)


def on_litestar_compressing():
    from litestar.config.compression import CompressionConfig

    return on_litestar(compression_config=CompressionConfig(backend="gzip", minimum_size=1))


def on_quart():
    from quart import Quart, make_response, request

    app = Quart(__name__)

    @app.get("/<app>/<source>")
    async def stream(app, source):
        body = frames(query_of(request.scope))
        response = await make_response(body, {"content-type": "text/event-stream"})
        response.timeout = None
        return response

    return app


def on_django(*middleware):
    import django
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.http import StreamingHttpResponse
    from django.test.utils import override_settings
    from django.urls import path

    async def stream(request, app, source):
        return StreamingHttpResponse(
            frames(query_of(request.scope)), content_type="text/event-stream"
        )

    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
        django.setup()
        globals()["urlpatterns"] = [path("<app>/<source>", stream)]
    with override_settings(MIDDLEWARE=list(middleware)):
        return ASGIHandler()


FRAMEWORKS = {
    "by-hand": lambda: by_hand,
    "starlette": on_starlette,
    "starlette-middleware": on_starlette_with_middleware,
    "fastapi": on_fastapi,
    "sse-starlette": on_sse_starlette,
    "litestar": on_litestar,
    "litestar-compressing": on_litestar_compressing,
    "quart": on_quart,
    "django": on_django,
    "django-compressing": partial(on_django, "django.middleware.gzip.GZipMiddleware"),
}
CHOSEN = os.environ.get("SSE_TEST_FRAMEWORKS", ",".join(FRAMEWORKS)).split(",")
APPS = {name: FRAMEWORKS[name]() for name in CHOSEN}


async def app(scope, receive, send):
    """Route one request; `/plain/…` goes past the middleware."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    query = query_of(scope)
    if scope["path"] == "/ready":
        return await answer(send, os.environ["SSE_TEST_TOKEN"].encode())
    if scope["path"] in SIDE_ENDPOINTS:
        return await answer(send, json.dumps(SIDE_ENDPOINTS[scope["path"]](query)).encode())
    run = RUNS[query["run"]] = Run(query["run"])
    inner = APPS[scope["path"].split("/")[1]]
    if "plain" in query:
        return await inner(scope, receive, send)
    options = {"shutdown": SHUTDOWN, **OPTIONS.get(query["source"], {})}
    if query["source"] == "pieces":
        options["heartbeat"] = HEARTBEAT
    wrapped = EventStreamMiddleware(inner, on_complete=run.on_complete, **options)
    try:
        await wrapped(scope, receive, partial(run.send, send))
    except BaseException as error:
        run.note("raised", error=repr(error))
        raise
    finally:
        run.note("returned")
