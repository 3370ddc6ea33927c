"""How long a client waits before it connects again."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = (2**31 - 1) / 1000
"""Seconds, some 25 days: the longest wait, as in browsers; a server may ask for centuries."""

LONGEST_BACK_OFF = 30.0
"""Seconds: waits do not grow beyond it by failures alone."""

_SHORTEST_BACK_OFF = 0.1  # what grows where the reconnection time is shorter, or 0


class Reconnection:
    """Know when the next connection is due.

    The first wait after a connection that worked is the reconnection time, exactly. With each
    further failure in a row it doubles, up to 30 s, less a random part of up to a half, so that
    clients of one server do not come back together; it never falls below the reconnection time.

    Args:
        time: The reconnection time, in milliseconds.
        chance: Gives a random number from 0 to 1.
    """

    def __init__(
        self,
        time: int,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.time = time
        self._chance = chance
        self._ends = 0  # of connections, since one that gave a byte

    def reset(self) -> None:
        """Note that a connection works."""
        self._ends = 0

    def delay(self, *, at_least: float = 0.0) -> float:
        """Note that a connection has ended, and return the seconds to wait, `at_least` that many.

        The standard (9.2.3) lets a client wait longer than the reconnection time, not shorter.
        """
        self._ends += 1
        time = self.time / 1000
        return min(max(time, self._back_off(time), at_least), LONGEST_WAIT)

    def _back_off(self, time: float) -> float:
        if self._ends < 2:
            return 0.0
        # Beyond 2**20 the cap has long been reached, and floats need not overflow.
        grown = max(time, _SHORTEST_BACK_OFF) * 2.0 ** min(self._ends - 1, 20)
        return min(grown, LONGEST_BACK_OFF) * (1 - self._chance() / 2)


def retry_after(value: str, *, now: datetime | None = None) -> float:
    """Return the seconds that a `Retry-After` field asks for (RFC 9110, 10.2.3), 0 if unreadable.

    Args:
        value: The field's value: a number of seconds, or a date.
        now: The time to count from; the present if it is left out.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        date: datetime = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for an offset of more than all of time
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    seconds: float = (date - (now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0)
