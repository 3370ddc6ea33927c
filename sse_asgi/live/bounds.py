"""Bounds: how much generations may store while they run."""

from collections.abc import Sequence

from sse_asgi.errors import GenerationTooLargeError
from sse_asgi.live.checks import check_int


class Bounds:
    """How much the generations of a process may store.

    Args:
        max_events: Events of one generation.
        max_bytes: Bytes of one generation's events.
        max_total_bytes: Bytes of the events of all generations that run here.

    Raises:
        TypeError: One of them is no int.
        ValueError: One of them is less than 1.
    """

    def __init__(self, *, max_events: int, max_bytes: int, max_total_bytes: int) -> None:
        check_int("max_events", max_events, lowest=1)
        check_int("max_bytes", max_bytes, lowest=1)
        check_int("max_total_bytes", max_total_bytes, lowest=1)
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._total = 0

    def admit(
        self, events: Sequence[bytes], count: int, size: int
    ) -> tuple[Sequence[bytes], int, GenerationTooLargeError | None]:
        """Count events in, as far as they may be stored.

        Args:
            events: What a generation would add.
            count: The events that it has.
            size: Their bytes.

        Returns:
            The events that fit, their bytes, and the error if those are not all.
        """
        added = len(events[0]) if len(events) == 1 else sum(map(len, events))
        error = None
        if (
            size + added > self._max_bytes
            or count + len(events) > self._max_events
            or self._total + added > self._max_total_bytes
        ):
            error = self._error(size + added, count + len(events))
            free = min(self._max_bytes - size, self._max_total_bytes - self._total)
            events = events[: max(0, self._max_events - count)]
            while (added := sum(map(len, events))) > free:
                events = events[:-1]
        self._total += added
        return events, added, error

    def release(self, size: int) -> None:
        """Count bytes out again: their generation has ended."""
        self._total -= size

    def _error(self, size: int, count: int) -> GenerationTooLargeError:
        if size > self._max_bytes or count > self._max_events:
            return GenerationTooLargeError(
                f"the generation outgrew {self._max_events} events or {self._max_bytes} bytes; "
                "raise max_events or max_bytes of Live if that is expected"
            )
        return GenerationTooLargeError(
            f"the generations that run in this process outgrew {self._max_total_bytes} bytes "
            "together; raise max_total_bytes of Live if the process has the memory"
        )
