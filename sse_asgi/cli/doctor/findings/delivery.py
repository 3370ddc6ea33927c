"""Findings about when things arrive."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise

from sse_asgi.cli.doctor.findings.finding import Finding, seconds
from sse_asgi.cli.doctor.findings.times import carried_time
from sse_asgi.cli.doctor.observation import Examination, Exchange, Record, Stop
from sse_asgi.cli.doctor.reading import read_records

BURST = 0.1
"""Seconds: what arrives within it arrived together."""

LATE = 0.5
"""Seconds: a first byte after it may be one that was held back."""

PAUSE = 0.3
"""Seconds: a pause inside an event, where no server stops by itself."""

CLOCKS_DIFFER = 5.0

_REMEDY = (
    "turn buffering off in every hop: the response header x-accel-buffering: no or "
    "proxy_buffering off for nginx; no middleware of the app may collect the body. "
    "Ask each hop with doctor, from the app outwards: the first that has this finding holds back"
)


def compression(examination: Examination) -> Finding | None:
    """A content coding that waits for more before it gives."""
    first, plain = examination.first, examination.plain
    if plain is None or not _is_held_by_coding(first, plain):
        return None
    held = _first_event_at(examination.records)
    came = f"after {seconds(held)}" if held is not None else "never"
    prompt = _first_event_at(read_records(plain.arrivals))
    return Finding(
        "compression",
        "Compression holds events back",
        f"with content-encoding: {first.get('content-encoding')} the first event came {came}, "
        f"without after {seconds(prompt or 0.0)}",
        "do not compress event streams, or flush the compressor after each event; "
        "cache-control: no-transform tells proxies to leave it",
    )


def buffered(examination: Examination) -> Finding | None:
    """Something collects events on the way."""
    if compression(examination) is not None:
        return None
    evidence = [text for look in _SIGNS if (text := look(examination))]
    if not evidence:
        return None
    return Finding("buffered", "Events are held back on the way", "; ".join(evidence), _REMEDY)


def no_keep_alive(examination: Examination) -> Finding | None:
    """Silence that is too long for proxies."""
    first = examination.first
    if first.stop is not Stop.SILENT:
        return None
    last = first.coded_arrivals[-1][0] if first.coded_arrivals else first.response_at or 0.0
    after = f"after {seconds(last)}" if first.coded_arrivals else "after the header fields"
    cut = "proxies cut silent connections after 30 to 60 s (nginx: 60 s)"
    return Finding(
        "no-keep-alive",
        f"Nothing comes for {seconds(examination.wait)}, not even a keep-alive",
        f"{after} there was no byte for {seconds(first.ended_at - last)}; {cut}",
        "send a comment (a line that begins with a colon) after 15 s of silence; sse_asgi does. If "
        "the app sends some, a proxy holds them back",
    )


def _is_held_by_coding(first: Exchange, plain: Exchange) -> bool:
    prompt = _first_event_at(read_records(plain.arrivals))
    held = _first_event_at(read_records(first.arrivals))
    if prompt is None:
        return False
    return held is None or held - prompt > max(PAUSE, prompt)


def _first_event_at(records: Iterable[Record]) -> float | None:
    return next((record.at for record in records if not record.comment), None)


def _all_at_the_end(examination: Examination) -> str:
    first, events = examination.first, examination.events
    late = first.first_byte_at
    if late is None or late < LATE or first.stop is not Stop.ENDED or len(events) < 3:
        return ""
    if first.ended_at - late > BURST:
        return ""
    return (
        f"all {len(events)} events came in one burst with the end of the stream, "
        f"and nothing in the {seconds(late)} before"
    )


def _times_in_a_burst(examination: Examination) -> str:
    began = examination.first.began
    for burst in _bursts(examination.events):
        times = [
            time
            for event in burst
            if (time := carried_time(event)) is not None
            # Older events may be replayed in a burst, and rightly so.
            and began - CLOCKS_DIFFER <= time <= began + event.at + CLOCKS_DIFFER
        ]
        if len(times) > 1 and max(times) - min(times) >= LATE:
            return (
                f"{len(times)} events whose times are {seconds(max(times) - min(times))} apart "
                f"came together, after {seconds(burst[0].at)}"
            )
    return ""


def _keep_alives_in_a_burst(examination: Examination) -> str:
    comments = [record for record in examination.records if record.comment and record.at >= LATE]
    for burst in _bursts(comments):
        texts = [record.data for record in burst]
        if len(texts) > 1 and len(set(texts)) == 1:
            return f"{len(texts)} keep-alives came together, after {seconds(burst[0].at)}"
    return ""


def _pauses_inside_events(examination: Examination) -> str:
    arrivals = examination.first.arrivals
    pauses: list[float] = []
    unfinished = b""
    for arrival, following in pairwise(arrivals):
        unfinished = _unfinished(unfinished + arrival.data)
        if unfinished and following.at - arrival.at >= PAUSE:
            pauses.append(following.at - arrival.at)
    if len(pauses) < 2:
        return ""
    return (
        f"{len(pauses)} times the stream paused inside an event, for {seconds(max(pauses))} at "
        "most: something passes blocks of bytes on, not events"
    )


def _unfinished(data: bytes) -> bytes:
    """Return what follows the last blank line, if it is of an event."""
    rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    rest = rest[rest.rfind(b"\n\n") + 2 :] if b"\n\n" in rest else rest
    *_, line = rest.rpartition(b"\n")
    return rest if line and not line.startswith(b":") else b""


def _bursts(records: Sequence[Record]) -> list[list[Record]]:
    """Group what came together."""
    starts: list[float] = []
    for record in records:
        starts.append(starts[-1] if starts and record.at - starts[-1] <= BURST else record.at)
    pairs = zip(starts, records, strict=True)
    return [
        [record for _, record in group] for _, group in groupby(pairs, key=lambda each: each[0])
    ]


_SIGNS: tuple[Callable[[Examination], str], ...] = (
    _all_at_the_end,
    _times_in_a_burst,
    _keep_alives_in_a_burst,
    _pauses_inside_events,
)
