"""Measuring for how long something has been missing."""

import time


class Absence:
    """A clock that runs while something is missing."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, *, missing: bool) -> float:
        """Note whether it is missing now, and return for how long it has been."""
        if not missing:
            self._since = None
            return 0.0
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since
