"""Checks of what users pass."""

import math

from sse_asgi.errors import shown


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
