"""Reading an event stream as it passes: where its events end, and what they say."""

import logging
from typing import Final

from sse_asgi.errors import IncompleteStreamError
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, items_of
from sse_asgi.wire.parts import Part

_EVENT_ENDS: Final = (b"\n\n", b"\r\r", b"\n\r\n")

_logger = logging.getLogger("sse_asgi")


class Position:
    """Where in an event stream its bytes have come to.

    Attributes:
        between_events: An event has just ended, or none has begun. When in doubt, not.
    """

    def __init__(self) -> None:
        self.between_events: bool = True
        self._tail = b""

    def move(self, body: bytes) -> None:
        """Go on by these bytes."""
        if body:
            self._tail = (self._tail + body[-3:])[-3:]
            comment = body[:1] == b":" and body.find(b"\n") == len(body) - 1 and b"\r" not in body
            self.between_events = self._tail.endswith(_EVENT_ENDS) or (
                self.between_events and comment
            )


class TextReader:
    """Reads text and parts out of an event stream as it passes, through a framing.

    Where it fails it stops to read, and logs that: the stream itself is fine.

    Attributes:
        ended: The end of the framing's stream has come.
        failed: The last event up to now says that the stream failed.
    """

    def __init__(self, framing: Framing) -> None:
        self._decoder = EventStreamDecoder()
        self._decode = framing.decoder()
        self._broken = False
        self.ended: bool = False
        self.failed: bool = False

    def read(self, body: bytes) -> list[str | Part]:
        """Return what the events say that these bytes complete."""
        if self._broken:
            return []
        found: list[str | Part] = []
        try:
            for event in self._decoder.feed(body):
                found += self._items(event)
        except Exception as error:  # noqa: BLE001 - a user's framing may raise anything
            self._broken = True
            _logger.warning("an event stream is not transcribed further: %s", type(error).__name__)
        return found

    def _items(self, event: MessageEvent) -> list[str | Part]:
        try:
            items = items_of(self._decode(event))
        except IncompleteStreamError:  # it says that it failed, or it ends too early
            self.failed = True
            return []
        self.failed = event.type == "error"
        self.ended = self.ended or None in items
        return [item for item in items if item is not None and item != ""]
