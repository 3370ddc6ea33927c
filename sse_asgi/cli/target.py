"""From `module:attribute` to what the user named."""

import difflib
import importlib
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType

from sse_asgi.cli.options import CommandError


def find(target: str) -> object:
    """Import what the user named, from the current directory or the Python path.

    Raises:
        CommandError: There is no such thing.
    """
    module, _, path = target.partition(":")
    if not (module and path) or "/" in target or module.endswith(".py"):
        raise CommandError(f"{target!r} is not written as module:attribute, such as app:answer")
    value: object = _import(module)
    for name in path.split("."):
        if not hasattr(value, name):
            near = difflib.get_close_matches(name, dir(value), n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise CommandError(f"{target!r} has no attribute {name!r}{hint}")
        value = getattr(value, name)
    return value


def names_of_parameters(function: object) -> list[str]:
    """Return the names of a function's parameters; none of what is no function."""
    try:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # the module imports what is not there
            raise CommandError(_failure(name, error)) from error
        where = f"in {here} or on the Python path"
        raise CommandError(f"no module {error.name!r} {where}") from error
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise CommandError(_failure(name, error)) from error


def _failure(name: str, error: BaseException) -> str:
    """Say in one line what the user's module raised, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = " ".join(f"{type(error).__name__}: {error}".split())  # a SyntaxError tells its place
    place = "" if isinstance(error, SyntaxError) else f" at {last.filename}:{last.lineno}"
    return f"importing {name!r} failed{place}: {reason}"
