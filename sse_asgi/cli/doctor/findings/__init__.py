"""What can be wrong with a stream: one pure function for each finding."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from sse_asgi.cli.doctor.examine import is_local
from sse_asgi.cli.doctor.findings import answer, delivery, ending, frames
from sse_asgi.cli.doctor.findings.finding import Finding
from sse_asgi.cli.doctor.observation import Examination, Stop

Check: TypeAlias = Callable[[Examination], Finding | None]

ANSWER: Sequence[Check] = (
    answer.unreachable,
    answer.no_response,
    answer.status,
    answer.content_type,
    answer.charset,
    answer.redirects,
    answer.cors,
    answer.preflight,
    answer.connection_header,
    answer.no_transform,
    answer.accel_buffering,
    answer.six_connections,
)
"""Findings about any answer, or none."""

STREAM: Sequence[Check] = (
    delivery.compression,
    delivery.buffered,
    delivery.no_keep_alive,
    frames.bom,
    frames.line_ends,
    frames.newlines_lost,
    frames.malformed,
    frames.values,
    frames.framed_twice,
    frames.encoding,
    frames.no_events,
    frames.unfinished,
    ending.broke_off,
    ending.failed,
    ending.no_end_marker,
    ending.endless_reconnects,
    ending.ignores_last_event_id,
)
"""Findings about what is, or should be, an event stream."""


def diagnose(examination: Examination) -> list[Finding]:
    """Return what is wrong, the gravest first."""
    first = examination.first
    checks = [*ANSWER]
    if first.is_stream or (first.status == 200 and examination.events):
        checks += STREAM
    return [finding for check in checks if (finding := check(examination)) is not None]


def notes_on(examination: Examination) -> list[str]:
    """Return what is worth knowing and not wrong."""
    first, events = examination.first, examination.events
    if not first.is_stream:
        return []
    notes: list[str] = []
    if is_local(first.url) and first.http_version != "HTTP/2":
        notes.append(
            "HTTP/1.1: a browser opens six connections to a host, so a seventh stream hangs; "
            "serve HTTP/2 in production"
        )
    if events and not any(event.id for event in events):
        notes.append("the events have no ids: a client that loses its connection cannot resume")
    if first.stop is Stop.ENDED and ending.has_end(examination):
        again = examination.again
        if again is not None and again.status == 200 and not events[-1].id:
            notes.append(
                "a page must call close() at the end marker: a reconnection gets the stream anew"
            )
    return notes
