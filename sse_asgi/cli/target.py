"""From `module:attribute` to an ASGI app."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, cast

from sse_asgi.app import EventStream
from sse_asgi.asgi import ASGIApp
from sse_asgi.chat import Chat, ChatApp
from sse_asgi.cli.function import fit, parameters_of
from sse_asgi.cli.options import CommandError
from sse_asgi.cli.prompted import PromptedStream
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.source.source import Source, is_iterable

GRACE = 1.0
"""Seconds that open streams get to end by themselves when the command is stopped."""


def load(target: str, settings: Mapping[str, Any]) -> ASGIApp:
    """Import what the user named, `module:attribute`, and make an ASGI app of it.

    The settings are options for the `EventStream` that is made. A `CommandError` says that there
    is no such thing, or that it cannot be served.
    """
    value = _find(target)
    if _is_asgi_app(value):
        if settings:
            raise CommandError(f"{target} is an ASGI app: it takes no --framing or --heartbeat")
        return value
    settings = {"shutdown": Shutdown(grace=GRACE), **settings}
    try:
        if is_iterable(value) or not callable(value):
            return EventStream(cast("Source", value), **settings)
        function = fit(value)
        if function.takes_prompt:
            return PromptedStream(function, settings)
        return EventStream(lambda request: function.call(request, None), **settings)
    except TypeError as error:
        raise CommandError(f"cannot serve {target}: {error}") from error


def load_chat(target: str, model: str | None, settings: Mapping[str, Any]) -> ASGIApp:
    """Import the generator function that the user named and make a `ChatApp` of it, as `load` does.

    A function whose one parameter is `prompt` gets the text of the user's last message; any other
    gets the `Chat`. A model of `None` means that any name will do.
    """
    value: Any = _find(target)
    if _is_asgi_app(value):
        raise CommandError(f"{target} is an ASGI app: serve it without --chat")

    def answer(chat: Chat) -> Any:  # noqa: ANN401 - whatever gives chunks
        return value(prompt=chat.text)

    if callable(value) and list(parameters_of(value) or ()) == ["prompt"]:
        generate: Any = answer
    else:
        generate = value
    settings = {"shutdown": Shutdown(grace=GRACE), **settings}
    try:
        models = None if model is None else (model,)
        return ChatApp(generate, models=models, **settings)
    except TypeError as error:
        raise CommandError(f"cannot serve {target}: {error}") from error


def _find(target: str) -> object:
    module_name, _, path = target.partition(":")
    if "/" in target or module_name.endswith(".py"):
        raise CommandError(_no_path(target, module_name, path))
    if not (module_name and path):
        raise CommandError(
            f"{target!r} names no attribute: write module:attribute, as in app:answer"
        )
    value: object = _import(module_name)
    for name in path.split("."):
        if not hasattr(value, name):
            near = difflib.get_close_matches(name, dir(value), n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise CommandError(f"{target!r} has no attribute {name!r}{hint}")
        value = getattr(value, name)
    return value


def _is_asgi_app(value: object) -> TypeGuard[ASGIApp]:
    asgi = ["scope", "receive", "send"]
    return callable(value) and list(parameters_of(value) or ())[:3] == asgi


def _no_path(target: str, module_name: str, path: str) -> str:
    """One line with what was meant, as far as the path tells."""
    file = Path(module_name.removesuffix(".py"))
    elsewhere = file.is_absolute() or ".." in file.parts
    where = f"in {file.parent}, " if elsewhere else ""
    module = (file.name if elsewhere else ".".join(file.parts)) or "app"
    attribute = "answer" if not path or "/" in path else path
    return f"{target!r} is a path: {where}write module:attribute, as in {module}:{attribute}"


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            message = f"no module {missing!r} in {here} or on the Python path"
        else:
            message = f"importing {name!r} failed at {_place_and_reason(error)}"
        raise CommandError(message) from error


def _place_and_reason(error: BaseException) -> str:
    """One line with the user's error and where it is."""
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if not frame.filename.startswith("<frozen ")][-1]
    place, reason = f"{last.filename}:{last.lineno}", str(error)
    if isinstance(error, SyntaxError):
        place, reason = f"{error.filename}:{error.lineno}", error.msg
    return f"{place}: {' '.join(f'{type(error).__name__}: {reason}'.split())}"
