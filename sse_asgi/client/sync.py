"""The client's twins for scripts without an event loop."""

from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any, TypedDict, TypeVar, Unpack, cast

from sse_asgi.client.connection import BlockingConnection, HTTPClient, Response
from sse_asgi.client.response import EVENT_STREAM, lost, media_type, refusal
from sse_asgi.client.source import Source
from sse_asgi.errors import StreamLostError
from sse_asgi.headers import HeadersInput
from sse_asgi.wire.decoder import DEFAULT_MAX_EVENT_SIZE, EventStreamDecoder
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.text import TextCollector

T = TypeVar("T")
_SOLID: tuple[type, ...] = (type, str, bytes, bytearray, memoryview)  # no iterables of bytes


class FollowOptions(TypedDict, total=False):
    """The options of `follow`."""

    method: str | None
    headers: HeadersInput | None
    json: Any
    content: str | bytes | None
    client: HTTPClient | None
    last_event_id: str
    reconnect: bool
    reconnection_time: int
    max_wait: float
    read_timeout: float | None
    max_event_size: int
    on_comment: Callable[[str], object] | None
    on_error: Callable[[Exception], object] | None


def follow(url: object, **options: Unpack[FollowOptions]) -> Generator[MessageEvent, None, None]:
    """Yield the events of a URL, reconnecting as `EventSource` does, without an event loop.

    The options, limits and errors are those of `EventSource`, but the hooks are sync, and the
    `client` is an `httpx.Client` or `httpx2.Client`. Its waits block the thread. Leaving the loop
    over it, or calling its `close()`, closes the connection.

    Raises:
        TypeError, ValueError, ImportError: As `EventSource`, at once.
        StreamRefusedError, StreamLostError, EventTooLargeError: As its iteration.
    """
    return _BlockingSource(url, **options).events()


class _BlockingSource(Source):
    _kind = BlockingConnection

    def events(self) -> Generator[MessageEvent, None, None]:
        try:
            while True:
                yield _result(self._next_event())
        except StopAsyncIteration:
            return
        finally:
            _result(self._close())


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    coroutine.close()
    raise TypeError("the hooks of follow must be sync: for others there is EventSource")


def iter_events(
    response: Response | Iterable[bytes],
    *,
    last_event_id: str = "",
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
) -> Iterator[MessageEvent]:
    """Yield the events of a response as they arrive, from one connection.

    Args:
        response: What `client.stream(...)` of httpx or httpx2 opens, which stays the caller's to
            close; or any iterable of bytes.
        last_event_id: The id that the request carried.
        max_event_size: The limit on one event, in bytes.

    Raises:
        TypeError: An argument has a wrong type; bytes alone are no iterable of bytes.
        StreamRefusedError: Its status is neither 200 nor 204, or it has another content type than
            text/event-stream; one without a content type is accepted. The error's `body` has what
            comes within a second, or until the client's own limit for reading.
        StreamLostError: The connection broke off.
        EventTooLargeError: An event is over the limit.
    """
    decoder = EventStreamDecoder(last_event_id=last_event_id, max_event_size=max_event_size)
    pieces = _pieces(_connection_of(response))
    return (event for piece in pieces for event in decoder.feed(piece))


def collect_text(
    response: Response | Iterable[bytes],
    framing: Framing = TextFraming(),  # noqa: B008 - immutable
    *,
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
) -> str:
    """Return the whole text of a response, up to the end marker.

    Args:
        response: As for `iter_events`.
        framing: How the text travels. Without an end marker the text ends with the body.
        max_event_size: The limit on one event, in bytes.

    Raises:
        IncompleteStreamError: It ended, or broke off, without its end marker; has the text so far.
        StreamFailedError: The server sent an event of type "error"; has the text so far.
        StreamRefusedError: As for `iter_events`.
        FramingError: The server uses another framing.
    """
    collector = TextCollector(framing)
    try:
        for event in iter_events(response, max_event_size=max_event_size):
            if collector.add(event):
                return collector.text
    except StreamLostError as error:
        raise collector.incomplete(str(error)) from error
    if collector.has_end_marker:
        raise collector.incomplete("the stream ended without its end marker")
    return collector.text


def _pieces(connection: BlockingConnection) -> Iterator[bytes]:
    try:
        while piece := _result(connection.read()):
            yield piece
    except Exception as error:
        raise lost("the connection broke off", error) from error


def _connection_of(response: Response) -> BlockingConnection:
    is_bytes = isinstance(response, _SOLID)
    is_response = hasattr(response, "iter_bytes")
    if is_bytes or not (is_response or hasattr(response, "__iter__")):
        raise TypeError(
            "response must be a response of httpx or httpx2, or an iterable of bytes, not of type "
            f"{type(response).__name__}: give what client.stream(...) opens"
        )
    connection = BlockingConnection(response)
    if is_response and response.status_code != 204:
        is_stream = media_type(response) in (EVENT_STREAM, "")
        if response.status_code != 200 or not is_stream:
            raise refusal(response, _result(connection.read_beginning()))
    return connection
