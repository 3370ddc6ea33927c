"""Evidence in when things arrived."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from sse_asgi.cli.doctor.examine import Evidence, Examination
from sse_asgi.cli.doctor.exchange import Exchange, Record, Stop

# Seconds.
_BURST = 0.1  # what arrives within it arrived together
_LATE = 0.5  # a first byte after it may be one that was held back
_PAUSE = 0.3  # a pause inside an event, where no server stops by itself
_CLOCKS_DIFFER = 5.0
_ISO = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?(?![\d:])")
_EPOCH = re.compile(r"(?<![\d.])([12]\d{9}(?:\.\d+)?|[12]\d{12})(?![\d.]*\d)")


def look(case: Examination) -> Evidence:
    """Return what was seen, by the finding's code; "" for nothing."""
    first = case.first
    compression = _compression(first, case.plain)
    signs = (_all_at_the_end, _times_in_a_burst, _keep_alives_in_a_burst, _pauses_inside_events)
    buffered = "; ".join(filter(None, (sign(first) for sign in signs)))
    last = first.byte_times[-1] if first.byte_times else first.response_at or 0.0
    after = f"after {last:.2f} s" if first.byte_times else "after the header fields"
    silence = f"{after} there was no byte for {first.ended_at - last:.2f} s"
    cut = "proxies cut silent connections after 30 to 60 s (nginx: 60 s)"
    return {
        "compression": compression,
        "buffered": not compression and buffered,
        "no-keep-alive": first.stop is Stop.SILENT and f"{silence}; {cut}",
    }


def came_in_time(seen: Exchange) -> bool:
    """Tell whether events came one after the other, so that nothing held them back."""
    return len(_bursts(seen.events)) > 2


def _compression(first: Exchange, plain: Exchange | None) -> str:
    """Tell of a content coding that waits for more before it gives."""
    prompt = _first_event_at(plain) if plain else None
    held = _first_event_at(first)
    if prompt is None or (held is not None and held - prompt <= max(_PAUSE, prompt)):
        return ""
    came = f"after {held:.2f} s" if held is not None else "never"
    coding = f"content-encoding: {first.headers.get('content-encoding')}"
    return f"with {coding} the first event came {came}, without after {prompt:.2f} s"


def _first_event_at(seen: Exchange) -> float | None:
    return next((event.at for event in seen.events), None)


def _all_at_the_end(first: Exchange) -> str:
    late = first.byte_times[0] if first.byte_times else 0.0
    if late < _LATE or first.stop is not Stop.ENDED or len(first.events) < 3:
        return ""
    if first.ended_at - late > _BURST:
        return ""
    burst = f"all {len(first.events)} events came in one burst with the end of the stream"
    return f"{burst}, and nothing in the {late:.2f} s before"


def _times_in_a_burst(first: Exchange) -> str:
    for burst in _bursts(first.events):
        times = [time for event in burst if (time := _time_in(event, first.began)) is not None]
        apart = max(times) - min(times) if times else 0.0
        if apart >= _LATE:
            events = f"{len(times)} events whose times are {apart:.2f} s apart"
            return f"{events} came together, after {burst[0].at:.2f} s"
    return ""


def _keep_alives_in_a_burst(first: Exchange) -> str:
    comments = [record for record in first.records if record.comment and record.at >= _LATE]
    for burst in _bursts(comments):
        if len(burst) > 1 and len({record.data for record in burst}) == 1:
            return f"{len(burst)} keep-alives came together, after {burst[0].at:.2f} s"
    return ""


def _pauses_inside_events(first: Exchange) -> str:
    pauses: list[float] = []
    rest = b""
    for (at, data), (following, _) in pairwise(first.arrivals):
        rest = (rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").rpartition(b"\n\n")[2]
        line = rest.rpartition(b"\n")[2]
        if line and not line.startswith(b":") and following - at >= _PAUSE:
            pauses.append(following - at)
    if len(pauses) < 2:
        return ""
    times = (
        f"{len(pauses)} times the stream paused inside an event, for {max(pauses):.2f} s at most"
    )
    return f"{times}: something passes blocks of bytes on, not events"


def _bursts(records: Sequence[Record]) -> list[list[Record]]:
    """Group what came together."""
    groups: list[list[Record]] = []
    for record in records:
        if groups and record.at - groups[-1][0].at <= _BURST:
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _time_in(event: Record, began: float) -> float | None:
    """Return the time that an event carries, as ISO or seconds or milliseconds since 1970.

    Of several the last counts: the earlier ones are rather of what the event is about. Older events
    may be replayed in a burst, and rightly so.
    """
    text = f"{event.id}\n{event.data}"
    times = [_from_iso(match) for match in _ISO.findall(text)]
    times = times or [float(match) for match in _EPOCH.findall(text)]
    time = times[-1] if times else 0.0
    time = time / 1000 if time > 1e11 else time
    recent = began - _CLOCKS_DIFFER <= time <= began + event.at + _CLOCKS_DIFFER
    return time if recent else None


def _from_iso(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
