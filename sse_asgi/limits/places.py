"""Places: how many streams are open, in all and for each key. Exact in any thread."""

import math
import random
import threading
import time
from collections.abc import Hashable
from typing import Final

from sse_asgi.around import Refusal

MAX_WAIT: Final = 60
"""The most seconds that a refused client is told to wait."""

WEIGHT: Final = 0.1
"""What one more stream counts in the mean of their durations."""


class Places:
    """The places of one `Limits`.

    Args:
        total: Places in all; `None` for any number.
        each: Places for each key; `None` for any number.
    """

    def __init__(self, total: int | None, each: int | None) -> None:
        self.total = total
        self.each = each
        self._open = 0
        self._open_of: dict[Hashable, int] = {}
        self._mean = 1.0  # seconds that a stream has its place
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> "Place | Refusal":
        """Take a place, or say why there is none."""
        with self._lock:
            of_key = self._open_of.get(key, 0)
            if self.each is not None and key is not None and of_key >= self.each:
                return self.full_for_key()
            if self.total is not None and self._open >= self.total:
                return self.full()
            self._open += 1
            if key is not None:
                self._open_of[key] = of_key + 1
        return Place(self, key)

    def give_back(self, key: Hashable, seconds: float) -> None:
        """Take note that a place is free, after so many seconds."""
        with self._lock:
            self._mean += (seconds - self._mean) * WEIGHT
            self._open -= 1
            if key is None:
                return
            self._open_of[key] -= 1
            if not self._open_of[key]:  # else keys would stay for ever
                del self._open_of[key]

    def full(self) -> Refusal:
        """Say that all places are taken."""
        message = "The server has as many streams open as it allows. Try again later."
        return Refusal(message, self._wait(self.total))

    def full_for_key(self) -> Refusal:
        """Say that all places of a key are taken."""
        message = "You have as many streams open as you may have. Try again when one has ended."
        return Refusal(message, self._wait(self.each))

    def _wait(self, places: int | None) -> int:
        """Return when the next of so many places is likely to be free, spread over twice that.

        So those who are refused together do not come back together.
        """
        seconds = self._mean / (places or 1) * random.uniform(1, 2)  # noqa: S311 - no secret
        return min(math.ceil(max(seconds, 1)), MAX_WAIT)


class Place:
    """One place; it is given back once, however often it is released."""

    __slots__ = ("_key", "_places", "_since")

    def __init__(self, places: Places, key: Hashable) -> None:
        self._places: Places | None = places
        self._key = key
        self._since = time.monotonic()

    def release(self) -> None:
        """Give the place back."""
        places, self._places = self._places, None
        if places is not None:
            places.give_back(self._key, time.monotonic() - self._since)
