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
from sse_asgi.cli.errors import CommandError
from sse_asgi.cli.function import fit, parameters_of
from sse_asgi.cli.prompted import PromptedStream
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.source.source import Source, is_iterable

GRACE = 1.0
"""Seconds that open streams get to end by themselves when the command is stopped."""

_ASGI = ["scope", "receive", "send"]


def load(target: str, settings: Mapping[str, Any]) -> ASGIApp:
    """Import what the user named and make an ASGI app of it.

    Args:
        target: `module:attribute`; both may have dots.
        settings: Options for the `EventStream` that is made.

    Raises:
        CommandError: If there is no such thing, or it cannot be served.
    """
    value = find(target)
    if is_asgi_app(value):
        if settings:
            raise CommandError(f"{target} is an ASGI app: it takes no --framing or --heartbeat")
        return value
    try:
        return _stream(value, {"shutdown": Shutdown(grace=GRACE), **settings})
    except TypeError as error:
        raise CommandError(f"cannot serve {target}: {error}") from error


def find(target: str) -> object:
    """Import what the user named.

    Raises:
        CommandError: If there is no such thing.
    """
    module_name, _, path = target.partition(":")
    if "/" in target or module_name.endswith(".py"):
        raise CommandError(_no_path(target, module_name, path))
    if not (module_name and path):
        raise CommandError(
            f"{target!r} names no attribute: write module:attribute, as in app:answer"
        )
    value: object = _import(module_name)
    for name in path.split("."):
        try:
            value = getattr(value, name)
        except AttributeError as error:
            raise CommandError(_no_attribute(target, value, name)) from error
    return value


def is_asgi_app(value: object) -> TypeGuard[ASGIApp]:
    """Tell whether something takes what an ASGI app takes."""
    return callable(value) and list(parameters_of(value) or ())[:3] == _ASGI


def _stream(value: object, settings: Mapping[str, Any]) -> ASGIApp:
    if is_iterable(value) or not callable(value):
        return EventStream(cast("Source", value), **settings)
    function = fit(value)
    if function.takes_prompt:
        return PromptedStream(function, settings)
    return EventStream(lambda request: function.call(request, None), **settings)


def _no_path(target: str, module_name: str, path: str) -> str:
    """One line with what was meant, as far as the path tells."""
    file = Path(module_name.removesuffix(".py"))
    elsewhere = file.is_absolute() or ".." in file.parts
    where = f"in {file.parent}, " if elsewhere else ""
    module = file.name if elsewhere else ".".join(file.parts)
    attribute = "answer" if not path or "/" in path else path
    return (
        f"{target!r} is a path: {where}write module:attribute, as in {module or 'app'}:{attribute}"
    )


def _no_attribute(target: str, value: object, name: str) -> str:
    near = difflib.get_close_matches(name, dir(value), n=1)
    return f"{target!r} has no attribute {name!r}" + (
        f": did you mean {near[0]!r}?" if near else ""
    )


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise CommandError(
                f"no module {error.name!r} in {here} or on the Python path"
            ) from error
        raise CommandError(_failed_import(name, error)) from error
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise CommandError(_failed_import(name, error)) from error


def _failed_import(name: str, error: BaseException) -> str:
    """One line with the user's error and where it is."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen ")
    ]
    place = f"{frames[-1].filename}:{frames[-1].lineno}"
    reason = str(error)
    if isinstance(error, SyntaxError):
        place, reason = f"{error.filename}:{error.lineno}", error.msg
    reason = " ".join(f"{type(error).__name__}: {reason}".split())
    return f"importing {name!r} failed at {place}: {reason}"
