"""`sse-asgi demo`: a page on which a stream can be watched from both ends."""

import argparse
import os

from sse_asgi.cli.errors import CommandError
from sse_asgi.cli.extra import require
from sse_asgi.cli.options import Commands, add_address

_DESCRIPTION = """\
Serve a page on which an answer appears as it is made, beside what the server kept of it.

The answers come from a small n-gram model, or from any OpenAI-compatible endpoint:
  OPENAI_BASE_URL   its URL, such as http://localhost:11434/v1
  OPENAI_API_KEY    its key, if it wants one
  OPENAI_MODEL      the model, if it has more than one
"""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "demo",
        help="open a page that shows a stream from both ends",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_address(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve the demo until Ctrl-C."""
    require("starlette", "uvicorn", "httpx")
    # An extra: the command line must start without it.
    from sse_asgi.cli import server  # noqa: PLC0415
    from sse_asgi.demo.app import create_app  # noqa: PLC0415
    from sse_asgi.demo.source import choose_source  # noqa: PLC0415

    try:
        source = choose_source(os.environ)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return server.run(
        create_app(source),
        host=options.host,
        port=options.port,
        greet=lambda url: f"The demo is at {url} ({source.name}). Ctrl-C ends it.",
    )
