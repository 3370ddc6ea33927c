"""Answers that do not stream, made of the events that would have been one."""

import json
from collections.abc import Callable
from itertools import groupby
from typing import Any, cast

from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.framing import Decode, Framing
from sse_asgi.wire.parts import Part


class Kept:
    """A framing of one stream, and its encoder, that keeps what is said and sends nothing.

    Attributes:
        headers: None.
        said: Text and parts, in the order in which they came.
    """

    def __init__(self, framing: Framing) -> None:
        self.headers: dict[str, str] = {}
        self.said: list[str | Part] = []
        self._framing = framing

    def encoder(self) -> "Kept":
        """Return itself."""
        return self

    def decoder(self) -> Decode:
        """Return the decoder of what is not sent."""
        return self._framing.decoder()

    def text(self, chunks: list[str]) -> bytes:
        """Keep text."""
        self.said.append("".join(chunks))
        return b""

    def part(self, part: Part) -> bytes:
        """Keep a part."""
        self.said.append(part)
        return b""

    def begin(self, *_: object, **__: object) -> bytes:
        """Send nothing."""
        return b""

    end: Callable[..., bytes] = begin
    fail: Callable[..., bytes] = begin

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
