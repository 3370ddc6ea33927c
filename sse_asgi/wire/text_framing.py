"""Text as it is: each chunk is one event's data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sse_asgi.errors import shown
from sse_asgi.wire.events import MessageEvent, encode_data, well_formed
from sse_asgi.wire.marker import check_marker
from sse_asgi.wire.parts import Part
from sse_asgi.wire.typed_events import TypedEventEncoder, decode_typed


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
        check_marker(self.done)
        if self.done is not None and len(self.done) < 2:
            raise ValueError(
                f"done must have at least 2 characters, not {shown(self.done)}: a chunk that "
                "equals it is cut in two; take a longer marker, or None for no end event"
            )

    @property
    def headers(self) -> Mapping[str, str]:
        """Return none: clients of plain text demand none."""
        return {}

    def encoder(self) -> "TextEncoder":
        """Return an encoder for one stream."""
        return TextEncoder(self.done)

    def decoder(self) -> Callable[[MessageEvent], str | Part | None]:
        """Return a function that gives each event's data, a part, or None for the end marker.

        It raises `StreamFailedError` for an event of type "error".
        """
        done = self.done

        def decode(event: MessageEvent) -> str | Part | None:
            if event.type != "message":
                return decode_typed(event)
            return None if event.data == done else event.data

        return decode


class TextEncoder(TypedEventEncoder):
    """Encodes one stream as `TextFraming` has it."""

    __slots__ = ("_after_cr",)

    def __init__(self, done: str | None) -> None:
        super().__init__(done)
        self._after_cr = False  # the text so far ends with CR

    def text(self, chunks: list[str]) -> bytes:
        """Encode the chunks that leave together, one event or more for each."""
        if len(chunks) == 1:
            return self.chunk("".join(chunks))
        if not self._after_cr and self._done not in chunks:
            # Nearly always they can be joined first and looked at, and encoded, as one.
            text = "\n\ndata: ".join(chunks)
            if text.count("\n") == 2 * len(chunks) - 2 and "\r" not in text:
                try:
                    return f"data: {text}\n\n".encode()
                except UnicodeEncodeError:
                    pass
        return b"".join(map(self._encode, chunks))

    def chunk(self, text: str) -> bytes:
        """Encode one chunk alone, as `text` does; it is a `str` itself, and none of a subclass."""
        # What is printable has neither CR nor LF, and no surrogate.
        if text.isprintable() and text != self._done and not self._after_cr:
            return f"data: {text}\n\n".encode()
        return self._encode(text)

    def _encode(self, chunk: str) -> bytes:
        # The LF of a CRLF that the source cut: its CR has already been sent as a newline.
        text = chunk[1:] if self._after_cr and chunk.startswith("\n") else chunk
        if chunk:
            self._after_cr = chunk.endswith("\r")
        # Compared as it will arrive: U+FFFD in place of a surrogate may make a marker of a chunk.
        if "\n" in text or well_formed(text) != self._done:
            return encode_data(text)
        middle = len(text) // 2
        return encode_data(text[:middle]) + encode_data(text[middle:])
