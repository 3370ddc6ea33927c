"""`sse-asgi serve`: a generator of the user's, served as it is."""

import argparse
import math
from collections.abc import Callable

from sse_asgi.asgi import ASGIApp
from sse_asgi.cli.chat import load_chat
from sse_asgi.cli.errors import CommandError
from sse_asgi.cli.extra import require
from sse_asgi.cli.options import Commands, add_address
from sse_asgi.cli.target import load
from sse_asgi.wire.framing import JSONFraming, TextFraming

_FRAMINGS = {"text": TextFraming, "json": JSONFraming}
_DESCRIPTION = """\
Serve a generator of strings as an event stream, at every path and for every method.

module:attribute names one of
  a generator function, async or sync, or any callable that returns an iterable.
      It gets what its parameters ask for: `prompt` the text of ?prompt=... or of a JSON body
      {"prompt": "..."}, `request` (or the only parameter, whatever its name) the request.
  an async iterable, which serves one request, or a list of strings.
  an ASGI app such as an EventStream, which is served as it is.
The current directory is importable.

With --chat a generator function is served to the clients of OpenAI, Anthropic, AI SDK and AG-UI:
it gets the `Chat`, or the user's last text if its one parameter is `prompt`.
"""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "serve",
        help="serve a generator of yours as an event stream",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target", metavar="module:attribute", help="what to serve, as in app:answer"
    )
    add_address(parser)
    parser.add_argument(
        "--framing", choices=_FRAMINGS, help="how text becomes events (default: text)"
    )
    parser.add_argument(
        "--heartbeat",
        type=_seconds,
        metavar="SECONDS",
        help="silence before a keep-alive comment (default: 15)",
    )
    parser.add_argument(
        "--chat", action="store_true", help="serve it to the clients of OpenAI and others"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="with --chat: the model's name (default: any name will do)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve the target until Ctrl-C."""
    require("uvicorn")
    # An extra: the command line must start without it.
    from sse_asgi.cli import server  # noqa: PLC0415

    settings: dict[str, object] = {}
    if options.framing:
        settings["framing"] = _FRAMINGS[options.framing]()
    if options.heartbeat:
        settings["heartbeat"] = options.heartbeat
    app, greet = _app_of(options, settings)
    return server.run(app, host=options.host, port=options.port, greet=greet)


def _app_of(
    options: argparse.Namespace, settings: dict[str, object]
) -> tuple[ASGIApp, Callable[[str], str]]:
    """Return the app, and what makes the line that says where it is."""
    if not options.chat:
        if options.model:
            raise CommandError("--model goes with --chat")
        return load(options.target, settings), (
            lambda url: f"Serving {options.target} at {url}. Ctrl-C ends it."
        )
    if options.framing:
        raise CommandError("--chat has framings of its own: leave --framing out")
    return load_chat(options.target, options.model, settings), (
        lambda url: (
            f"Serving {options.target} at {url} to the clients of OpenAI ({url}/v1), Anthropic "
            f"({url}), AI SDK ({url}/ai-sdk) and AG-UI ({url}/ag-ui). Ctrl-C ends it."
        )
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return seconds
