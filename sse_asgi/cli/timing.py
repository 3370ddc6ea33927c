"""When events came, and what the summary of `listen` says about it."""

import math
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise


class Timing:
    """Note arrivals, in seconds since the start by a clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.connections: int = 0
        self.events: int = 0
        self._response: float | None = None
        self._first: float | None = None
        self._arrivals: deque[float] = deque(maxlen=1_000_000)  # an endless stream has more

    def note_response(self) -> None:
        """Note that a response has come."""
        self.connections += 1
        self._response = self._now if self._response is None else self._response

    def note_event(self) -> float:
        """Note that an event has come, and return when."""
        now = self._now
        self._first = now if self._first is None else self._first
        self.events += 1
        self._arrivals.append(now)
        return now

    @property
    def summary(self) -> list[str]:
        """The lines that are printed at the end."""
        starts = f"first byte after {duration(self._response)}, first event after "
        lines = [f"{starts}{duration(self._first)}, end after {duration(self._now)}"]
        if gaps := sorted(later - earlier for earlier, later in pairwise(self._arrivals)):
            rate = len(gaps) / max(sum(gaps), 1e-9)
            ranks = {each: math.ceil(len(gaps) * each / 100) - 1 for each in (50, 90, 99)}
            shares = "".join(f"p{each} {duration(gaps[at])}, " for each, at in ranks.items())
            lines.append(f"{rate:.1f} events/s; gaps {shares}longest {duration(gaps[-1])}")
        return lines + [f"{self.connections} connections"] * (self.connections > 1)

    @property
    def _now(self) -> float:
        return self._clock() - self._start


def duration(value: float | None) -> str:
    """Write a duration for a person."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def counted(number: int, noun: str) -> str:
    """Write how many there are of something."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
