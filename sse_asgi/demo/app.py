"""The demo's web app: one page, one generation per prompt, and what the server kept of it."""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sse_asgi import EventStream, JSONFraming, Shutdown, Transcript
from sse_asgi.chat import Chat, ChatApp, ChatError
from sse_asgi.demo.lanes import ID, KEY, PLAIN_KEY, Lanes
from sse_asgi.demo.openai import EndpointError
from sse_asgi.demo.reading import (
    LONGEST_PROMPT,
    RefusedError,
    check_json,
    check_worker,
    matched,
    read_cursors,
    read_prompt,
    refuse,
)
from sse_asgi.demo.source import Source
from sse_asgi.live import Live, Log, LogError, MemoryLog, UnknownGenerationError

MODEL = "demo"
"""The name by which clients of model APIs ask for it."""

_KILLED = 137
_MODULES = ("page", "run", "plain", "lane", "story", "stream", "viewer")
_ASSETS = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}.mjs": (f"{name}.mjs", "text/javascript") for name in _MODULES},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_ASSET_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def create_app(source: Source, *, redis: str | None = None, may_be_killed: bool = False) -> ASGIApp:
    """Build the demo around a source of words.

    Args:
        source: What answers.
        redis: The URL where generations are kept; by default they are in this process.
        may_be_killed: Whether the page may end this process: others go on, and it is replaced.
    """
    live = Live(
        _open_log(redis),
        authorize=lambda _scope, _id, _owner: True,  # the page's ids are random: who has one may
        drain=1.0,
        shutdown=Shutdown(grace=1.0),
        describe_error=describe_error,
    )
    demo = _Demo(source, live, may_be_killed=may_be_killed)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await live.aclose(drain=0.0)

    app = Starlette(
        routes=[
            *(_asset(path, *asset) for path, asset in _ASSETS.items()),
            Route("/source", demo.describe),
            Route("/generations/{id}", demo.generate, methods=["POST"]),
            Mount("/generations", app=live),
            Route("/plain/{id}", demo.stream, methods=["POST"]),
            Route("/watch", demo.watch),
            Route("/failures/{key}", demo.fail, methods=["POST"]),
            Route("/worker/kill", demo.kill, methods=["POST"]),
            Route("/transcripts/{id}", demo.read_transcript),
            Mount("/", app=chat_app(source)),
        ],
        exception_handlers={RefusedError: refuse, LogError: refuse},
        lifespan=lifespan,
    )
    return _name_worker(app)


class _Demo:
    def __init__(self, source: Source, live: Live, *, may_be_killed: bool) -> None:
        self._source = source
        self._live = live
        self._lanes = Lanes(source, live)
        self._may_be_killed = may_be_killed

    async def describe(self, _: Request) -> Response:
        source = self._source
        named = {"name": source.name, "detail": source.detail}
        facts = {"repeatable": source.is_repeatable, "killable": self._may_be_killed}
        return JSONResponse({**named, **facts})

    async def generate(self, request: Request) -> ASGIApp:
        id_ = matched(ID, request)
        return await self._lanes.start(id_, await read_prompt(request))

    async def stream(self, request: Request) -> ASGIApp:
        key = matched(PLAIN_KEY, request)
        prompt = await read_prompt(request)
        check_worker(request)
        return await self._lanes.stream(key, prompt)

    async def watch(self, request: Request) -> ASGIApp:
        keys = request.query_params.getlist("key")[:2]
        seen = read_cursors(request)
        cursors = {key: seen.get(key, "") for key in keys if KEY.fullmatch(key)}
        made = self._lanes.watch(cursors)
        return EventStream(made, framing=JSONFraming(), shutdown=Shutdown(grace=0.0))

    async def fail(self, request: Request) -> Response:
        check_json(request)
        if self._lanes.fail(request.path_params["key"]):
            return Response(status_code=204)
        elsewhere = 421 if self._may_be_killed else 404
        raise RefusedError(elsewhere, "this process does not make that answer")

    async def kill(self, request: Request) -> Response:
        check_json(request)
        if not self._may_be_killed:
            raise RefusedError(403, "this process is the only one: start with --workers")
        check_worker(request)
        os._exit(_KILLED)  # as when the kernel kills it: nobody is told, nothing cleaned up

    async def read_transcript(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        try:
            generation = await self._live.get(id_, framing=JSONFraming())
            transcript = await generation.transcript()
        except UnknownGenerationError as error:
            raise RefusedError(404, f"no generation {id_}") from error
        # Escaped to ASCII: half a character, should a model produce one, travels too.
        return Response(json.dumps(_fields(transcript)), media_type="application/json")


def chat_app(source: Source) -> ChatApp:
    """Serve a source to the clients of OpenAI, Anthropic, AI SDK and AG-UI."""

    def generate(chat: Chat) -> AsyncIterator[str]:
        if len(chat.text) > LONGEST_PROMPT:
            raise ChatError(400, f"A prompt has at most {LONGEST_PROMPT} characters.")
        return source.answer(chat.text)

    return ChatApp(
        generate,
        models=(MODEL,),
        shutdown=Shutdown(grace=1.0),
        describe_error=describe_error,
    )


def describe_error(error: BaseException) -> str:
    """Return what a page or a client may know of a failure."""
    return str(error) if isinstance(error, EndpointError) else "the source failed"


def _name_worker(app: ASGIApp) -> ASGIApp:
    """Say in every response which process it comes from."""
    field = (b"x-worker", str(os.getpid()).encode())

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], field]}
            await send(message)

        await app(scope, receive, send_named)

    return named


def _open_log(url: str | None) -> Log:
    if url is None:
        return MemoryLog()
    # An extra: the demo works without it.
    from sse_asgi.live.redis import RedisLog  # noqa: PLC0415

    return RedisLog(url, prefix="sse-asgi-demo")


def _asset(path: str, name: str, media_type: str) -> Route:
    content = (files("sse_asgi.demo") / "page" / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type, headers=_ASSET_HEADERS)

    return Route(path, answer)


def _fields(transcript: Transcript) -> dict[str, Any]:
    return {
        "text": transcript.text,
        "outcome": transcript.outcome,
        "chunks": transcript.chunks,
        "sent_chunks": transcript.sent_chunks,
        "time_to_first_chunk": transcript.time_to_first_chunk,
        "duration": transcript.duration,
    }
