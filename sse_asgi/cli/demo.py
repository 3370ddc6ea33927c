"""`sse-asgi demo`: a page on which a stream can be watched from both ends, and disturbed."""

import argparse
import asyncio
import os
import sys
from functools import partial

from sse_asgi.cli.options import (
    CommandError,
    Commands,
    add_address,
    add_command,
    require,
    whole_number,
)
from sse_asgi.errors import LogUnavailableError

_DESCRIPTION = """\
Serve a page on which an answer appears as it is made, beside what the server kept of it.

The answers come from a small n-gram model, or from any OpenAI-compatible endpoint:
  OPENAI_BASE_URL   its URL, such as http://localhost:11434/v1
  OPENAI_API_KEY    its key, if it wants one
  OPENAI_MODEL      the model, if it has more than one

An answer goes on when its page is reloaded. With --redis it can be followed, and stopped, in any
of several processes, and the page can kill one of them.
"""
_MOST_WORKERS = 64
_PATIENCE = 1.0
"""Seconds in which a Redis is to answer at the start."""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    about = "serve a page that shows a stream from both ends"
    parser = add_command(commands, "demo", run, about, _DESCRIPTION)
    add_address(parser)
    redis = "keep answers there, as in redis://localhost"
    parser.add_argument("--redis", type=_redis_url, metavar="URL", help=redis)
    workers = "processes that serve; more than one need --redis (default: %(default)s)"
    parser.add_argument("--workers", type=_workers, default=1, metavar="N", help=workers)


def run(options: argparse.Namespace) -> int:
    """Serve the demo until Ctrl-C."""
    require("starlette", "uvicorn", "httpx")
    if options.redis is not None:
        require("redis", extra="demo,redis")
    elif options.workers > 1:
        raise CommandError("--workers needs --redis: the processes have nothing else in common")
    # An extra: the command line must start without it.
    from sse_asgi.cli import server  # noqa: PLC0415
    from sse_asgi.demo.app import create_app  # noqa: PLC0415
    from sse_asgi.demo.source import choose_source  # noqa: PLC0415

    try:
        source = choose_source(os.environ)
        app = create_app(source, redis=options.redis)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if options.redis is not None:
        _check_redis(options.redis)

    def greet(url: str) -> str:
        return f"The demo is at {url} ({source.name}). Ctrl-C ends it."

    address = {"host": options.host, "port": options.port}
    if options.workers == 1:
        return server.run(app, greet=greet, **address)
    make_app = partial(create_app, source, redis=options.redis, may_be_killed=True)
    return server.run_workers(make_app, options.workers, greet=greet, **address)


def _check_redis(url: str) -> None:
    """Say so if the Redis is out of reach. It may come later, so that ends nothing."""
    # An extra: the demo works without it.
    from sse_asgi.live.redis import RedisLog  # noqa: PLC0415

    async def look() -> None:
        log = RedisLog(url, prefix="sse-asgi-demo", timeout=_PATIENCE)
        try:
            await log.look("anything")
        finally:
            await log.aclose()

    try:
        asyncio.run(look())
    except LogUnavailableError as error:
        reason = str(error).rstrip(".")
        print(f"sse-asgi demo: {reason}; no answer begins without it", file=sys.stderr)


def _redis_url(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no URL of a Redis: begin with redis://, rediss:// or unix://"
        )
    return text


def _workers(text: str) -> int:
    if not (number := whole_number(text, _MOST_WORKERS)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of workers: give one from 1 to {_MOST_WORKERS}"
        )
    return number
