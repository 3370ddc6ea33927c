"""Evidence at the end, and in what follows it."""

from sse_asgi.cli.doctor.examine import Evidence, Examination
from sse_asgi.cli.doctor.exchange import Record, Stop
from sse_asgi.cli.doctor.frames import quoted
from sse_asgi.cli.framings import make_decoder
from sse_asgi.errors import SSEError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Decode, items_of
from sse_asgi.wire.json_text import read_object

_END_TYPES = {"close", "complete", "completed", "done", "end", "eof", "finish", "finished"}


def look(case: Examination) -> Evidence:
    """Return what was seen, by the finding's code; "" for nothing."""
    first, events, again = case.first, case.first.events, case.again
    errors = [event.data for event in events if event.type == "error"]
    after = f"after {first.ended_at:.2f} s and {len(events)} events"
    ended = first.stop is Stop.ENDED and bool(events)
    decode = make_decoder("auto", done=case.done)
    complete = ended and any(_is_end(event, decode) for event in events)
    silent = ended and not complete and not errors and not (again and again.status == 204)
    last_id = events[-1].id if events else ""
    anew = complete and again is not None and again.is_stream
    seen = f"{again.status} and {len(again.events)} events" if again else ""
    return {
        "cut": first.stop is Stop.BROKEN and f"{after}: {first.error}",
        "failed": errors and f"an event of type error came: {quoted(errors[0])}",
        "no-end-marker": silent and _silent_end(case),
        "endless-reconnects": anew
        and last_id
        and f"after the end, last-event-id: {last_id} was answered with {seen}",
        "last-event-id": _begun_anew(case),
        "no-ids": events and not any(event.id for event in events) and f"{len(events)} events",
        "close-at-end": anew and not last_id and f"a reconnection got {seen}",
    }


def _silent_end(case: Examination) -> str:
    evidence = f"the last event was {quoted(case.first.events[-1].data)}, then the stream ended"
    if case.again is not None and case.again.is_stream and case.again.records:
        evidence += "; a reconnection got events again, and so would every further one"
    return evidence


def _begun_anew(case: Examination) -> str:
    """A reconnection that got what the client had."""
    resumed, events = case.resumed, case.first.events
    if resumed is None or not resumed.is_stream or not resumed.events:
        return ""
    begun, got = next(event for event in events if event.id), resumed.events[0]
    # Ids may be made anew for each connection: then what they name tells.
    same = got.data == events[0].data and any(event.data != got.data for event in events)
    known = any(event.id == got.id for event in events)
    if not (got.id == begun.id if known else same):
        return ""
    answer = f"the event {quoted(got.data)} of id {got.id!r}, which the client had"
    return f"last-event-id: {begun.id} was answered with {answer}"


def _is_end(event: Record, decode: Decode) -> bool:
    try:
        ended = None in items_of(decode(MessageEvent(event.data, event.type, event.id)))
    except SSEError:  # that it failed is another finding
        return False
    value = read_object(event.data) or {}
    kinds = {event.type.lower(), str(value.get("type")).lower()}
    return ended or value.get("done") is True or bool(kinds & _END_TYPES)
