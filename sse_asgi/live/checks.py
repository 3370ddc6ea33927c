"""What users pass to `Live` and to its logs, checked where it is passed."""

import asyncio
import inspect
import re
from typing import Final

from sse_asgi.errors import shown
from sse_asgi.live.log import Log

_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~:@-]{0,199}")
_CALLS: Final = tuple(name for name in vars(Log) if not name.startswith("_"))
"""What a log has to have."""


def check_id(id: str) -> str:  # noqa: A002 - the option's name
    """Return an id that a user chose, if it fits into a path and a key.

    Raises:
        TypeError: It is no string.
        ValueError: It has other characters, or too many.
    """
    if not isinstance(id, str):
        raise TypeError(f"id must be a str or None, not {shown(id)} ({type(id).__qualname__})")
    if not is_id(id):
        raise ValueError(
            f"id {shown(id)}: use 1 to 200 letters, digits and the signs . _ ~ : @ - of which the "
            "first is a letter, a digit, _ or -"
        )
    return id


def is_id(key: str) -> bool:
    """Tell whether a generation may have this id."""
    return _ID.fullmatch(key) is not None


def check_log(log: object) -> None:
    """Check that this may be a `Log`; its types cannot be known before it is called.

    Raises:
        TypeError: It is a class, or lacks something.
    """
    if isinstance(log, type):
        raise TypeError(f"log must be a Log: pass {log.__qualname__}(), not the class")
    missing = [name for name in _CALLS if not hasattr(log, name)]
    if missing:  # not its repr: a URL may hold a password
        raise TypeError(
            f"log must be a Log, not of type {type(log).__qualname__}, which has no "
            f"{missing[0]!r}; pass MemoryLog() or a RedisLog, for instance"
        )


def check_authorize(authorize: object) -> None:
    """Check that this can be called with the scope, the id and its owner, or is None.

    Raises:
        TypeError: It cannot.
    """
    if authorize is None:
        return
    if not callable(authorize):
        raise _wrong_type("authorize", authorize, "a callable or None")
    try:
        signature = inspect.signature(authorize)
    except (TypeError, ValueError):  # a builtin that does not tell: the call will
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        raise TypeError(
            "authorize cannot be called with three arguments, the scope, the id and its owner: "
            f"{error}; give it a parameter for each"
        ) from None


def check_owner(owner: object) -> None:
    """Check that this is the name of an owner, or None.

    Raises:
        TypeError: It is neither.
    """
    if owner is not None and not isinstance(owner, str):
        raise _wrong_type("owner", owner, "a str or None; pass str(…) of a number")


def check_seconds(name: str, value: object, *, or_zero: bool = False) -> None:
    """Check that an option is a number of seconds, above 0 unless 0 is allowed.

    Raises:
        TypeError: It is no number.
        ValueError: It is too small, or nan.
    """
    expected = f"a number {'of 0 or more' if or_zero else 'above 0'}, in seconds"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong_type(name, value, expected)
    if not (value > 0 or (or_zero and value == 0)):  # also when it is not a number
        raise ValueError(f"{name} must be {expected}, not {shown(value)}")


def check_int(name: str, value: object, *, lowest: int, highest: int | None = None) -> None:
    """Check that an option is an int between bounds.

    Raises:
        TypeError: It is no int.
        ValueError: It is out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, value, "an int")
    if value < lowest or (highest is not None and value > highest):
        bounds = f"{lowest} or more" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} must be {bounds}, not {shown(value)}")


def check_loop() -> None:
    """Check that asyncio runs.

    Raises:
        RuntimeError: It does not.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "Live needs asyncio, and no asyncio event loop runs here; under trio, or without an "
            "event loop, it cannot start a generation: run the application with asyncio"
        ) from None


def _wrong_type(name: str, value: object, expected: str) -> TypeError:
    kind = type(value).__qualname__
    return TypeError(f"{name} must be {expected}, not {shown(value)} ({kind})")
