"""When events came: what the status line and the summary of `listen` say about it."""

import math
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise


class Timing:
    """Note arrivals, in seconds since the start by a clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.connections = self.events = 0
        self._response: float | None = None
        self._first: float | None = None
        self._end: float | None = None
        self._longest = 0.0
        self._arrivals: deque[float] = deque(maxlen=1_000_000)  # an endless stream has more
        self.start()

    def start(self) -> None:
        """Start the clock anew."""
        self._start = self._clock()

    def note_response(self) -> None:
        """Note that a response has come."""
        self.connections += 1
        self._response = self._now if self._response is None else self._response

    def note_event(self) -> float:
        """Note that an event has come, and return when."""
        now = self._now
        self._first = now if self._first is None else self._first
        self._longest = max(self._longest, self._silence)
        self.events += 1
        self._arrivals.append(now)
        return now

    def note_end(self) -> None:
        """Stop the clock."""
        self._end = self._now

    @property
    def status(self) -> str:
        """The line that a terminal shows while the stream goes on."""
        starts = f"first byte {duration(self._response)}, event {duration(self._first)}"
        events = f"{counted(self.events, 'event')}, {self._rate:.1f}/s"
        longest = duration(max(self._longest, self._silence))
        return f"{self._now:.1f} s | {starts} | {events} | longest gap {longest}"

    @property
    def summary(self) -> list[str]:
        """The lines that are printed at the end."""
        starts = f"first byte after {duration(self._response)}, first event after "
        lines = [f"{starts}{duration(self._first)}, end after {duration(self._now)}"]
        if gaps := sorted(later - earlier for earlier, later in pairwise(self._arrivals)):
            ranks = {each: math.ceil(len(gaps) * each / 100) - 1 for each in (50, 90, 99)}
            shares = "".join(f"p{each} {duration(gaps[at])}, " for each, at in ranks.items())
            longest = f"longest {duration(self._longest)}"
            lines.append(f"{self._rate:.1f} events/s; gaps {shares}{longest}")
        return lines + [f"{self.connections} connections"] * (self.connections > 1)

    @property
    def _now(self) -> float:
        return self._clock() - self._start if self._end is None else self._end

    @property
    def _silence(self) -> float:
        return self._now - self._arrivals[-1] if self._arrivals else 0.0

    @property
    def _rate(self) -> float:
        """Events a second, from the first to the last."""
        if self._first is None or self.events < 2:
            return 0.0
        return (self.events - 1) / max(self._arrivals[-1] - self._first, 1e-9)


def duration(value: float | None) -> str:
    """Write a duration for a person."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def counted(number: int, noun: str) -> str:
    """Write how many there are of something."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
