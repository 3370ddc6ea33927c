"""What a connection has brought and nobody has taken yet, in order: events, and comments."""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias, cast

from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, without its colon and the one space that may follow it."""

    text: str


@dataclass(frozen=True, slots=True)
class IdMoved:
    """A block without data has moved the last event ID: it covers all that came before."""

    last_event_id: str


Item: TypeAlias = MessageEvent | IdMoved | Comment


class ItemDecoder(EventStreamDecoder):
    """Decode an event stream and note, between the events, where an id came without one."""

    def decode(self, data: bytes) -> list[Item]:
        """Decode the next bytes and return what they complete, in order."""
        return cast("list[Item]", self.feed(data))

    def _dispatch(self, events: list[MessageEvent]) -> None:
        moved = self._id != self._last_event_id and not self._data
        super()._dispatch(events)
        if moved:  # among the events, so that the order is kept on each of the base's ways
            cast("list[Item]", events).append(IdMoved(self._id))


class CommentDecoder(ItemDecoder):
    """Note the comments as well, which the standard has clients ignore.

    It reads line by line, but for an event that comes alone: other blocks may have comments.
    """

    def __init__(self, *, last_event_id: str, max_event_size: int) -> None:
        super().__init__(last_event_id=last_event_id, max_event_size=max_event_size)
        self._items: list[Item] = []

    def decode(self, data: bytes) -> list[Item]:
        """Decode the next bytes and return events and comments as they follow each other.

        A comment counts when its line ends, wherever it stands.
        """
        self._items = []
        alone = self.feed(data)  # an event that came alone; the rest is among the items
        return [*self._items, *alone]

    def _interpret_from_block_start(self, lines: str) -> list[MessageEvent]:
        return self._interpret(lines.lstrip("\n"))

    def _interpret(self, lines: str) -> list[MessageEvent]:
        for line in lines.split("\n")[:-1]:
            if line.startswith(":"):
                self._items.append(Comment(line[1:].removeprefix(" ")))
            else:
                self._items += super()._interpret(f"{line}\n")
        return []


class Inbox:
    """Decode connections, one after the other, and hand out what they bring.

    Args:
        last_event_id: The id to begin with.
        max_event_size: The limit on one event, in bytes.
        comments: Whether comments are of interest.
    """

    def __init__(self, *, last_event_id: str, max_event_size: int, comments: bool) -> None:
        self._last_event_id = last_event_id  # of what has been taken
        self._max_event_size = max_event_size
        self._comments = comments
        self._items: deque[Item] = deque()
        self.connect()

    def connect(self) -> None:
        """Begin a new connection: nothing of an unfinished event is left, a BOM may come again."""
        decoder = CommentDecoder if self._comments else ItemDecoder
        self._decoder = decoder(
            last_event_id=self.last_event_id, max_event_size=self._max_event_size
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the connection.

        Raises:
            EventTooLargeError: If an event is over the limit.
        """
        self._items += self._decoder.decode(data)

    def take(self) -> Item | None:
        """Return what came next, None if there is nothing."""
        if not self._items:
            return None
        item = self._items.popleft()
        if not isinstance(item, Comment):
            self._last_event_id = item.last_event_id
        return item

    def clear(self) -> None:
        """Forget what has not been taken."""
        self._last_event_id = self.last_event_id
        self._items.clear()

    @property
    def last_event_id(self) -> str:
        """The last ID that covers nothing but what has been taken."""
        found = self._last_event_id
        for item in self._items:
            if not isinstance(item, IdMoved):
                break
            found = item.last_event_id
        return found

    @property
    def reconnection_time(self) -> int | None:
        """The last valid `retry` of the connection, in milliseconds."""
        return self._decoder.reconnection_time
