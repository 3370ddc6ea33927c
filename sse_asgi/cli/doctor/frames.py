"""Evidence in the format."""

import re
from collections.abc import Iterator

from sse_asgi.cli.doctor.examine import Evidence, Examination
from sse_asgi.cli.doctor.exchange import Exchange, Stop

_FIELDS = (b"data", b"event", b"id", b"retry")


def look(case: Examination) -> Evidence:
    """Return what was seen, by the finding's code; "" for nothing."""
    first, body = case.first, case.first.body
    crlf, cr = body.count(b"\r\n"), body.count(b"\r")
    unknown = list(_unknown_lines(first))
    lost = [line for line, after_data in unknown if after_data]
    other = [line for line, after_data in unknown if not after_data]
    broken = [line for line in first.lines if b"\xef\xbf\xbd" in _recoded(line) != line]
    twice = [each.data for each in first.events if re.match(r"(data|event|id): ", each.data)]
    ignored = [line for line in first.lines if _is_ignored(line)]
    return {
        "bom": body.startswith(b"\xef\xbb\xbf") and "its first bytes are EF BB BF",
        "crlf": crlf and f"{crlf} line ends are CRLF",
        "cr": cr and not crlf and f"{cr} line ends are CR",
        "newlines-lost": lost
        and f"{len(lost)} lines follow a data line without a field name, such as {quoted(lost[0])}",
        "malformed": other and f"{len(other)} of them, such as {quoted(other[0])}",
        "ignored-field": ignored and f"the line {quoted(ignored[0])}",
        "framed-twice": twice
        and f"{len(twice)} events have data that begins with a field name: {quoted(twice[0])}",
        "not-utf-8": broken and f"clients read {quoted(broken[0])}",
        **_incomplete(first, body),
    }


def quoted(text: str | bytes) -> str:
    """Quote a little of what came."""
    value = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return repr(value if len(value) <= 50 else f"{value[:50]}...")


def _incomplete(first: Exchange, body: bytes) -> Evidence:
    body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    rest = body[body.rfind(b"\n\n") + 2 :] if b"\n\n" in body else body
    lines = sum(line.startswith(b"data") for line in first.lines)
    none = not first.events and first.stop in (Stop.ENDED, Stop.SILENT)
    ended = first.stop is Stop.ENDED
    unfinished = ended and first.events and b"\ndata" in b"\n" + rest
    return {
        "no-blank-line": none and lines and f"{lines} data lines came, but no blank line follows",
        "no-events": none and ended and not lines and f"{len(body)} bytes came",
        "unfinished-event": unfinished and f"the stream ended after {quoted(rest)}",
    }


def _recoded(line: bytes) -> bytes:
    return line.decode("utf-8", "replace").encode()


def _is_ignored(line: bytes) -> bool:
    name, _, value = line.partition(b":")
    digits = value.removeprefix(b" ").isdigit()
    return (name == b"retry" and not digits) or (name == b"id" and b"\0" in value)


def _unknown_lines(first: Exchange) -> Iterator[tuple[bytes, bool]]:
    """Yield each line that is no field, and whether it stands below a data line of its event."""
    after_data = False
    for line in first.lines:
        name = line.partition(b":")[0]
        if not line or name == b"data":
            after_data = bool(line)
        elif name and name not in _FIELDS:
            # A mistaken field name has a colon too: it does not look like text that was cut off.
            yield line, after_data and name.strip().lower() not in _FIELDS
