"""Reading an event stream as it passes: where its events end, and what they say."""

import logging
from collections.abc import Callable
from typing import Any, Final

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
        may_add: Something of ours may come now: no event is cut. When in doubt, it may not.
    """

    def __init__(self, *, readable: bool) -> None:
        self._readable = self._between = readable
        self.may_add: bool = readable
        self._tail = b""

    def begin(self, body: bytes) -> None:
        """Move past bytes that are being sent. The client may lack some until `arrived`."""
        before = self._between
        if body:
            self._tail = (self._tail + body[-3:])[-3:]
            comment = body[:1] == b":" and body.find(b"\n") == len(body) - 1 and b"\r" not in body
            ends = self._tail.endswith(_EVENT_ENDS) or (before and comment)
            self._between = self._readable and ends
        self.may_add = before and self._between

    def arrived(self) -> None:
        self.may_add = self._between


class TextReader:
    """Reads text and parts out of an event stream as it passes, through a framing if it has one.

    Where it fails it stops to read, and logs that: the stream itself is fine.

    Attributes:
        ended: The end of the framing's stream has come.
        failed: The last event up to now says that the stream failed.
    """

    def __init__(self, framing: Framing | None) -> None:
        self._decoder = EventStreamDecoder()
        self._decode = None if framing is None else framing.decoder()
        self.ended: bool = False
        self.failed: bool = False

    def read(self, body: bytes) -> list[str | Part]:
        """Return what the events say that these bytes complete."""
        found: list[str | Part] = []
        try:
            if self._decode is not None:
                for event in self._decoder.feed(body):
                    found += self._items(event, self._decode)
        except Exception as error:  # noqa: BLE001 - a user's framing may raise anything
            self._decode = None
            _logger.warning("an event stream is not transcribed further: %s", type(error).__name__)
        return found

    def _items(self, event: MessageEvent, decode: Callable[[MessageEvent], Any]) -> list[Any]:
        try:
            items = items_of(decode(event))
        except IncompleteStreamError:  # it says that it failed, or it ends too early
            self.failed = True
            return []
        self.failed = event.type == "error"
        self.ended = self.ended or None in items
        return [item for item in items if item is not None and item != ""]
