"""EventSource: events from a URL, for as long as its server has some.

The processing model is the HTML standard's, sections 9.2.2 and 9.2.3, outside the browser:
https://html.spec.whatwg.org/multipage/server-sent-events.html

Where this differs from it, deliberately:

1. Some statuses are temporary: see `TEMPORARY_STATUSES`. Servers are restarted, and to the standard
   one 503 ends an `EventSource` for good.
2. Every wait has a random part and is at least 0.1 s, and after failures in a row the waits grow.
   The standard allows it. It does not allow `max_wait`: a server may ask for weeks.
3. An id that no header field can carry is not sent: such a request would fail for ever.
"""

import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import anyio

from sse_asgi.client.connections import Connections
from sse_asgi.client.inbox import IdMoved, Inbox
from sse_asgi.client.request import (
    AsyncClient,
    EventStreamRequest,
    HeadersInput,
    check_client,
    make_client,
)
from sse_asgi.client.response import End, Reconnection, check_hook
from sse_asgi.errors import StreamLostError, StreamRefusedError
from sse_asgi.wire.decoder import DEFAULT_MAX_EVENT_SIZE
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.text import TextCollector

LONGEST_OUTAGE = 60.0
"""Seconds without a connection that gives a byte, after which `text` gives up."""

_REFUSALS: Final = (429, 500)  # of a server that is there, unlike 502, 503 and 504

T = TypeVar("T")
Hook: TypeAlias = Callable[[T], Awaitable[object] | object]


class EventSource:
    """Receive the events of a URL, reconnecting as a browser's `EventSource` does.

    An async context manager and an async iterator of `MessageEvent`, under asyncio or trio, for
    one task at a time. It connects when the first event is asked for. The iteration ends when the
    server answers 204 or after `aclose()`; with `reconnect=False` also when the stream ends.

    A lost or ended connection is made again after the reconnection time, with the last event ID.
    After failures in a row the waits double, up to 30 s. Each wait is at least 0.1 s, at most
    `max_wait`, and then longer by a random part of up to a half. To cancel the task that waits for
    an event closes the connection; the next event asked for makes a new one.

    Redirects are followed. Within the origin they carry all header fields; to another origin only
    those that say nothing of the caller, such as `Accept`, and no credentials.

    Args:
        url: The URL, a str or the library's own class; with a `client` that has a base URL, a path.
        method: The request's method; by default GET, or POST with `json` or `content`.
        headers: Header fields; one of these replaces the default of its name.
        json: A body, sent as JSON with every connection.
        content: A body, sent as it is.
        client: An `httpx.AsyncClient` or `httpx2.AsyncClient`, which stays the caller's: to
            configure and to close. Of its time limits the one for reading is not used.
        last_event_id: The id after which the server is to begin.
        reconnect: Connect again after the end of a connection. Otherwise a clean end ends the
            iteration, and any other raises.
        reconnection_time: Milliseconds to wait before that, until the server says otherwise.
        max_wait: The most seconds that `retry` and `Retry-After` may ask for.
        read_timeout: Seconds without a byte after which a connection counts as lost; None for no
            limit. A server of this library sends a keep-alive every 15 s.
        max_event_size: The limit on one event, in bytes. It bounds memory.
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
        method: str | None = None,
        headers: HeadersInput | None = None,
        json: Any = None,  # noqa: ANN401 - whatever JSON can be
        content: str | bytes | None = None,
        client: AsyncClient | None = None,
        last_event_id: str = "",
        reconnect: bool = True,
        reconnection_time: int = 3000,
        max_wait: float = 300.0,
        read_timeout: float | None = 60.0,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Hook[str] | None = None,
        on_error: Hook[Exception] | None = None,
    ) -> None:
        check_hook("on_comment", on_comment)
        check_hook("on_error", on_error)
        if client is not None:
            check_client(client, "AsyncClient")
        used: AsyncClient = make_client("AsyncClient") if client is None else client
        self._own_client = used if client is None else None
        request = EventStreamRequest(
            used,
            url,
            method=method,
            headers=headers,
            json=json,
            content=content,
            last_event_id=last_event_id,
            read_timeout=read_timeout,
        )
        self._inbox = Inbox(
            last_event_id=request.last_event_id,
            max_event_size=max_event_size,
            comments=on_comment is not None,
        )
        reconnection = Reconnection(reconnection_time, enabled=reconnect, max_wait=max_wait)
        self._connections = Connections(request, self._inbox, reconnection)
        self._on_comment = on_comment
        self._on_error = on_error
        # One that may have effects is not repeated where nothing tells that `text` needs that.
        self._may_repeat = request.method.upper() in ("GET", "HEAD")

    @property
    def last_event_id(self) -> str:
        """The id that the next request would send: the last one of what the iteration has given."""
        return self._inbox.last_event_id

    @property
    def reconnection_time(self) -> int:
        """The milliseconds between connections, as the server last said; at most 2**63 - 1.

        No wait for it is longer than `max_wait`.
        """
        return self._connections.reconnection.time

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

        It gives up at the first failure after 60 s, in sum, in which no connection gave a byte;
        each event sets the sum back to 0. A server that is gone, answers 503 without end or never
        sends a byte is thus given up after 60 s, one wait and one connection, which may take
        `read_timeout`. One that sends keep-alives is waited for.

        Raises:
            TypeError: `framing` is none.
            IncompleteStreamError: The stream has ended for good without its end marker, or its
                server is out of reach; it carries the partial text.
            StreamFailedError: The server sent an event of type "error"; it carries the same.
            StreamLostError: The first connection could not be made.
            StreamRefusedError: No event stream has come before it gave up. 429 and 500 without
                `Retry-After` raise this at once, other temporary statuses after 60 s.
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
        reconnection = self._connections.reconnection
        reconnection.outage = 0.0
        while True:
            item = await self._next()
            if isinstance(item, MessageEvent):
                reconnection.outage = 0.0
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
        if not end.restarted and self._connections.reconnection.outage >= LONGEST_OUTAGE:
            ended = collector.incomplete("the connections ended, for a minute, with no event")
            raise end.error or ended

    async def _next(self) -> MessageEvent | IdMoved | End:
        """Return the next event, or an id without one, or the end of a connection."""
        while True:
            item = self._inbox.take()
            if isinstance(item, MessageEvent | IdMoved):
                return item
            if item is not None:
                await _call(self._on_comment, item.text)
            elif end := await self._connections.step():
                await self._report(end)
                return end

    async def _report(self, end: End) -> None:
        if end.error is None:
            return
        try:
            await _call(self._on_error, end.error)
        except Exception:
            await self.aclose()
            raise


async def _call(hook: Hook[T] | None, value: T) -> None:
    result = hook(value) if hook is not None else None
    if inspect.isawaitable(result):
        await result


def _says_no(end: End) -> bool:
    """Tell whether a first connection's end leaves no reason to try once more."""
    if isinstance(end.error, StreamRefusedError):
        return end.error.status in _REFUSALS and end.wait is None
    return True  # it could not be made
