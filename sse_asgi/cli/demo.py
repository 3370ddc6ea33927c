"""`sse-asgi demo`: a page on which a stream can be watched from both ends, and disturbed."""

import argparse
import os
from multiprocessing import parent_process

from sse_asgi.asgi import ASGIApp
from sse_asgi.cli.options import CommandError
from sse_asgi.cli.server import run_server
from sse_asgi.demo.app import create_app
from sse_asgi.demo.source import choose_source

_REDIS = "SSE_ASGI_DEMO_REDIS"
"""The variable that tells the workers of the Redis."""


def run(options: argparse.Namespace) -> int:
    """Serve the demo until Ctrl-C."""
    if options.workers > 1 and not options.redis:
        raise CommandError("--workers needs --redis: the processes have nothing else in common")
    os.environ[_REDIS] = options.redis or ""
    try:
        app = make_app()
    except ValueError as error:
        raise CommandError(str(error)) from error
    served = app if options.workers == 1 else "sse_asgi.cli.demo:make_app"
    return run_server(served, options, workers=options.workers)


def make_app() -> ASGIApp:
    """Make the app in a process that serves it: the command's own, or one of several workers."""
    is_worker = parent_process() is not None  # of a supervisor, which replaces one that is killed
    source = choose_source(os.environ)
    return create_app(source, redis=os.environ.get(_REDIS) or None, may_be_killed=is_worker)
