"""Checks of what users pass."""

import math
from collections.abc import Iterable
from typing import TypeVar, cast

from sse_asgi.errors import shown

T = TypeVar("T")


def check_reconnection_time(value: object) -> int:
    """Return a reconnection time that is a number of milliseconds.

    Raises:
        TypeError: It is no int.
        ValueError: It is negative.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"reconnection_time must be an int, not {shown(value)}: give whole milliseconds"
        )
    if value < 0:
        raise ValueError(f"reconnection_time must not be negative, as {shown(value)} is")
    return value


def check_bool(name: str, value: object) -> bool:
    """Return what is True or False.

    Raises:
        TypeError: It is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(
            f"{name} must be True or False, not {shown(value)} ({type(value).__name__})"
        )
    return value


def check_hook(name: str, hook: T) -> T:
    """Return a hook that can be called, or None.

    Raises:
        TypeError: It is something else.
    """
    if hook is not None and not callable(hook):
        raise TypeError(
            f"{name} must be a callable or None, not {shown(hook)} ({type(hook).__name__})"
        )
    return hook


def check_statuses(value: object) -> frozenset[int]:
    """Return statuses that are a collection of int.

    Raises:
        TypeError: They are none.
    """
    statuses = _listed(value)
    if statuses is None or not all(_is_int(status) for status in statuses):
        raise TypeError(
            "temporary_statuses must be a collection of int, such as (502, 503), not "
            f"{shown(value)} ({type(value).__name__})"
        )
    return frozenset(cast("list[int]", statuses))


def _listed(value: object) -> list[object] | None:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return None
    return list(cast("Iterable[object]", value))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_seconds(name: str, value: object) -> float | None:
    """Return a number of seconds that can be waited for, or None.

    Raises:
        TypeError: It is no number.
        ValueError: It is not positive.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds or None, not {shown(value)}")
    if not value > 0:
        raise ValueError(f"{name} must be more than 0 s, not {shown(value)}; None for no limit")
    return None if math.isinf(value) else float(value)
