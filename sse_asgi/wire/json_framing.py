"""Text as JSON strings, so that every character arrives exactly."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring, encode_basestring_ascii

from sse_asgi.errors import FramingError, shown
from sse_asgi.wire.events import MessageEvent, encode_data
from sse_asgi.wire.json_text import on_one_line
from sse_asgi.wire.marker import check_marker
from sse_asgi.wire.parts import Part
from sse_asgi.wire.typed_events import TypedEventEncoder, decode_typed

_BETWEEN_SURROGATES = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")


@dataclass(frozen=True, slots=True)
class JSONFraming:
    """Send each chunk as a JSON string, so that every character arrives exactly.

    Characters outside ASCII are sent as UTF-8, but for U+0085, U+2028 and U+2029: some clients
    take these for line ends, too, so they are escaped. A chunk with lone surrogates is escaped as
    a whole. JSON readers make one character of a high and a low surrogate that stand side by
    side, so a chunk with such a pair is sent as two events, cut between them.

    Attributes:
        done: The data of the event that ends the stream; `None` for no such event.

    Raises:
        TypeError: If `done` is neither a str nor None.
        ValueError: If `done` is empty or a JSON string itself, or has CR, LF or a lone surrogate.
    """

    done: str | None = "[DONE]"

    def __post_init__(self) -> None:
        check_marker(self.done)
        if self.done == "":
            raise ValueError("done must not be empty: give a marker, or None for no end event")
        if self.done is not None and _read_string(self.done) is not None:
            raise ValueError(
                f"done must not be a JSON string, as {shown(self.done)} is: a chunk could be "
                "sent as the same; take a marker that is none, such as '[DONE]'"
            )

    @property
    def headers(self) -> Mapping[str, str]:
        """Return none: clients of plain text demand none."""
        return {}

    def encoder(self) -> "JSONEncoder":
        """Return an encoder for one stream."""
        return JSONEncoder(self.done)

    def decoder(self) -> Callable[[MessageEvent], str | Part | None]:
        """Return a function that gives each event's text, a part, or None for the end marker.

        It raises `StreamFailedError` for an event of type "error", and `FramingError` for a
        "message" event whose data is no JSON string and not `done`.
        """
        done = self.done

        def decode(event: MessageEvent) -> str | Part | None:
            if event.type != "message":
                return decode_typed(event)
            return None if event.data == done else _decode_json(event.data)

        return decode


class JSONEncoder(TypedEventEncoder):
    """Encodes one stream as `JSONFraming` has it."""

    __slots__ = ()

    def text(self, chunks: list[str]) -> bytes:
        """Encode the chunks that leave together, one event or more for each."""
        frames = on_one_line("\n\ndata: ".join(map(encode_basestring, chunks)))
        try:
            return f"data: {frames}\n\n".encode()
        except UnicodeEncodeError:
            return b"".join(map(_encode, chunks))


def _encode(chunk: str) -> bytes:
    try:
        return b"data: %b\n\n" % on_one_line(encode_basestring(chunk)).encode()
    except UnicodeEncodeError:
        pieces = _BETWEEN_SURROGATES.split(chunk)
        return b"".join(encode_data(encode_basestring_ascii(piece)) for piece in pieces)


def _decode_json(data: str) -> str:
    text = _read_string(data)
    if text is None:
        raise FramingError(
            "an event's data must be a JSON string and is none: the server uses another framing "
            "or end marker; give the client the same framing"
        )
    return text


def _read_string(data: str) -> str | None:
    # Only what begins as a string is parsed: deeply nested arrays would end in a RecursionError.
    if not data.lstrip(" \t\r\n").startswith('"'):
        return None
    try:
        text: str = json.loads(data)
    except ValueError:
        return None
    return text
