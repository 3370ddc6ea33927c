"""What a connection has brought and nobody has taken yet, in order: events, and comments."""

from collections import deque
from dataclasses import dataclass

from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, without its colon and the one space that may follow it."""

    text: str


class CommentDecoder(EventStreamDecoder):
    """Decode an event stream and note the comments, which the standard has clients ignore.

    It reads line by line: the shortcuts of its base know no comments.
    """

    def __init__(self, *, last_event_id: str, max_event_size: int) -> None:
        super().__init__(last_event_id=last_event_id, max_event_size=max_event_size)
        self._items: list[MessageEvent | Comment] = []

    def decode(self, data: bytes) -> list[MessageEvent | Comment]:
        """Decode the next bytes and return events and comments as they follow each other.

        A comment counts when its line ends, wherever it stands.
        """
        self._items = []
        self.feed(data)
        return self._items

    def _interpret_blocks(self, blocks: str) -> list[MessageEvent]:
        return self._interpret(blocks)

    def _interpret(self, lines: str) -> list[MessageEvent]:
        for line in lines[:-1].split("\n"):
            if line.startswith(":"):
                self._items.append(Comment(line[1:].removeprefix(" ")))
            else:
                self._items += self._read(f"{line}\n")
        return []


class Inbox:
    """Decode connections, one after the other, and hand out what they bring.

    Args:
        last_event_id: The id to begin with.
        max_event_size: The limit on one event, in bytes.
        comments: Whether comments are of interest.
    """

    def __init__(self, *, last_event_id: str, max_event_size: int, comments: bool) -> None:
        self.last_event_id = last_event_id  # up to what has been taken
        self._max_event_size = max_event_size
        self._comments = comments
        self._items: deque[MessageEvent | Comment] = deque()
        self._decoder = self._make_decoder()

    def connect(self) -> None:
        """Begin a new connection: nothing of an unfinished event is left, a BOM may come again."""
        self._decoder = self._make_decoder()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the connection.

        Raises:
            EventTooLargeError: If an event is over the limit.
        """
        decoder = self._decoder
        if isinstance(decoder, CommentDecoder):
            self._items += decoder.decode(data)
        else:
            self._items += decoder.feed(data)
        self._catch_up()

    def take(self) -> MessageEvent | Comment | None:
        """Return what came next, None if there is nothing."""
        if not self._items:
            return None
        item = self._items.popleft()
        if isinstance(item, MessageEvent):
            self.last_event_id = item.last_event_id
        self._catch_up()
        return item

    def clear(self) -> None:
        """Forget what has not been taken."""
        self._items.clear()

    @property
    def reconnection_time(self) -> int | None:
        """The last valid `retry` of the connection, in milliseconds."""
        return self._decoder.reconnection_time

    def _catch_up(self) -> None:
        # A block without data moves the id although there is nothing of it to take.
        if not self._items:
            self.last_event_id = self._decoder.last_event_id

    def _make_decoder(self) -> EventStreamDecoder:
        decoder = CommentDecoder if self._comments else EventStreamDecoder
        return decoder(last_event_id=self.last_event_id, max_event_size=self._max_event_size)
