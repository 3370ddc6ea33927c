"""Times that events carry."""

import re
from datetime import UTC, datetime

from sse_asgi.cli.doctor.observation import Record

_ISO = re.compile(
    r"\b(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?)\d*(Z|[+-]\d\d:?\d\d)?(?![\d:])"
)
_EPOCH = re.compile(r"(?<![\d.])([12]\d{9}(?:\.\d+)?|[12]\d{12})(?![\d.]*\d)")


def carried_time(event: Record) -> float | None:
    """Return the time that an event's data or id carries, in seconds since 1970.

    An ISO date and time counts, as do seconds and milliseconds since 1970. Of several the last
    counts: the earlier ones are rather of what the event is about.
    """
    text = f"{event.id}\n{event.data}"
    found = [_from_iso(*match.groups()) for match in _ISO.finditer(text)]
    found = found or [_from_epoch(match[1]) for match in _EPOCH.finditer(text)]
    times = [time for time in found if time is not None]
    return times[-1] if times else None


def _from_iso(text: str, zone: str | None) -> float | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if zone and zone != "Z":
        time = datetime.fromisoformat(f"{text}{zone}")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _from_epoch(text: str) -> float:
    value = float(text)
    return value / 1000 if value > 1e11 else value
