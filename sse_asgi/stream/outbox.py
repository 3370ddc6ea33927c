"""The outbox: what is ready waits here for a moment, and leaves together, as ASGI messages.

Text is encoded when it leaves, not when it comes: to encode what leaves together as one costs a
tenth.
"""

from collections.abc import Callable
from typing import Final

from sse_asgi.asgi import Message
from sse_asgi.wire.framing import Encoder
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part
from sse_asgi.wire.text_framing import TextEncoder

MAX_SIZE: Final = 16_384
"""Characters of text that wait at most, give or take a chunk; encoded, up to some 120 KB."""

FRAME_SIZE: Final = 8
"""Characters that an event adds to its chunk."""


class Outbox:
    """Chunks, parts and events on their way to `send`. The sender takes them before they are many.

    What a user's encoder raises passes through each method that encodes; `failed` is set then.

    Args:
        encoder: The encoder of the stream.
        start_message: Returns the message that starts the response; without it another has
            started that.
    """

    encode: Callable[[list[str]], bytes]  # chunks that leave together
    encode_one: Callable[[str], bytes]  # one that is sent at once, past the outbox
    unsent_chunks: int = 0  # text that has come and will not be sent, or not by the outbox
    failed: bool = False  # the encoder has raised

    def __init__(
        self, encoder: Encoder, start_message: Callable[[], Message] | None = None
    ) -> None:
        self.chunks: list[str] = []  # text that waits to be encoded
        self.sent_chunks: int = 0  # text chunks in what has been taken
        self.must_start: bool = False  # the response starts also if nothing is ready
        self._begun = False  # the framing's beginning has been encoded
        self._frames: list[bytes] = []
        self._chunks_in_frames = 0
        self._encoder = encoder
        self._start_message = start_message
        self._body_begun = start_message is None
        # Only a user's encoder may raise, or return what is no bytes. To check that costs.
        is_ours = type(encoder).__module__.startswith("sse_asgi.")
        self.encode = encoder.text if is_ours else self._encode_checked
        self.encode_one = encoder.chunk if type(encoder) is TextEncoder else self._encode_one

    def __bool__(self) -> bool:
        return bool(self.chunks or self._frames)

    @property
    def has_started(self) -> bool:
        return self._start_message is None

    @property
    def is_text_alone(self) -> bool:
        return bool(self.chunks) and self._begun and not self._frames

    @property
    def produced_chunks(self) -> int:
        """How many text chunks have come: those sent, those that wait, and the rest."""
        waiting = len(self.chunks) + self._chunks_in_frames
        return self.sent_chunks + waiting + self.unsent_chunks

    def next_message(self) -> Message | None:
        """Take what is to be sent next: the start of the response, and then all that is ready."""
        if self._start_message is not None:
            return self.take_start() if self.must_start or self else None
        body = self.take()
        if not self._body_begun:  # some servers hold the headers back until then
            self._body_begun = True
        elif not body:
            return None
        return {"type": "http.response.body", "body": body, "more_body": True}

    def take_start(self) -> Message | None:
        """Take the message that starts the response, once."""
        self.must_start = False
        start, self._start_message = self._start_message, None
        return None if start is None else start()

    def put_event(self, event: bytes) -> int:
        """Add an encoded event that the encoder knows nothing of; return its size in bytes."""
        self._encode_chunks()
        return self._add(event)

    def put_part(self, part: Part) -> int:
        """Add a part; return its size in bytes."""
        self._encode_chunks()  # first: what the encoder says may depend on it
        return self._add(self._checked("part", part))

    def put_end(self, outcome: Outcome) -> None:
        self._encode_chunks()
        self._add(self._checked("end", outcome))

    def put_failure(self, message: str, outcome: Outcome) -> bool:
        """Add what tells clients that the stream failed; returns whether there is such an event."""
        self._encode_chunks()
        return self._add(self._checked("fail", message, outcome)) > 0

    def take(self) -> bytes:
        """Empty it, and return everything as bytes. Chunks that cannot be encoded are gone then."""
        chunks = self.chunks
        if chunks and self._begun and not self._frames:  # text alone, as nearly always
            body = self.encode(chunks)
            self.sent_chunks += len(chunks)
            chunks.clear()
            return body
        if chunks:
            self._encode_chunks()
        frames, self._frames = self._frames, []
        self.sent_chunks += self._chunks_in_frames
        self._chunks_in_frames = 0
        return b"".join(frames)

    def begin_elsewhere(self) -> None:
        """Note that the stream's first events were sent, but not from this outbox."""
        if not self._begun:
            self._begun = True
            self._checked("begin")

    def _add(self, event: bytes) -> int:
        if event:
            self._frames.append(event)
        return len(event)

    def _encode_chunks(self) -> None:
        if not self._begun:
            self._begun = True
            self._add(self._checked("begin"))
        if chunks := self.chunks:
            self._add(self.encode(chunks))
            self._chunks_in_frames += len(chunks)
            chunks.clear()

    def _encode_one(self, chunk: str) -> bytes:
        return self.encode([chunk])

    def _checked(self, method: str, *arguments: object) -> bytes:
        try:
            encode: Callable[..., bytes] = getattr(self._encoder, method)
            return b"" + encode(*arguments)  # a str fails here, where it can be told
        except BaseException:
            self.failed = True
            raise

    def _encode_checked(self, chunks: list[str]) -> bytes:
        try:
            return self._checked("text", chunks)
        except BaseException:
            self.unsent_chunks += len(self.chunks) or len(chunks)  # joined, all of `self.chunks`
            self.chunks.clear()
            raise
