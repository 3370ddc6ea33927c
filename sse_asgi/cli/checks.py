"""The doctor's checks: each yields what it has seen, for the finding of the same name."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

from sse_asgi.cli.exchange import Case, Exchange, Stop
from sse_asgi.cli.framings import make_decoder
from sse_asgi.errors import SSEError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Decode, items_of
from sse_asgi.wire.json_text import read_object

Evidence: TypeAlias = Iterator[str]

# Seconds.
_BURST = 0.1  # what arrives within it arrived together
_LATE = 0.5  # a first byte after it may be one that was held back
_PAUSE = 0.3  # a pause inside an event, where no server stops by itself

_FIELDS = (b"data", b"event", b"id", b"retry")
_END_TYPES = {"close", "complete", "completed", "done", "end", "eof", "finish", "finished"}


# The answer


def _unreachable(case: Case) -> Evidence:
    if case.first.stop is Stop.NO_CONNECTION:
        yield case.first.error or "no answer"


def _no_response(case: Case) -> Evidence:
    if case.first.stop is Stop.NO_RESPONSE:
        yield f"no status within {case.first.ended_at:.1f} s"


def _status(case: Case) -> Evidence:
    first = case.first
    if first.status not in (0, 200):
        meaning = "a browser's EventSource gives up at once"
        if first.status == 204:
            meaning = "to a browser that means: stop for good"
        elif location := first.headers.get("location"):
            meaning = f"it leads to {location}"
        yield f"{first.method} {first.url} answered {first.status}; {meaning}"


def _content_type(case: Case) -> Evidence:
    if case.first.status == 200 and not case.first.is_stream:
        yield _shown(case.first, "content-type")


def _cors(case: Case) -> Evidence:
    first, origin = case.first, case.first.asked.get("origin")
    allowed = first.headers.get("access-control-allow-origin", "").strip()
    if origin and first.status and allowed not in ("*", origin):
        yield f"pages of {origin}: {_shown(first, 'access-control-allow-origin')}"


# Its header fields


def _connection_header(case: Case) -> Evidence:
    value = case.first.headers.get("connection", "").lower()
    is_hop_s = case.first.is_from_nginx or case.first.http_version == "HTTP/1.0"
    if value not in ("", "close") and not is_hop_s:  # a lone "close" is the server's
        yield f"connection: {value}"


def _no_transform(case: Case) -> Evidence:
    if "no-transform" not in case.first.headers.get("cache-control", "").lower():
        yield _shown(case.first, "cache-control")


def _x_accel_buffering(case: Case) -> Evidence:
    if "x-accel-buffering" in case.first.headers:
        return
    if not case.first.is_from_nginx:
        yield "there is no x-accel-buffering"
    elif any(_signs_of_a_buffer(case.first)):
        yield f"{_shown(case.first, 'server')}, and events are held back"


def _nginx_in_front(case: Case) -> Evidence:
    times = [at for at, _ in case.first.arrivals]
    came_in_time = len(times) > 2 and times[-1] - times[0] > _BURST
    is_known = "x-accel-buffering" in case.first.headers or any(_signs_of_a_buffer(case.first))
    if case.first.is_from_nginx and not (is_known or came_in_time):
        yield f"{_shown(case.first, 'server')}; too little came to see whether it buffers"


# When it arrives


def _compression(case: Case) -> Evidence:
    first = case.first
    if coding := first.headers.get("content-encoding"):
        signs = list(_signs_of_a_buffer(first))
        if not first.events and first.stop in (Stop.SILENT, Stop.ENOUGH):
            signs.append(f"no event came in {first.ended_at:.2f} s")
        yield from (f"with content-encoding: {coding} {sign}" for sign in signs)


def _buffered(case: Case) -> Evidence:
    if "content-encoding" not in case.first.headers:
        yield from _signs_of_a_buffer(case.first)


def _no_keep_alive(case: Case) -> Evidence:
    first = case.first
    if first.stop is Stop.SILENT:
        last = first.arrivals[-1][0] if first.arrivals else first.response_at or 0.0
        after = f"after {last:.2f} s" if first.arrivals else "after the header fields"
        silence = f"{after} there was no byte for {first.ended_at - last:.2f} s"
        yield f"{silence}; proxies cut silent connections after 30 to 60 s (nginx: 60 s)"


def _signs_of_a_buffer(first: Exchange) -> Evidence:
    begun = first.arrivals[0][0] if first.arrivals else 0.0
    is_burst = first.stop is Stop.ENDED and first.ended_at - begun <= _BURST
    if is_burst and begun >= _LATE and len(first.events) > 2:
        burst = f"all {len(first.events)} events came in one burst with the end of the stream"
        yield f"{burst}, and nothing in the {begun:.2f} s before"
    pauses = list(_pauses_inside_events(first))
    if len(pauses) > 1:
        paused = f"{len(pauses)} times the stream paused inside an event"
        longest = f"for {max(pauses):.2f} s at most"
        yield f"{paused}, {longest}: something passes blocks of bytes on, not events"


def _pauses_inside_events(first: Exchange) -> Iterator[float]:
    rest = b""
    for (at, data), (following, _) in pairwise(first.arrivals):
        rest = _after_last_event(rest + data)
        line = rest.rpartition(b"\n")[2]
        if line and not line.startswith(b":") and following - at >= _PAUSE:
            yield following - at


# Its format


def _bom(case: Case) -> Evidence:
    if case.first.body.startswith(b"\xef\xbb\xbf"):
        yield "its first bytes are EF BB BF"


def _line_ends(case: Case) -> Evidence:
    if number := case.first.body.count(b"\r"):
        kind = "CRLF" if b"\r\n" in case.first.body else "CR"
        yield f"{number} line ends are {kind}"


def _ignored_lines(case: Case) -> Evidence:
    if lines := [line for line in case.first.lines if _is_ignored(line)]:
        yield f"{len(lines)} of them, such as {_quoted(lines[0])}"


def _is_ignored(line: bytes) -> bool:
    name, _, value = line.partition(b":")
    if name == b"retry":
        return not value.removeprefix(b" ").isdigit()
    return (name == b"id" and b"\0" in value) or (name != b"" and name not in _FIELDS)


def _framed_twice(case: Case) -> Evidence:
    texts = [event.data for event in case.first.events]
    if twice := [text for text in texts if re.match(r"(data|event|id): ", text)]:
        yield f"{len(twice)} events have data that begins with a field name: {_quoted(twice[0])}"


def _not_utf_8(case: Case) -> Evidence:
    for line in case.first.lines:
        if line.decode("utf-8", "replace").encode() != line:
            yield f"clients read {_quoted(line)}"
            return


def _no_events(case: Case) -> Evidence:
    ended = case.first.stop is Stop.ENDED
    if ended and not case.first.events and not any(_unfinished_event(case)):
        yield f"{len(case.first.body)} bytes came"


def _unfinished_event(case: Case) -> Evidence:
    rest = _after_last_event(case.first.body)
    if case.first.stop in (Stop.ENDED, Stop.SILENT) and b"\ndata" in b"\n" + rest:
        yield f"the stream ended after {_quoted(rest)}"


# Its end, and what follows it


def _cut(case: Case) -> Evidence:
    if case.first.stop is Stop.BROKEN:
        after = f"after {case.first.ended_at:.2f} s and {len(case.first.events)} events"
        yield f"{after}: {case.first.error}"


def _failed(case: Case) -> Evidence:
    for event in case.first.events:
        if event.type == "error":
            yield f"an event of type error came: {_quoted(event.data)}"
            return


def _no_end_marker(case: Case) -> Evidence:
    first, again = case.first, case.again
    ends_otherwise = any(_failed(case)) or (again is not None and again.status == 204)
    if first.stop is Stop.ENDED and first.events and not (_is_complete(case) or ends_otherwise):
        last = _quoted(first.events[-1].data)
        anew = "; a reconnection got events again" if again and again.events else ""
        yield f"the last event was {last}, then the stream ended{anew}"


def _last_event_id(case: Case) -> Evidence:
    events, again = case.first.events, case.again
    if again is None or not again.events or not events[-1].last_event_id:
        return
    got = again.events[0]
    is_known = got.last_event_id in {event.last_event_id for event in events} - {""}
    # Ids may be made anew for each connection: then what they name tells.
    is_first = got.data == events[0].data and any(event.data != got.data for event in events)
    if is_known or is_first:
        answer = f"the event {_quoted(got.data)} of id {got.last_event_id!r}"
        yield f"last-event-id: {events[-1].last_event_id} was answered with {answer}"


def _no_ids(case: Case) -> Evidence:
    events = case.first.events
    if events and not any(event.last_event_id for event in events):
        yield f"{len(events)} events"


def _close_at_end(case: Case) -> Evidence:
    again = case.again
    if again and again.is_stream and _is_complete(case) and not any(_last_event_id(case)):
        yield f"a reconnection got {again.status} and {len(again.events)} events"


def _is_complete(case: Case) -> bool:
    decode = make_decoder("auto", done=case.done)
    ended = case.first.stop is Stop.ENDED
    return ended and any(_is_end(event, decode) for event in case.first.events)


def _is_end(event: MessageEvent, decode: Decode) -> bool:
    try:
        ended = None in items_of(decode(event))
    except SSEError:  # that it failed is another finding
        return False
    value = read_object(event.data) or {}
    kinds = {event.type.lower(), str(value.get("type")).lower()}
    return ended or value.get("done") is True or bool(kinds & _END_TYPES)


# What checks share


def _after_last_event(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rpartition(b"\n\n")[2]


def _shown(exchange: Exchange, name: str) -> str:
    value = exchange.headers.get(name)
    return f"{name}: {value}" if value else f"there is no {name}"


def _quoted(text: str | bytes) -> str:
    value = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return repr(value if len(value) <= 50 else f"{value[:50]}...")


_OF_ANSWERS = (_unreachable, _no_response, _status, _content_type, _cors)
_OF_STREAMS = (
    *(_connection_header, _no_transform, _x_accel_buffering, _nginx_in_front),
    *(_compression, _buffered, _no_keep_alive),
    *(_bom, _line_ends, _ignored_lines, _framed_twice, _not_utf_8, _no_events, _unfinished_event),
    *(_cut, _failed, _no_end_marker, _last_event_id, _no_ids, _close_at_end),
)


def seen_in(case: Case) -> dict[str, str]:
    """Return what was seen, by the finding's code."""
    checks = (*_OF_ANSWERS, *(_OF_STREAMS if case.first.is_stream else ()))
    seen = {check.__name__[1:].replace("_", "-"): "; ".join(check(case)) for check in checks}
    return {code: evidence for code, evidence in seen.items() if evidence}
