"""The outbox: frames that are ready wait here for a moment, and leave together."""

import time
from typing import Final

MAX_BYTES: Final = 65_536
"""What one `send` carries at most, give or take the last frame."""

MAX_WAIT: Final = 0.001
"""Seconds that a ready frame waits at most for others that are ready too."""


class Outbox:
    """Frames on their way to one `send`.

    Bounded: `put` says when it is due to be sent, which has to happen before the next `put`.

    Attributes:
        frames: What waits; to be looked at only.
    """

    __slots__ = ("_since", "_size", "_text_chunks", "frames")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._size = 0
        self._text_chunks = 0
        self._since: float | None = None  # when the oldest was put

    def __bool__(self) -> bool:
        return bool(self.frames)

    def put(self, frame: bytes, text_chunks: int) -> bool:
        """Add a frame that carries that many of the source's text chunks; it may be empty.

        Returns:
            Whether the outbox is due: it is full, or its oldest frame has waited long enough.
        """
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if frame:
            self.frames.append(frame)
            self._size += len(frame)
        self._text_chunks += text_chunks
        return now - self._since >= MAX_WAIT or self._size >= MAX_BYTES

    def take(self) -> tuple[bytes, int]:
        """Empty it: everything joined, and how many text chunks that is."""
        frames, text_chunks = self.frames, self._text_chunks
        self.frames = []
        self._size = 0
        self._text_chunks = 0
        self._since = None
        return b"".join(frames), text_chunks
