"""EventSource: events from a URL, for as long as its server has some.

The processing model is the HTML standard's, sections 9.2.2 and 9.2.3, outside the browser:
https://html.spec.whatwg.org/multipage/server-sent-events.html

Where this differs from it, deliberately:

1. Some statuses are temporary: see `TEMPORARY_STATUSES`. Servers are restarted, and to the standard
   one 503 ends an `EventSource` for good.
2. After failures in a row the waits grow. The standard allows it.
3. An id that no header field can carry is not sent: such a request would fail for ever.
"""

from collections.abc import Awaitable, Callable, Collection
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import anyio

from sse_asgi.client.call import call
from sse_asgi.client.connections import Connections, End, Opened
from sse_asgi.client.http import AsyncClient, check_client, make_client
from sse_asgi.client.inbox import IdMoved, Inbox
from sse_asgi.client.reconnection import Reconnection
from sse_asgi.client.request import EventStreamRequest, HeadersInput
from sse_asgi.client.response import TEMPORARY_STATUSES
from sse_asgi.client.values import (
    check_bool,
    check_hook,
    check_reconnection_time,
    check_seconds,
    check_statuses,
)
from sse_asgi.errors import StreamLostError, StreamRefusedError
from sse_asgi.wire.decoder import DEFAULT_MAX_EVENT_SIZE
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.text import TextCollector

_REFUSALS: Final = (429, 500)  # of a server that is there, unlike 502, 503 and 504

T = TypeVar("T")
Hook: TypeAlias = Callable[[T], Awaitable[object] | object]


class EventSource:
    """Receive the events of a URL, reconnecting as a browser's `EventSource` does.

    An async context manager and an async iterator of `MessageEvent`, under asyncio or trio, for
    one task at a time. It connects when the first event is asked for. The iteration ends when the
    server answers 204 or after `aclose()`; with `reconnect=False` also when the stream ends.

    A lost or ended connection is made again after the reconnection time, with the last event ID.
    After failures in a row the waits double, up to 30 s. To cancel the task that waits for an event
    closes the connection; the next event asked for makes a new one.

    Args:
        url: The URL, a str or the library's own class; with a `client` that has a base URL, a path.
        method: The request's method.
        headers: Header fields; one of these replaces the default of its name.
        json: A body, sent as JSON with every connection.
        content: A body, sent as it is.
        client: An `httpx.AsyncClient` or `httpx2.AsyncClient`, which stays the caller's: to
            configure and to close. Of its time limits the one for reading is not used.
        last_event_id: The id after which the server is to begin.
        reconnect: Connect again after the end of a connection. Otherwise a clean end ends the
            iteration, and any other raises.
        reconnection_time: Milliseconds to wait before that, until the server says otherwise.
        read_timeout: Seconds without a byte after which a connection counts as lost.
        max_event_size: The limit on one event, in bytes. It bounds memory.
        temporary_statuses: Statuses of a response after which to connect again, not before its
            `Retry-After`. `()` is the standard to the letter.
        on_open: Called with each response whose events are about to be read.
        on_comment: Called with the text of each comment, in order with the events.
        on_error: Called with each failed connection's error before the wait for the next one. What
            it raises ends the iteration. A clean end is no error. The hooks may be async.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
        ImportError: No `client` is given and httpx is not installed.
    """

    def __init__(
        self,
        url: object,
        *,
        method: str = "GET",
        headers: HeadersInput | None = None,
        json: Any = None,  # noqa: ANN401 - whatever JSON can be
        content: str | bytes | None = None,
        client: AsyncClient | None = None,
        last_event_id: str = "",
        reconnect: bool = True,
        reconnection_time: int = 3000,
        read_timeout: float | None = None,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        temporary_statuses: Collection[int] = TEMPORARY_STATUSES,
        on_open: Hook[Any] | None = None,
        on_comment: Hook[str] | None = None,
        on_error: Hook[Exception] | None = None,
    ) -> None:
        request = EventStreamRequest(
            url, method=method, headers=headers, json=json, content=content
        )
        self._inbox = Inbox(
            last_event_id=request.last_event_id if last_event_id == "" else last_event_id,
            max_event_size=max_event_size,
            comments=on_comment is not None,
        )
        if client is not None:
            check_client(client)
        used = make_client() if client is None else client
        self._own_client = used if client is None else None
        self._connections = Connections(
            request,
            used,
            self._inbox,
            Reconnection(check_reconnection_time(reconnection_time)),
            reconnect=check_bool("reconnect", reconnect),
            read_timeout=check_seconds("read_timeout", read_timeout),
            temporary_statuses=check_statuses(temporary_statuses),
        )
        self._on_open = check_hook("on_open", on_open)
        self._on_comment = check_hook("on_comment", on_comment)
        self._on_error = check_hook("on_error", on_error)
        # One that may have effects is not repeated where nothing tells that `text` needs that.
        self._may_repeat = request.method.upper() in ("GET", "HEAD")

    @property
    def last_event_id(self) -> str:
        """The id that the next request would send: the last one of what the iteration has given."""
        return self._inbox.last_event_id

    @property
    def reconnection_time(self) -> int:
        """The milliseconds between connections, as the server last said; at most 2**63 - 1.

        No wait is longer than 2**31 - 1 ms, some 25 days, as in browsers.
        """
        return self._connections.reconnection_time

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageEvent:
        """Return the next event.

        Raises:
            StopAsyncIteration: The stream has ended for good.
            StreamRefusedError: The response is no event stream, or its status is final.
            StreamLostError: The connection failed, and `reconnect` is off.
            EventTooLargeError: An event is over the limit.
            RuntimeError: Another task is waiting for the next event.
        """
        while True:
            item = await self._next()
            if isinstance(item, MessageEvent):
                return item
            if isinstance(item, End) and item.final:
                raise StopAsyncIteration

    async def text(self, framing: Framing = TextFraming()) -> str:  # noqa: B008 - immutable
        """Return the whole text, up to the end marker, then close.

        It goes on over reconnections where the server sends ids: a server that heeds them gives
        what is missing and nothing twice. A stream that breaks off without ids cannot be resumed,
        and that is an error as well; so is a `restart()` of one. Without an end marker the text
        ends with a clean end. A request other than GET or HEAD, which may have effects, is sent
        again only after an id, or where `Retry-After` asks for it.

        Raises:
            TypeError: `framing` is none.
            IncompleteStreamError: The stream has ended for good without its end marker; it carries
                the partial text.
            StreamFailedError: The server sent an event of type "error"; it carries the same.
            StreamLostError: The first connection could not be made.
            StreamRefusedError: The first response was no event stream. Of `temporary_statuses` only
                429 and 500 raise this, and only without `Retry-After`; after others it tries again.
            FramingError: The server uses another framing.
        """
        collector = TextCollector(framing)
        try:
            await self._collect(collector)
        except (StreamLostError, StreamRefusedError) as error:
            if self._connections.opened:
                raise collector.incomplete(str(error)) from error
            raise
        finally:
            await self.aclose()
        return collector.text

    async def restart(self) -> None:
        """Drop the connection and connect again at once, also while another task iterates.

        Events that had arrived are still given first. After `aclose()` this does nothing.
        """
        await self._connections.restart()

    async def aclose(self) -> None:
        """Close the connection and end the iteration, also while another task iterates."""
        self._inbox.clear()
        await self._connections.aclose()
        if self._own_client is not None:
            with anyio.CancelScope(shield=True):
                await self._own_client.aclose()

    async def _collect(self, collector: TextCollector) -> None:
        id_before = self.last_event_id
        while True:
            item = await self._next()
            if isinstance(item, MessageEvent):
                if collector.add(item):
                    return
            elif isinstance(item, IdMoved):
                collector.confirm(item.last_event_id)
            elif not (item.error or item.restarted or collector.has_end_marker):
                return
            else:
                has_id = self.last_event_id not in ("", id_before)
                self._check_resumable(collector, item, has_id=has_id)
                collector.rewind()

    def _check_resumable(self, collector: TextCollector, end: End, *, has_id: bool) -> None:
        """Raise an error if the text cannot go on with the next connection."""
        may_begin = self._may_repeat or end.restarted or end.wait is not None
        is_clean = not (end.error or end.restarted)
        if end.final or (is_clean and not (collector.started or has_id or may_begin)):
            raise collector.incomplete("the stream ended without its end marker")
        if end.error and not self._connections.opened and (not may_begin or _says_no(end)):
            raise end.error
        if not has_id and (collector.started or not may_begin):
            what = "was restarted" if end.restarted else "broke off"
            raise collector.incomplete(
                f"the stream {what}, and its server sends no ids by which to resume it"
            ) from end.error

    async def _next(self) -> MessageEvent | IdMoved | End:
        """Return the next event, or an id without one, or the end of a connection."""
        while True:
            item = self._inbox.take()
            if isinstance(item, MessageEvent | IdMoved):
                return item
            if item is not None:
                await call(self._on_comment, item.text)
                continue
            news = await self._connections.step()
            if isinstance(news, End):
                await self._report(news)
                return news
            if isinstance(news, Opened):
                await call(self._on_open, news.response)

    async def _report(self, end: End) -> None:
        if end.error is None:
            return
        try:
            await call(self._on_error, end.error)
        except Exception:
            await self.aclose()
            raise


def _says_no(end: End) -> bool:
    """Tell whether a first connection's end leaves no reason to try once more."""
    if isinstance(end.error, StreamRefusedError):
        return end.error.status in _REFUSALS and end.wait is None
    return True  # it could not be made
