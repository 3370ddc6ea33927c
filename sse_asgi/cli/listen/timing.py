"""When events came: what the status line and the summary say about it."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise

KEPT = 1_000_000
"""Arrival times that are kept, for percentiles and the plot; an endless stream has more."""


class Timing:
    """Note arrivals by a clock, in seconds since the start.

    Args:
        clock: Tells the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.response: float | None = None
        self.first_event: float | None = None
        self.events = 0
        self.connections = 0
        self.longest_gap = 0.0
        self.end: float | None = None
        self.arrivals: deque[float] = deque(maxlen=KEPT)

    def start(self) -> None:
        """Start the clock anew."""
        self._start = self._clock()

    @property
    def now(self) -> float:
        """The seconds since the start, up to the end."""
        return self._clock() - self._start if self.end is None else self.end

    def note_response(self) -> None:
        """Note that a response has come."""
        self.connections += 1
        if self.response is None:
            self.response = self.now

    def note_event(self) -> float:
        """Note that an event has come, and return when."""
        now = self.now
        if self.arrivals:
            self.longest_gap = max(self.longest_gap, now - self.arrivals[-1])
        else:
            self.first_event = now
        self.events += 1
        self.arrivals.append(now)
        return now

    def note_end(self) -> None:
        """Stop the clock."""
        self.end = self.now

    @property
    def silence(self) -> float:
        """The seconds since the last event, or since the start."""
        return self.now - (self.arrivals[-1] if self.arrivals else 0.0)

    @property
    def rate(self) -> float:
        """Events a second, from the first to the last."""
        if self.first_event is None or self.events < 2:
            return 0.0
        return (self.events - 1) / max(self.arrivals[-1] - self.first_event, 1e-9)

    def gaps(self) -> list[float]:
        """Return the seconds from each event to the next, in ascending order."""
        return sorted(later - earlier for earlier, later in pairwise(self.arrivals))


def percentile(ascending: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of the values do not exceed."""
    return ascending[max(math.ceil(len(ascending) * percent / 100) - 1, 0)]


def seconds(value: float | None) -> str:
    """Write a duration for a person."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def counted(number: int, noun: str) -> str:
    """Write how many there are of something."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def status_line(timing: Timing) -> str:
    """Return the line that a terminal shows while the stream goes on."""
    longest = max(timing.longest_gap, timing.silence if timing.events else 0.0)
    return " | ".join(
        [
            f"{timing.now:.1f} s",
            f"first byte {seconds(timing.response)}, event {seconds(timing.first_event)}",
            f"{counted(timing.events, 'event')}, {timing.rate:.1f}/s",
            f"longest gap {seconds(longest)}",
        ]
    )


def summary(timing: Timing) -> list[str]:
    """Return the lines that are printed at the end."""
    first_byte, first_event = seconds(timing.response), seconds(timing.first_event)
    starts = f"first byte after {first_byte}, first event after {first_event}"
    lines = [f"{starts}, end after {seconds(timing.now)}"]
    gaps = timing.gaps()
    if gaps:
        percentiles = ", ".join(
            f"p{each} {seconds(percentile(gaps, each))}" for each in (50, 90, 99)
        )
        lines.append(
            f"{timing.rate:.1f} events/s; gaps {percentiles}, longest {seconds(timing.longest_gap)}"
        )
    if timing.connections > 1:
        lines.append(f"{timing.connections} connections")
    return lines
