"""The outbox: what is ready waits here for a moment, and leaves together.

Text is framed when it leaves, not when it comes: to frame what is ready as one costs a tenth.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

MAX_SIZE: Final = 16_384
"""Characters of text that wait at most, give or take a chunk; framed, up to some 120 KB."""

FRAME_SIZE: Final = 8
"""Characters that a chunk's frame adds to it."""

MAX_WAIT: Final = 0.001
"""Seconds that something ready waits at most for more that is ready too."""


class Outbox:
    """Chunks and events on their way to `send`.

    Bounded by whoever adds to it, who has everything sent before more is added once `due` has
    passed, or once `MAX_SIZE` characters are in it.

    Args:
        encode: The encoder of the stream's framing.

    Attributes:
        chunks: The text chunks that wait to be framed.
        frames: What waits and has been framed.
        due: `MAX_WAIT` after the source went on, on the clock of `time.monotonic`.
    """

    __slots__ = ("_encode", "_encode_all", "_framed", "chunks", "due", "frames")

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        self.chunks: list[str] = []
        self.frames: list[bytes] = []
        self.due = monotonic() + MAX_WAIT
        self._framed = 0  # text chunks in the frames
        self._encode = encode
        self._encode_all: Callable[[list[str]], bytes] = getattr(encode, "encode_all", _nothing)

    def __bool__(self) -> bool:
        return bool(self.chunks or self.frames)

    def putter(self) -> Callable[[str], None]:
        """Return what adds a chunk of text; it runs for each, so it is `list.append` at best."""
        return self.chunks.append if hasattr(self._encode, "encode_all") else self._put_frame_of

    def put_event(self, event: bytes) -> None:
        """Add an encoded event that is no text, or nothing."""
        self._frame_chunks()
        if event:
            self.frames.append(event)

    def take(self) -> tuple[bytes, int]:
        """Empty it: everything as bytes, and how many text chunks that is.

        Raises what a user's `encode_all` raises; the chunks are gone then.
        """
        chunks = self.chunks
        if chunks and not self.frames:  # text alone, as nearly always
            encode_all = self._encode_all
            try:
                return b"" + encode_all(chunks), len(chunks)
            finally:
                chunks.clear()
        self._frame_chunks()
        frames, text_chunks = self.frames, self._framed
        self.frames = []
        self._framed = 0
        return frames[0] if len(frames) == 1 else b"".join(frames), text_chunks

    def _frame_chunks(self) -> None:
        if not self.chunks:
            return
        try:
            self.frames.append(b"" + self._encode_all(self.chunks))
            self._framed += len(self.chunks)
        finally:
            self.chunks.clear()

    def _put_frame_of(self, chunk: str) -> None:
        # A user's encoder may raise. Here that fails the stream, as if the source had.
        frame = b"" + self._encode(chunk)
        self._framed += 1
        if frame:
            self.frames.append(frame)


def _nothing(chunks: list[str]) -> bytes:  # noqa: ARG001 - not called: without `encode_all`
    return b""  # no chunk waits unframed
