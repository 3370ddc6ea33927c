"""Findings about the end, and about what follows it."""

import json
from typing import Any, cast

from sse_asgi.cli.doctor.findings.finding import Finding, quoted, seconds
from sse_asgi.cli.doctor.observation import Examination, Record, Stop
from sse_asgi.cli.listen.framings import make_decoder
from sse_asgi.errors import SSEError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Decode, items_of

_END_TYPES = {"close", "complete", "completed", "done", "end", "eof", "finish", "finished"}


def broke_off(examination: Examination) -> Finding | None:
    """The connection was lost."""
    first = examination.first
    if first.stop is not Stop.BROKEN:
        return None
    return Finding(
        "cut",
        "The connection broke off",
        f"after {seconds(first.ended_at)} and {len(examination.events)} events: {first.error}",
        "see the server's log for a crash; if there is none, a proxy's time limit cut it",
    )


def failed(examination: Examination) -> Finding | None:
    """The server told of a failure."""
    errors = [event for event in examination.events if event.type == "error"]
    if not errors:
        return None
    return Finding(
        "failed",
        "The stream failed on the server",
        f"an event of type error came: {quoted(errors[0].data)}",
        "see the server's log",
    )


def no_end_marker(examination: Examination) -> Finding | None:
    """A stream that ends without saying so."""
    first, again = examination.first, examination.again
    if first.stop is not Stop.ENDED or not examination.events or has_end(examination):
        return None
    if failed(examination) or (again is not None and again.status == 204):
        return None
    evidence = f"the last event was {quoted(examination.events[-1].data)}, then the stream ended"
    if again is not None and again.is_stream and examination.again_records:
        evidence += "; a reconnection got events again, and so would every further one"
    return Finding(
        "no-end-marker",
        "The stream ends without an end marker, so browsers reconnect for ever",
        evidence,
        f"send a last event such as data: {examination.done} (doctor --done names another) and "
        "have the page call close() at it; or answer the reconnection with 204",
    )


def endless_reconnects(examination: Examination) -> Finding | None:
    """A client that has everything comes back, and gets it again."""
    again = examination.again
    ended = examination.first.stop is Stop.ENDED and has_end(examination)
    last_id = examination.events[-1].id if examination.events else ""
    if not ended or not last_id or again is None or not again.is_stream:
        return None
    return Finding(
        "endless-reconnects",
        "A client that has everything gets a stream again",
        f"after the end, last-event-id: {last_id} was answered with {again.status} and "
        f"{sum(not record.comment for record in examination.again_records)} events",
        "answer 204 to the id of the last event: it stops the client for good",
    )


def ignores_last_event_id(examination: Examination) -> Finding | None:
    """A reconnection begins anew."""
    resumed = examination.resumed
    events = [record for record in examination.resumed_records if not record.comment]
    if resumed is None or not resumed.is_stream or not events:
        return None
    if not _begins_anew(examination.events, events[0]):
        return None
    begun = next(event for event in examination.events if event.id)
    return Finding(
        "last-event-id",
        "The server ignores Last-Event-ID",
        f"last-event-id: {begun.id} was answered with the event {quoted(events[0].data)} of id "
        f"{events[0].id!r}, which the client had",
        "begin after that event, or send no ids: clients that reconnect get everything twice",
    )


def has_end(examination: Examination) -> bool:
    """Tell whether an event says that the stream is complete."""
    decode = make_decoder("auto", done=examination.done)
    return any(_is_end(event, decode) for event in examination.events)


def _is_end(event: Record, decode: Decode) -> bool:
    try:
        ended = None in items_of(decode(MessageEvent(event.data, event.type, event.id)))
    except SSEError:  # that it failed is another finding
        return False
    return ended or event.type.lower() in _END_TYPES or _says_done(event.data)


def _says_done(data: str) -> bool:
    if not data.startswith("{"):
        return False
    try:
        value = cast("dict[str, Any]", json.loads(data))
    except (ValueError, RecursionError):
        return False
    return value.get("done") is True or str(value.get("type")).lower() in _END_TYPES


def _begins_anew(events: list[Record], resumed: Record) -> bool:
    begun = next(event for event in events if event.id)
    if resumed.id == begun.id:
        return True
    if any(event.id == resumed.id for event in events):
        return False
    # Ids that are made anew for each connection: then what they name tells.
    first = events[0].data
    return resumed.data == first and any(event.data != first for event in events)
