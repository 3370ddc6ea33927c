"""`sse-asgi serve`: a generator of the user's as a server."""

import argparse
from collections.abc import Callable
from typing import Any

from sse_asgi.asgi import ASGIApp
from sse_asgi.chat import Chat, ChatApp
from sse_asgi.cli.options import CommandError
from sse_asgi.cli.prompted import PromptedStream
from sse_asgi.cli.server import run_server
from sse_asgi.cli.target import find, names_of_parameters
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.wire.framing import JSONFraming, TextFraming

_FRAMINGS = {"text": TextFraming, "json": JSONFraming}
_GRACE = 1.0
"""Seconds that open streams get to end by themselves when the command is stopped."""


def run(options: argparse.Namespace) -> int:
    """Serve the target until Ctrl-C."""
    if options.model and not options.chat:
        raise CommandError("--model goes with --chat")
    if options.framing and options.chat:
        raise CommandError("--chat has framings of its own: leave --framing out")
    target = find(options.target)
    try:
        app = _make_app(target, options)
    except TypeError as error:
        raise CommandError(f"cannot serve {options.target}: {error}") from error
    return run_server(app, options)


def _make_app(target: Any, options: argparse.Namespace) -> ASGIApp:  # noqa: ANN401 - the user's
    names = names_of_parameters(target)
    if names[:3] == ["scope", "receive", "send"]:
        if options.framing or options.heartbeat or options.chat:
            raise TypeError("an ASGI app takes no --framing, --heartbeat or --chat")
        app: ASGIApp = target
        return app
    settings: dict[str, Any] = {"shutdown": Shutdown(grace=_GRACE)}
    if options.heartbeat:
        settings["heartbeat"] = options.heartbeat
    if options.framing:
        settings["framing"] = _FRAMINGS[options.framing]()
    if not options.chat:
        return PromptedStream(target, settings)
    models = (options.model,) if options.model else None
    generate = _by_text(target) if names == ["prompt"] else target
    return ChatApp(generate, models=models, **settings)


def _by_text(function: Callable[..., Any]) -> Callable[[Chat], Any]:
    return lambda chat: function(prompt=chat.text)
