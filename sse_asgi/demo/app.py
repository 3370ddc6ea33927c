"""The demo's web app: one page, one generation per prompt, and what the server kept of it."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from sse_asgi import JSONFraming, Shutdown, Transcript
from sse_asgi.demo.chat import LONGEST_PROMPT, chat_app, describe_error
from sse_asgi.demo.source import Source
from sse_asgi.live import Live, Log, LogError, MemoryLog, UnknownGenerationError

_LARGEST_BODY = 64 * 1024
_ID = re.compile(r"[0-9a-f]{32}")
_UNAVAILABLE = JSONResponse({"message": "Redis is out of reach"}, status_code=503)
_ASSETS = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.mjs": ("page.mjs", "text/javascript"),
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


def create_app(source: Source, *, redis: str | None = None) -> Starlette:
    """Build the demo around a source of words.

    Args:
        source: What answers.
        redis: The URL where generations are kept; by default they are in this process.
    """
    live = Live(
        _open_log(redis),
        authorize=lambda _scope, _id, _owner: True,  # the page's ids are random: who has one may
        drain=1.0,
        shutdown=Shutdown(grace=1.0),
        describe_error=describe_error,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await live.aclose(drain=0.0)

    async def describe(_: Request) -> Response:
        return JSONResponse({"name": source.name, "detail": source.detail})

    async def generate(request: Request) -> ASGIApp:
        try:
            prompt = await _read_prompt(request)
        except _RefusedError as error:
            return JSONResponse({"message": str(error)}, status_code=error.status)
        try:
            return await live.start(
                lambda: source.answer(prompt), id=request.path_params["id"], framing=JSONFraming()
            )
        except LogError:
            return _UNAVAILABLE

    async def read_transcript(request: Request) -> Response:
        id_ = request.path_params["id"]
        try:
            generation = await live.get(id_, framing=JSONFraming())
            transcript = await generation.transcript()
        except UnknownGenerationError:
            return JSONResponse({"message": f"no generation {id_}"}, status_code=404)
        except LogError:
            return _UNAVAILABLE
        # Escaped to ASCII: half a character, should a model produce one, travels too.
        return Response(json.dumps(_fields(transcript)), media_type="application/json")

    return Starlette(
        routes=[
            *(_asset(path, *asset) for path, asset in _ASSETS.items()),
            Route("/source", describe),
            Route("/generations/{id}", generate, methods=["POST"]),
            Mount("/generations", app=live),
            Route("/transcripts/{id}", read_transcript),
            Mount("/", app=chat_app(source)),
        ],
        lifespan=lifespan,
    )


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


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def _read_prompt(request: Request) -> str:
    if not _ID.fullmatch(request.path_params["id"]):
        raise _RefusedError(404, "the id of a generation is 32 hexadecimal digits")
    # Another site's page can send any other content type without asking first.
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise _RefusedError(415, "send the prompt as application/json")
    try:
        prompt = json.loads(await _read_body(request))["prompt"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _RefusedError(400, 'send a JSON object such as {"prompt": "Hello"}') from error
    if not isinstance(prompt, str) or len(prompt) > LONGEST_PROMPT:
        raise _RefusedError(400, f"a prompt is a string of at most {LONGEST_PROMPT} characters")
    return prompt


async def _read_body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_BODY:
            raise _RefusedError(413, f"the body is larger than {_LARGEST_BODY} bytes")
    return body


def _fields(transcript: Transcript) -> dict[str, Any]:
    return {
        "text": transcript.text,
        "outcome": transcript.outcome,
        "chunks": transcript.chunks,
        "sent_chunks": transcript.sent_chunks,
        "time_to_first_chunk": transcript.time_to_first_chunk,
        "duration": transcript.duration,
    }
