"""Framings of one stream, each its own encoder."""

import json
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, Self, cast

from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.framing import Decode, Framing
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part


class Noticing:
    """Passes all on to another framing, and notices a shutdown before anything was said.

    Attributes:
        was_shut_down: The server was told to stop before the stream had said anything.
    """

    def __init__(self, framing: Framing) -> None:
        encoder = framing.encoder()
        self.headers: Mapping[str, str] = framing.headers
        self.decoder: Callable[[], Decode] = framing.decoder
        self.begin: Callable[[], bytes] = encoder.begin
        self.end: Callable[..., bytes] = encoder.end
        self._encoder = encoder
        self._has_said = False
        self.was_shut_down: bool = False

    def encoder(self) -> Self:
        """Return itself."""
        return self

    def text(self, chunks: list[str]) -> bytes:
        """Encode text."""
        self._has_said = True
        return self._encoder.text(chunks)

    def part(self, part: Part) -> bytes:
        """Encode a part."""
        self._has_said = True
        return self._encoder.part(part)

    def fail(self, message: str, outcome: Outcome) -> bytes:
        """Encode a failure."""
        self.was_shut_down = outcome is Outcome.SHUT_DOWN and not self._has_said
        return self._encoder.fail(message, outcome)


class Silent:
    """Sends nothing."""

    def __init__(self, framing: Framing) -> None:
        self.headers: Mapping[str, str] = {}
        self.decoder: Callable[[], Decode] = framing.decoder

    def encoder(self) -> Self:
        """Return itself."""
        return self

    def begin(self) -> bytes:
        """Send nothing."""
        return b""

    def text(self, chunks: list[str]) -> bytes:  # noqa: ARG002
        """Send nothing."""
        return b""

    def part(self, part: Part) -> bytes:  # noqa: ARG002
        """Send nothing."""
        return b""

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:  # noqa: ARG002
        """Send nothing."""
        return b""

    def fail(self, message: str, outcome: Outcome) -> bytes:  # noqa: ARG002
        """Send nothing."""
        return b""


class Kept(Silent):
    """Sends nothing, and keeps what is said.

    Attributes:
        said: Text and parts, in the order in which they came.
        was_shut_down: The server was told to stop.
    """

    def __init__(self, framing: Framing) -> None:
        super().__init__(framing)
        self.said: list[str | Part] = []
        self.was_shut_down: bool = False
        self._framing = framing

    def text(self, chunks: list[str]) -> bytes:
        """Keep text."""
        self.said.append("".join(chunks))
        return b""

    def part(self, part: Part) -> bytes:
        """Keep a part."""
        self.said.append(part)
        return b""

    def fail(self, message: str, outcome: Outcome) -> bytes:  # noqa: ARG002 - the app tells it
        """Take note of a shutdown."""
        self.was_shut_down = outcome is Outcome.SHUT_DOWN
        return b""

    def events(self) -> list[dict[str, Any]]:
        """Return the objects that a stream would have sent, with few deltas."""
        encoder = self._framing.encoder()
        encoded = [encoder.begin()]
        for kind, group in groupby(self.said, type):
            if kind is str:
                encoded.append(encoder.text(cast("list[str]", list(group))))
            else:
                encoded += map(encoder.part, cast("list[Part]", list(group)))
        encoded.append(encoder.end())
        size = sum(map(len, encoded))
        events = EventStreamDecoder(max_event_size=size + 1).feed(b"".join(encoded))
        found = [json.loads(each.data) for each in events if each.data != "[DONE]"]
        return cast("list[dict[str, Any]]", found)
