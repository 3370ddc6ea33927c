"""EventSource: events from a URL, for as long as its server has some.

It follows https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.2 and 9.2.3, but for
this: some statuses are temporary, `max_wait` bounds waits, and an unfit id is not sent.
"""

from typing import Self

import anyio

from sse_asgi.client.response import End
from sse_asgi.client.source import IdMoved, Source
from sse_asgi.errors import StreamLostError, StreamRefusedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.text import TextCollector

LONGEST_OUTAGE = 60.0  # seconds without a byte, after which `text` gives up
_ENDED_EARLY = "ended without its end marker"
_NO_ANSWER = (None, 429, 500)  # no server, or one that says no, unlike 502, 503 and 504


class EventSource(Source):
    """Receive the events of a URL, reconnecting as a browser's `EventSource` does.

    An async context manager and an async iterator of `MessageEvent`, under asyncio or trio, for
    one task at a time. It connects when the first event is asked for. The iteration ends when the
    server answers 204 or after `aclose()`; with `reconnect=False` also when the stream ends.
    A lost or ended connection is made again after the reconnection time, with the last event ID.
    After failures in a row the waits double, up to 30 s. Each wait is at least 0.1 s, at most
    `max_wait`, and then longer by a random part of up to a half. Cancelling the task that waits
    for an event closes the connection; the next event asked for makes a new one. Redirects to
    another origin carry only header fields that say nothing of the caller, and no credentials.

    Args:
        url: The URL, a str or the library's own class; with a `client` that has a base URL, a path.
        method: The request's method; by default GET, or POST with `json` or `content`.
        headers: Header fields; one of these replaces the default of its name.
        json: A body, sent as JSON with every connection.
        content: A body, sent as it is.
        client: An `AsyncClient` of httpx or httpx2, the caller's to close. `read_timeout` is ours.
        last_event_id: The id after which the server is to begin.
        reconnect: Connect again after an end. If not, all but a clean end raise.
        reconnection_time: Milliseconds to wait before that, until the server says otherwise.
        max_wait: The most seconds that `retry` and `Retry-After` may ask for.
        read_timeout: Seconds without a byte after which a connection counts as lost, or None.
        max_event_size: The limit on one event, in bytes. It bounds memory.
        on_comment: Called with the text of each comment, in order with the events.
        on_error: Called with each failed connection's error before the wait for the next one. A
            clean end is no error. The hooks may be async; what they raise ends the iteration.

    Attributes:
        last_event_id: The id of what the iteration has given, which the next request sends.
        reconnection_time: Milliseconds, as the server last said; at most 2**63 - 1.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
        ImportError: No `client` is given and httpx is not installed.
    """

    _waiting: tuple[anyio.CancelScope, anyio.Event] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageEvent:
        """Return the next event.

        Raises:
            StreamRefusedError: The response is no event stream, or its status is final.
            StreamLostError: The connection failed, and `reconnect` is off.
            EventTooLargeError: An event is over the limit.
            RuntimeError: Another task waits for the next event.
        """
        return await self._next_event()

    async def text(self, framing: Framing = TextFraming()) -> str:  # noqa: B008 - immutable
        """Return the whole text, up to the end marker, then close.

        It goes on over reconnections where the server sends ids: a server that heeds them gives
        what is missing and nothing twice. Without ids a stream that breaks off, or is restarted,
        is an error. Without an end marker the text ends with a clean end. A request other than GET
        or HEAD is sent again only after an id, or where `Retry-After` asks for it. It gives up
        after 60 s, in sum since the last event, in which no connection gave a byte.

        Raises:
            TypeError: `framing` is no `Framing`.
            IncompleteStreamError: The stream ended too early for good; has the text so far.
            StreamFailedError: The server sent an event of type "error"; has the text so far.
            StreamLostError: The first connection could not be made.
            StreamRefusedError: No event stream has come; 429 and 500 without `Retry-After` raise
                this at once, other temporary statuses after 60 s.
            FramingError: The server uses another framing.
        """
        collector = TextCollector(framing)
        try:
            await self._collect(collector)
        except (StreamLostError, StreamRefusedError) as error:
            if self._opened:
                raise collector.incomplete(str(error)) from error
            raise
        finally:
            await self.aclose()
        return collector.text

    async def restart(self) -> None:
        """Connect again at once, also while another task iterates; what had come is given first."""
        if not self._ended:
            self._items.append(End(restarted=True))
            self._ends = 0
            self._due = 0.0
            await self._interrupt()

    async def aclose(self) -> None:
        """Close the connection and end the iteration, also while another task iterates."""
        self._ended = True
        with anyio.CancelScope(shield=True):
            await self._interrupt()
            await self._close()

    async def _collect(self, collector: TextCollector) -> None:
        id_before = self.last_event_id
        self._outage = 0.0
        while True:
            try:
                item = await self._next()
            except StopAsyncIteration:
                if collector.has_end_marker:
                    raise collector.incomplete(f"the stream {_ENDED_EARLY}") from None
                return
            if isinstance(item, MessageEvent):
                self._outage = 0.0
                if collector.add(item):
                    return
            elif isinstance(item, IdMoved):
                collector.confirm(item.last_event_id)
            elif isinstance(item, End):
                if not (item.error or item.restarted or collector.has_end_marker):
                    return
                has_id = self.last_event_id not in ("", id_before)
                self._check_resumable(collector, item, has_id=has_id)
                collector.rewind()

    def _check_resumable(self, collector: TextCollector, end: End, *, has_id: bool) -> None:
        """Raise an error if the text cannot go on with the next connection."""
        is_asked = end.restarted or end.wait is not None
        may_repeat = is_asked or self._request.method.upper() in ("GET", "HEAD")
        says_no = getattr(end.error, "status", None) in _NO_ANSWER and not is_asked
        if end.error and not self._opened and (says_no or not may_repeat):
            raise end.error
        if not has_id and (collector.started or not may_repeat):
            how = "broke off" if end.error else _ENDED_EARLY
            how = "was restarted" if end.restarted else how
            raise collector.incomplete(f"the stream {how}; its server sends no ids") from end.error
        if self._outage >= LONGEST_OUTAGE:
            raise end.error or collector.incomplete("no event came for a minute")

    async def _step(self) -> None:
        if self._waiting is not None:
            raise RuntimeError("another task is waiting for the next event of this EventSource")
        scope, done = self._waiting = anyio.CancelScope(), anyio.Event()
        try:
            with scope:
                await super()._step()
            if scope.cancel_called:
                await self._drop()
        except BaseException as error:
            # An error is final; a cancellation of the task is not, but closes the connection.
            self._ended = self._ended or isinstance(error, Exception)
            await self._drop()
            raise
        finally:
            self._waiting = None
            done.set()

    async def _interrupt(self) -> None:
        if self._waiting is None:
            await self._drop()
        else:
            scope, done = self._waiting
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await done.wait()
