"""From what a source yields to the events that the log keeps."""

import re
from typing import Final

from sse_asgi.source.source import Chunk
from sse_asgi.stream.chunk import encode_event
from sse_asgi.stream.outbox import Outbox
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

_PLAIN_EVENT: Final = re.compile(
    rb"(?:event:[^\r\n]*\n)?data:[^\r\n]*(?:\ndata:[^\r\n]*)*\n\n", re.ASCII
)
"""An event with a type and data and nothing else."""


class Encoding:
    """Encodes one generation. Each method returns events, and raises what a user's framing raises.

    Args:
        framing: How.
    """

    def __init__(self, framing: Framing) -> None:
        # Without a start of the response the outbox takes the stream for one that has begun.
        self._outbox = Outbox(framing.encoder())
        self._cutter = Cutter()

    def text(self, chunk: str) -> list[bytes]:
        """Encode a text chunk."""
        self._outbox.chunks.append(chunk)
        return self._take()

    def other(self, chunk: Chunk) -> list[bytes]:
        """Encode what is no text.

        Raises:
            TypeError: It is nothing that a source may yield.
        """
        if isinstance(chunk, Part):
            self._outbox.put_part(chunk)
        elif chunk is not None:
            self._outbox.put_event(encode_event(chunk))
        return self._take()

    def end(self, outcome: Outcome) -> list[bytes]:
        """Encode the end of a generation that is complete, or was stopped."""
        self._outbox.put_end(outcome)
        return self._take()

    def fail(self, message: str) -> list[bytes]:
        """Encode the end of a generation that has failed, or was cut short."""
        # At a shutdown, too: whoever follows it later must learn that it has no more.
        self._outbox.put_failure(message, Outcome.FAILED)
        return self._take()

    def _take(self) -> list[bytes]:
        return self._cutter.cut(self._outbox.take())


class Cutter:
    """Cuts what one generation sends into the events that are stored, one by one.

    Each of them has data, and no id: the log numbers them. Some clients take a block without data
    for an event, so such a block is left out; a `retry` in it moves to the next event with data.
    """

    def __init__(self) -> None:
        self._retry: list[bytes] = []  # the line that waits for an event with data

    def cut(self, encoded: bytes) -> list[bytes]:
        """Return the events, without the blank lines that end them."""
        if not self._retry and _PLAIN_EVENT.fullmatch(encoded):
            return [encoded[:-2]]  # what nearly every chunk becomes
        if b"\r" in encoded:
            encoded = encoded.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events = map(self._event, encoded.split(b"\n\n"))
        return [event for event in events if event]

    def _event(self, block: bytes) -> bytes:
        lines = [line for line in block.split(b"\n") if line and not _is_field(line, b"id")]
        if any(_is_field(line, b"data") for line in lines):
            event = b"\n".join(self._retry + lines)
            self._retry = []
            return event
        self._retry = [line for line in lines if _is_field(line, b"retry")] or self._retry
        return b""


def _is_field(line: bytes, name: bytes) -> bool:
    return line.partition(b":")[0] == name
