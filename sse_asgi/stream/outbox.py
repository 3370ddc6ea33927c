"""The outbox: what is ready waits here for a moment, and leaves together.

Text is encoded when it leaves, not when it comes: to encode what leaves together as one costs a
tenth.
"""

from typing import Final

from sse_asgi.wire.framing import Encoder
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

MAX_SIZE: Final = 16_384
"""Characters of text that wait at most, give or take a chunk; encoded, up to some 120 KB."""

FRAME_SIZE: Final = 8
"""Characters that an event adds to its chunk."""


class Outbox:
    """Chunks, parts and events on their way to `send`. The sender takes them before they are many.

    Args:
        encoder: The encoder of the stream.
        begun: The stream has begun already, by another's hand.

    Attributes:
        chunks: The text chunks that wait to be encoded.
        size: Characters and bytes that wait.
    """

    __slots__ = ("_begun", "_chunks_in_frames", "_encoder", "_frames", "_text", "chunks", "size")

    def __init__(self, encoder: Encoder, *, begun: bool = False) -> None:
        self.chunks: list[str] = []
        self.size = 0
        self._encoder = encoder
        self._text = encoder.text
        self._begun = begun
        self._frames: list[bytes] = []
        self._chunks_in_frames = 0

    def __bool__(self) -> bool:
        return bool(self.chunks or self._frames)

    def put_event(self, event: bytes) -> None:
        """Add an encoded event that the encoder knows nothing of."""
        self._begin()
        self._encode_chunks()
        if event:
            self._frames.append(event)
            self.size += len(event)

    def put_part(self, part: Part) -> None:
        """Add a part. Raises what a user's encoder raises."""
        self._begin()
        self._encode_chunks()  # first: what the encoder says may depend on it
        self.put_event(b"" + self._encoder.part(part))

    def put_end(self, outcome: Outcome) -> None:
        """Add what ends a stream that is complete, or was stopped on request."""
        self._begin()
        self._encode_chunks()
        self.put_event(b"" + self._encoder.end(outcome))

    def put_failure(self, message: str, outcome: Outcome) -> bool:
        """Add what tells clients that the stream failed; returns whether there is such an event."""
        self._begin()
        self._encode_chunks()
        event = b"" + self._encoder.fail(message, outcome)
        self.put_event(event)
        return bool(event)

    def take(self) -> tuple[bytes, int]:
        """Empty it: everything as bytes, and how many text chunks that is.

        Raises what a user's encoder raises; the chunks are gone then.
        """
        chunks = self.chunks
        self.size = 0
        if chunks and self._begun and not self._frames:  # text alone, as nearly always
            try:
                return b"" + self._text(chunks), len(chunks)
            finally:
                chunks.clear()
        if chunks:
            self._begin()
            self._encode_chunks()
        frames, text_chunks = self._frames, self._chunks_in_frames
        self._frames, self._chunks_in_frames = [], 0
        return b"".join(frames), text_chunks

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            if beginning := b"" + self._encoder.begin():
                self._frames.append(beginning)

    def _encode_chunks(self) -> None:
        if not self.chunks:
            return
        try:
            self._frames.append(b"" + self._text(self.chunks))
            self._chunks_in_frames += len(self.chunks)
        finally:
            self.chunks.clear()
