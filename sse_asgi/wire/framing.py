"""How text travels as events: what a chunk of text becomes, and what ends the stream."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Protocol, runtime_checkable

from sse_asgi.errors import FramingError, shown
from sse_asgi.wire.events import MessageEvent, encode_data, well_formed

_BETWEEN_SURROGATES = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")

# Of these, JSON escapes only the ones in ASCII by itself.
_OTHER_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@runtime_checkable
class Framing(Protocol):
    """Define how chunks of text become events and how events become text again.

    A framing holds options only and serves any number of streams at once. What one stream must
    remember lives in the functions that `encoder` and `decoder` return.
    """

    def encoder(self) -> Callable[[str], bytes]:
        """Return a fresh function for one stream: a chunk in, whole encoded events out.

        It is called once for each chunk, in order, and may keep state from call to call. If it has
        a method `encode_all`, that is called instead, with the chunks that leave together: a list
        of them in, and out what calls for each, joined, would give. It must not raise.
        """
        ...

    def end(self) -> bytes:
        """Return the encoded events that end a complete stream, `b""` for none."""
        ...

    def decoder(self) -> Callable[[MessageEvent], str | None]:
        """Return a fresh function for one stream: an event in, its text out.

        It gives "" for an event that carries no text, such as one of another type than "message",
        and None for the one that ends the stream.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextFraming:
    r"""Send each chunk as one event's data, unchanged.

    The texts that the client decodes, joined, are the chunks, joined, but for what the event stream
    format forces: CRLF and CR become LF, also where a CRLF is cut between two chunks, and lone
    surrogates become U+FFFD. A chunk that equals `done` is sent as two events, so no text ends the
    stream. An empty chunk is an event with empty data.

    Attributes:
        done: The data of the event that ends the stream; `None` for no such event.

    Raises:
        TypeError: If `done` is neither a str nor None.
        ValueError: If `done` is shorter than 2 characters, or has CR, LF or a lone surrogate.
    """

    done: str | None = "[DONE]"

    def __post_init__(self) -> None:
        _check_done(self.done)
        if self.done is not None and len(self.done) < 2:
            raise ValueError(
                f"done must have at least 2 characters, not {shown(self.done)}: a chunk that "
                "equals it is cut in two; take a longer marker, or None for no end event"
            )

    def encoder(self) -> Callable[[str], bytes]:
        """Return a function that encodes the chunks of one stream, in order."""
        return _TextEncoder(self.done)

    def end(self) -> bytes:
        """Return the event whose data is `done`, or `b""`."""
        return _encode_end(self.done)

    def decoder(self) -> Callable[[MessageEvent], str | None]:
        """Return a function that gives each event's data, and None for the end marker."""
        done = self.done

        def decode(event: MessageEvent) -> str | None:
            if event.type != "message":
                return ""
            return None if event.data == done else event.data

        return decode


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
        _check_done(self.done)
        if self.done == "":
            raise ValueError("done must not be empty: give a marker, or None for no end event")
        if self.done is not None and _read_string(self.done) is not None:
            raise ValueError(
                f"done must not be a JSON string, as {shown(self.done)} is: a chunk could be "
                "sent as the same; take a marker that is none, such as '[DONE]'"
            )

    def encoder(self) -> Callable[[str], bytes]:
        """Return a function that encodes the chunks of one stream, in order."""
        return _ENCODE_JSON

    def end(self) -> bytes:
        """Return the event whose data is `done`, or `b""`."""
        return _encode_end(self.done)

    def decoder(self) -> Callable[[MessageEvent], str | None]:
        """Return a function that gives each event's text, and None for the end marker.

        It raises `FramingError` for a "message" event whose data is no JSON string and not `done`.
        """
        done = self.done

        def decode(event: MessageEvent) -> str | None:
            if event.type != "message":
                return ""
            return None if event.data == done else _decode_json(event.data)

        return decode


class _TextEncoder:
    """Encodes the chunks of one stream as `TextFraming` has it."""

    __slots__ = ("_after_cr", "_done")

    def __init__(self, done: str | None) -> None:
        self._done = done
        self._after_cr = False  # the text so far ends with CR

    def __call__(self, chunk: str) -> bytes:
        # The LF of a CRLF that the source cut: its CR has already been sent as a newline.
        text = chunk[1:] if self._after_cr and chunk.startswith("\n") else chunk
        if chunk:
            self._after_cr = chunk.endswith("\r")
        # Compared as it will arrive: U+FFFD in place of a surrogate may make a marker of a chunk.
        if "\n" in text or well_formed(text) != self._done:
            return encode_data(text)
        middle = len(text) // 2
        return encode_data(text[:middle]) + encode_data(text[middle:])

    def encode_all(self, chunks: list[str]) -> bytes:
        # Nearly always they can be joined first and looked at, and encoded, as one.
        if len(chunks) == 1 and type(chunks[0]) is str:  # a subclass may format itself otherwise
            text = chunks[0]
            plain = "\n" not in text
        else:
            text = "\n\ndata: ".join(chunks)
            plain = text.count("\n") == 2 * len(chunks) - 2
        if plain and "\r" not in text and not self._after_cr and self._done not in chunks:
            try:
                return f"data: {text}\n\n".encode()
            except UnicodeEncodeError:
                pass
        return b"".join(map(self, chunks))


class _JSONEncoder:
    """Encodes chunks as `JSONFraming` has it; it remembers nothing, so one serves all streams."""

    __slots__ = ()

    def __call__(self, chunk: str) -> bytes:
        try:
            return b"data: %b\n\n" % _on_one_line(encode_basestring(chunk)).encode()
        except UnicodeEncodeError:
            parts = _BETWEEN_SURROGATES.split(chunk)
            return b"".join(encode_data(encode_basestring_ascii(part)) for part in parts)

    def encode_all(self, chunks: list[str]) -> bytes:
        frames = _on_one_line("\n\ndata: ".join(map(encode_basestring, chunks)))
        try:
            return f"data: {frames}\n\n".encode()
        except UnicodeEncodeError:
            return b"".join(map(self, chunks))


_ENCODE_JSON = _JSONEncoder()


def _on_one_line(strings: str) -> str:
    """Escape in JSON strings what a client may take for a line's end, as `str.splitlines` does."""
    if strings.isascii():
        return strings
    for separator, escape in _OTHER_LINE_ENDS.items():
        strings = strings.replace(separator, escape)
    return strings


def check_framing(value: object) -> Framing:
    """Return a framing that is one.

    Raises:
        TypeError: It is none; a class of framings is the usual mistake.
    """
    if isinstance(value, type):
        raise TypeError(
            f"framing must be a Framing, not {shown(value)} itself: call it, {value.__qualname__}()"
        )
    if not isinstance(value, Framing):
        raise TypeError(
            f"framing must be a Framing, such as TextFraming(), not {shown(value)} "
            f"({type(value).__qualname__})"
        )
    return value


def _check_done(done: object) -> None:
    if done is None:
        return
    if not isinstance(done, str):
        raise TypeError(
            f"done must be a str or None, not {shown(done)} ({type(done).__name__}): "
            "give the end marker's text, or None for no end event"
        )
    if "\r" in done or "\n" in done:
        raise ValueError(
            f"done must not have CR or LF, as {shown(done)} has: it is one line; remove them"
        )
    if well_formed(done) != done:
        raise ValueError(
            f"done must not have a lone surrogate, as {shown(done)} has: UTF-8 cannot carry it; "
            "take another marker"
        )


def _encode_end(done: str | None) -> bytes:
    return b"" if done is None else encode_data(done)


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
