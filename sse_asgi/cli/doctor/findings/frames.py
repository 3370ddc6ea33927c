"""Findings about the format."""

import re
from collections.abc import Iterator

from sse_asgi.cli.doctor.findings.finding import Finding, quoted
from sse_asgi.cli.doctor.observation import Examination, Stop
from sse_asgi.cli.doctor.reading import lines_of

_FIELDS = (b"data", b"event", b"id", b"retry")
_BOM = b"\xef\xbb\xbf"


def bom(examination: Examination) -> Finding | None:
    """A byte order mark, which some clients take for a part of the first field."""
    if not examination.first.body.startswith(_BOM):
        return None
    return Finding(
        "bom",
        "The stream begins with a byte order mark",
        "its first bytes are EF BB BF",
        "encode with utf-8, not utf-8-sig: several clients lose the first event",
    )


def line_ends(examination: Examination) -> Finding | None:
    """Other line ends than LF."""
    body = examination.first.body
    if b"\r" not in body:
        return None
    kind, count = ("CRLF", body.count(b"\r\n")) if b"\r\n" in body else ("CR", body.count(b"\r"))
    return Finding(
        kind.lower(),
        f"Lines end with {kind}",
        f"{count} line ends are {kind}",
        "end lines with LF: the standard allows all three, but clients that split at two LF see no "
        "event at all",
    )


def newlines_lost(examination: Examination) -> Finding | None:
    """Text with newlines of which only the first line is sent as data."""
    lost = [line for line, after_data in _unknown_lines(examination) if after_data]
    if not lost:
        return None
    return Finding(
        "newlines-lost",
        "Text after a newline is lost",
        f"{len(lost)} lines follow a data line without a field name, such as {quoted(lost[0])}",
        "send each line of the text as a data line of its own, as sse_asgi does, or encode the "
        "text as JSON",
    )


def malformed(examination: Examination) -> Finding | None:
    """Lines that are no fields."""
    unknown = [line for line, after_data in _unknown_lines(examination) if not after_data]
    if not unknown:
        return None
    return Finding(
        "malformed",
        "Lines that are no fields are ignored",
        f"{len(unknown)} of them, such as {quoted(unknown[0])}",
        "a line is a comment, or begins with data:, event:, id: or retry:, in lower case and "
        "without space before the colon",
    )


def values(examination: Examination) -> Finding | None:
    """Fields whose values clients ignore."""
    for line in lines_of(examination.first.body):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if (name == b"retry" and not value.isdigit()) or (name == b"id" and b"\0" in value):
            return Finding(
                "ignored-field",
                f"Clients ignore a field {name.decode()}",
                f"the line {quoted(line)}",
                "retry takes ASCII digits, milliseconds; an id must not have NUL",
            )
    return None


def framed_twice(examination: Examination) -> Finding | None:
    """Data that is a frame itself."""
    twice = [event for event in examination.events if re.match(r"(data|event|id): ", event.data)]
    if not twice:
        return None
    return Finding(
        "framed-twice",
        "Events are framed twice",
        f"{len(twice)} events have data that begins with a field name: {quoted(twice[0].data)}",
        'yield the text alone: the library adds "data: " and the blank line',
    )


def encoding(examination: Examination) -> Finding | None:
    """Bytes that are no UTF-8."""
    lines = lines_of(examination.first.body)
    broken = next((line for line in lines if not _is_utf8(line)), None)
    if broken is None:
        return None
    return Finding(
        "not-utf-8",
        "The stream is not UTF-8",
        f"clients read {quoted(broken)}",
        "encode as UTF-8: event streams have no other encoding, whatever the charset says",
    )


def no_events(examination: Examination) -> Finding | None:
    """Bytes, but no event, or no byte at all."""
    first = examination.first
    if examination.events or first.stop not in (Stop.ENDED, Stop.SILENT):
        return None
    lines = [line for line in lines_of(first.body) if line.startswith(b"data")]
    if lines:
        return Finding(
            "no-blank-line",
            "No event is ever complete",
            f"{len(lines)} data lines came, but no blank line after them",
            "end each event with a blank line: two newlines after its last field",
        )
    if first.stop is Stop.SILENT:  # another finding tells of the silence
        return None
    return Finding(
        "no-events",
        "The stream ended without an event",
        f"{len(first.body)} bytes came",
        "check that the app sends data; an event without a data line is none",
    )


def unfinished(examination: Examination) -> Finding | None:
    """A last event that clients drop."""
    first = examination.first
    if first.stop is not Stop.ENDED or not examination.events:
        return None
    body = first.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    rest = body[body.rfind(b"\n\n") + 2 :]
    if not rest.startswith(b"data") and b"\ndata" not in rest:
        return None
    return Finding(
        "unfinished-event",
        "The last event is lost",
        f"the stream ended after {quoted(rest)} without a blank line",
        "end every event with a blank line, the last one too: clients drop what is unfinished",
    )


def _unknown_lines(examination: Examination) -> Iterator[tuple[bytes, bool]]:
    """Yield each line that is no field, and whether it stands below a data line of its event."""
    after_data = False
    for line in lines_of(examination.first.body):
        name = line.partition(b":")[0]
        if not line:
            after_data = False
        elif name == b"data":
            after_data = True
        elif name and name not in _FIELDS:
            # A mistaken field name has a colon too: it does not look like text that was cut off.
            yield line, after_data and name.strip().lower() not in _FIELDS


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
