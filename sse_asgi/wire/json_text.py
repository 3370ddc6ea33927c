"""JSON as events carry it: on one line, for every client's idea of a line, and as UTF-8."""

import json
from json.encoder import JSONEncoder
from typing import Any, cast

from sse_asgi.wire.events import utf8

# Of these, JSON escapes only the ones in ASCII by itself.
_OTHER_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}

_encode = JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def on_one_line(strings: str) -> str:
    """Escape in JSON strings what a client may take for a line's end, as `str.splitlines` does."""
    if strings.isascii():
        return strings
    for separator, escape in _OTHER_LINE_ENDS.items():
        strings = strings.replace(separator, escape)
    return strings


def json_bytes(value: object) -> bytes:
    """Encode a value as one line of JSON, in UTF-8, each lone surrogate as U+FFFD."""
    return utf8(on_one_line(_encode(value)))


def read_object(text: str) -> dict[str, Any] | None:
    """Return the object that a JSON text is, None if it is another value or no JSON."""
    # Only what begins as an object is parsed: nothing else can be one.
    if not text.lstrip(" \t\r\n").startswith("{"):
        return None
    try:
        return cast("dict[str, Any]", _loads(text))
    except (ValueError, RecursionError):
        return None


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a number has more digits than Python converts
        return json.loads(text, parse_int=float)
