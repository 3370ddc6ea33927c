"""uvicorn for the commands that serve."""

import argparse
import sys
from typing import Any, cast

import uvicorn

from sse_asgi.asgi import ASGIApp

_LONGEST_END = 6
"""Seconds after which what is still open is cancelled, a little more than `Shutdown` gives a stream
by default."""
_LONGEST_START = 60
"""Seconds until a worker answers its supervisor, which would else replace it."""


def run_server(app: ASGIApp | str, options: argparse.Namespace, *, workers: int = 1) -> int:
    """Serve an app until the command is stopped, and return the exit status.

    Several workers each make it by the function that the str names, `module:attribute`.
    """
    try:
        uvicorn.run(
            cast("Any", app),  # uvicorn has types of its own for what an app is
            factory=isinstance(app, str),
            workers=workers,
            host=options.host,
            port=options.port,
            access_log=False,
            timeout_graceful_shutdown=_LONGEST_END,
            timeout_worker_healthcheck=_LONGEST_START,
        )
    except SystemExit:  # it could not start, and has said why
        print("sse-asgi: if the port is in use, --port 0 takes a free one", file=sys.stderr)
        return 1
    return 0
