"""`sse-asgi serve`: a generator of the user's as a server."""

import argparse
from typing import Any

from sse_asgi.cli.options import CommandError, Commands, add_address, add_command, require, seconds
from sse_asgi.cli.target import load, load_chat
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
    about = "serve a generator of yours as an event stream"
    parser = add_command(commands, "serve", run, about, _DESCRIPTION)
    target = "what to serve, as in app:answer"
    parser.add_argument("target", metavar="module:attribute", help=target)
    add_address(parser)
    framing = "how text becomes events (default: text)"
    parser.add_argument("--framing", choices=_FRAMINGS, help=framing)
    heartbeat = "silence before a keep-alive comment (default: 15)"
    parser.add_argument("--heartbeat", type=seconds, metavar="SECONDS", help=heartbeat)
    chat = "serve it to the clients of OpenAI and others"
    parser.add_argument("--chat", action="store_true", help=chat)
    model = "with --chat: the model's name (default: any name will do)"
    parser.add_argument("--model", metavar="NAME", help=model)


def run(options: argparse.Namespace) -> int:
    """Serve the target until Ctrl-C."""
    require("uvicorn")
    if options.model and not options.chat:
        raise CommandError("--model goes with --chat")
    if options.framing and options.chat:
        raise CommandError("--chat has framings of its own: leave --framing out")
    # An extra: the command line must start without it.
    from sse_asgi.cli import server  # noqa: PLC0415

    settings: dict[str, Any] = {}
    if options.framing:
        settings["framing"] = _FRAMINGS[options.framing]()
    if options.heartbeat:
        settings["heartbeat"] = options.heartbeat
    target, chat = options.target, options.chat
    app = load_chat(target, options.model, settings) if chat else load(target, settings)

    def greet(url: str) -> str:
        clients = (
            f" to the clients of OpenAI ({url}/v1), Anthropic ({url}), AI SDK ({url}/ai-sdk) and "
            f"AG-UI ({url}/ag-ui)"
        )
        return f"Serving {target} at {url}{clients if chat else ''}. Ctrl-C ends it."

    return server.run(app, host=options.host, port=options.port, greet=greet)
