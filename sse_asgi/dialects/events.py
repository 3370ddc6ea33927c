"""Events whose data is a JSON object, and the frame around what varies from event to event."""

from collections.abc import Iterator, Mapping
from secrets import token_hex
from typing import Final

from sse_asgi.wire.events import utf8
from sse_asgi.wire.json_text import json_bytes, on_one_line

DONE: Final = b"data: [DONE]\n\n"
"""The event after which clients of OpenAI and AI SDK read no further."""

MAX_DELTA: Final = 160_000
"""Characters in one delta. Each takes 6 bytes of JSON at most, and some clients' limit is 1 MiB."""

# What users give cannot contain these: nobody can guess them.
HOLE: Final = token_hex(16)
"""What stands in an event for the JSON value that is to come."""

NUMBER: Final = token_hex(16)
"""What stands in an event for its number, as `HOLE` does for another value."""

_HOLE: Final = json_bytes(HOLE)


def data_event(value: Mapping[str, object]) -> bytes:
    """Encode an object as an event of data alone."""
    return b"data: %b\n\n" % json_bytes(value)


def typed_event(value: Mapping[str, object]) -> bytes:
    """Encode an object as an event of the type that it names."""
    return b"event: %b\ndata: %b\n\n" % (utf8(str(value["type"])), json_bytes(value))


def cut_at(hole: str, event: str) -> tuple[str, str]:
    """Return an event's text before and after a hole."""
    head, _, tail = event.partition(f'"{hole}"')
    return head, tail


def fill(event: bytes, text: str) -> bytes:
    """Put a JSON text into the first hole of an event, on one line."""
    # JSON has line ends between its values only: in a string they are escaped.
    line = text.replace("\r", " ").replace("\n", " ")
    return event.replace(_HOLE, utf8(on_one_line(line)), 1)


def pieces(text: str) -> Iterator[str]:
    """Cut a text into what one delta may hold each; nothing of an empty one."""
    for start in range(0, len(text), MAX_DELTA):
        yield text[start : start + MAX_DELTA]
