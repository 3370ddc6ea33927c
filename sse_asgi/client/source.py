"""The events of a URL over connections, one after the other, for `EventSource` and `follow`."""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

from sse_asgi.checks import check_int, check_seconds, wrong_type
from sse_asgi.client.connection import Connection, HTTPClient
from sse_asgi.client.request import Request, body_of, client_of, headers_of, settled
from sse_asgi.client.response import End, end_of, is_stream, lost, next_wait
from sse_asgi.headers import HeadersInput
from sse_asgi.wire.decoder import DEFAULT_MAX_EVENT_SIZE, EventStreamDecoder
from sse_asgi.wire.events import MessageEvent

T = TypeVar("T")
Hook: TypeAlias = Callable[[T], Awaitable[object] | object]


@dataclass(frozen=True, slots=True)
class IdMoved:
    """A block without data has moved the last event ID: it covers all that came before."""

    last_event_id: str


Item: TypeAlias = MessageEvent | IdMoved | End | str  # which is a comment


class ItemDecoder(EventStreamDecoder):
    """Note comments, and ids that come without an event, where they stand among the events."""

    def decode(self, data: bytes) -> list[Item]:
        """Decode the next bytes. A comment counts when its line ends."""
        self._comments: list[Item] = []
        return [*self.feed(data), *self._comments]

    def _read_field(self, line: str) -> None:
        if line.startswith(":"):
            self._comments.append(line[1:].removeprefix(" "))
        super()._read_field(line)

    def _dispatch(self, events: list[MessageEvent]) -> None:
        items = cast("list[Item]", events)
        items += self._comments
        self._comments = []
        moved = self._id != self._last_event_id and not self._data
        super()._dispatch(events)
        if moved:
            items.append(IdMoved(self._id))


class Source:
    """Connect, read, and connect again, by the rules of HTML 9.2.2 and 9.2.3."""

    _kind: ClassVar[type[Connection]] = Connection

    def __init__(
        self,
        url: object,
        *,
        method: str | None = None,
        headers: HeadersInput | None = None,
        json: Any = None,  # noqa: ANN401 - whatever JSON can be
        content: str | bytes | None = None,
        client: HTTPClient | None = None,
        last_event_id: str = "",
        reconnect: bool = True,
        reconnection_time: int = 3000,
        max_wait: float = 300.0,
        read_timeout: float | None = 60.0,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Hook[str] | None = None,
        on_error: Hook[Exception] | None = None,
    ) -> None:
        for name, hook in {"on_comment": on_comment, "on_error": on_error}.items():
            if hook is not None and not callable(hook):
                raise wrong_type(name, hook, "a callable or None")
        if not isinstance(reconnect, bool):
            raise wrong_type("reconnect", reconnect, "True or False")
        check_int("reconnection_time", reconnection_time, lowest=0)
        check_seconds("max_wait", max_wait, "a number above 0")
        if read_timeout is not None:
            check_seconds("read_timeout", read_timeout, "a number above 0, or None")
        used = client_of(client, self._kind.client_kind)
        self._own_client = used if client is None else None
        fields = headers_of(used, headers)
        content = body_of(json, content)
        if json is not None:
            fields.setdefault("content-type", "application/json")
        if method is None:
            method = "GET" if content is None else "POST"
        # The id belongs to the connection: what is given here is only where to begin.
        in_headers = fields.pop("last-event-id", "")
        self.last_event_id: str = in_headers if last_event_id == "" else last_event_id
        # A stream may be silent for long: the client's own limit is meant for responses.
        timeout = (used.timeout.connect, read_timeout, used.timeout.write, used.timeout.pool)
        self._request = Request(self._kind, used, method, url, fields, content, timeout)
        self.reconnection_time: int = reconnection_time
        self._reconnect = reconnect
        self._max_wait = max_wait
        self._make_decoder = partial(ItemDecoder, max_event_size=max_event_size)
        self._on_comment = on_comment
        self._on_error = on_error
        self._items: deque[Item] = deque()
        self._decoder = self._make_decoder(last_event_id=self.last_event_id)
        self._connection: Connection | None = None
        self._opened = False  # ever
        self._ended = False
        self._ends = 0  # of connections, since one that gave a byte
        self._due = 0.0  # when to connect, by the monotonic clock
        self._since = 0.0  # when a byte came last, or a connection began
        self._outage = 0.0  # seconds in which no connection gave a byte; `text` sets it back

    async def _next_event(self) -> MessageEvent:
        while True:
            item = await self._next()
            if isinstance(item, MessageEvent):
                return item

    async def _next(self) -> Item:
        """Return what came next, after its hook was called; StopAsyncIteration is the end."""
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            await self._step()
        item = self._items.popleft()
        if isinstance(item, MessageEvent | IdMoved):
            self.last_event_id = item.last_event_id
        elif isinstance(item, str):
            await self._tell(self._on_comment, item)
        elif item.error:
            await self._tell(self._on_error, item.error)
        return item

    async def _tell(self, hook: Hook[T] | None, value: T) -> None:
        try:
            await settled(hook(value) if hook else None)
        except Exception:
            await self._close()
            raise

    async def _step(self) -> None:
        """Connect, or read once: something may have come then, or the end."""
        try:
            end = await (self._read(self._connection) if self._connection else self._connect())
        except Exception as error:  # noqa: BLE001 - it is raised where it is not the network's
            what = "the connection broke off" if self._connection else "cannot connect"
            end = End(lost(what, error, self._request.url))
        if end is not None:
            await self._drop()
            self._note_end(end)

    async def _connect(self) -> End | None:
        wait = max(self._due - time.monotonic(), 0.0)
        self._outage += wait
        await self._kind.sleep(wait)
        self._since = time.monotonic()
        self._connection = await self._request.send(self.last_event_id)
        response = self._connection.response
        if not is_stream(response):
            return end_of(response, await self._connection.read_beginning())
        self._opened = True
        self._decoder = self._make_decoder(last_event_id=self.last_event_id)
        return None

    async def _read(self, connection: Connection) -> End | None:
        data = await connection.read()
        if not data:
            return End()
        self._items += self._decoder.decode(data)
        if self._decoder.reconnection_time is not None:
            self.reconnection_time = self._decoder.reconnection_time
        self._ends = 0
        self._since = time.monotonic()
        return None

    def _note_end(self, end: End) -> None:
        if self._reconnect and not end.final:
            wait = next_wait(self.reconnection_time, self._ends, end.wait or 0.0, self._max_wait)
            self._due = time.monotonic() + wait
            self._outage += time.monotonic() - self._since
            self._ends += 1
            self._items.append(end)
            return
        self._ended = True
        if end.error:
            raise end.error

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def _close(self) -> None:
        self._ended = True
        self._items.clear()
        await self._drop()
        if self._own_client is not None:
            close = getattr(self._own_client, "aclose", None) or self._own_client.close
            await settled(close())
