"""The client's twins for scripts without an event loop."""

import time
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from typing import Any, Protocol, TypeAlias, runtime_checkable

from sse_asgi.client.connections import PIECE
from sse_asgi.client.inbox import Comment, Inbox
from sse_asgi.client.request import (
    Client,
    EventStreamRequest,
    HeadersInput,
    check_client,
    make_client,
)
from sse_asgi.client.response import (
    BODY_LENGTH,
    EVENT_STREAM,
    End,
    Reconnection,
    Response,
    check_hook,
    end_of,
    is_event_stream,
    lost,
    media_type,
    refusal,
)
from sse_asgi.errors import StreamLostError
from sse_asgi.wire.decoder import DEFAULT_MAX_EVENT_SIZE, EventStreamDecoder
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.text import TextCollector

_BODY_TIMEOUT = 1.0

_Events: TypeAlias = Generator[MessageEvent, None, None]


@runtime_checkable
class SyncResponse(Protocol):
    """An `httpx.Response` or `httpx2.Response` of a synchronous client."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body as it arrives, without its content coding."""
        ...


def follow(
    url: object,
    *,
    method: str | None = None,
    headers: HeadersInput | None = None,
    json: Any = None,  # noqa: ANN401 - whatever JSON can be
    content: str | bytes | None = None,
    client: Client | None = None,
    last_event_id: str = "",
    reconnect: bool = True,
    reconnection_time: int = 3000,
    max_wait: float = 300.0,
    read_timeout: float | None = 60.0,
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
    on_comment: Callable[[str], object] | None = None,
    on_error: Callable[[Exception], object] | None = None,
) -> Generator[MessageEvent, None, None]:
    """Yield the events of a URL, reconnecting as `EventSource` does, without an event loop.

    It connects when the first event is asked for, and ends when the server answers 204; with
    `reconnect=False` also when the stream ends. To leave the loop over it, or to call its
    `close()`, closes the connection. Its waits block the thread.

    The options are those of `EventSource`, but the `client` is an `httpx.Client` or an
    `httpx2.Client`, which stays the caller's, and the hooks are sync.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
        ImportError: No `client` is given and httpx is not installed.
        StreamRefusedError: The response is no event stream, or its status is final.
        StreamLostError: The connection failed, and `reconnect` is off.
        EventTooLargeError: An event is over the limit.
    """
    check_hook("on_comment", on_comment)
    check_hook("on_error", on_error)
    if client is not None:
        check_client(client, "Client")
    used: Client = make_client("Client") if client is None else client
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
    inbox = Inbox(
        last_event_id=request.last_event_id,
        max_event_size=max_event_size,
        comments=on_comment is not None,
    )
    reconnection = Reconnection(reconnection_time, enabled=reconnect, max_wait=max_wait)
    events = _follow(request, inbox, reconnection, on_comment, on_error)
    return events if client is not None else _close_after(events, used)


def _close_after(events: _Events, client: Client) -> _Events:
    try:
        yield from events
    finally:
        client.close()


def _follow(
    request: EventStreamRequest,
    inbox: Inbox,
    reconnection: Reconnection,
    on_comment: Callable[[str], object] | None,
    on_error: Callable[[Exception], object] | None,
) -> _Events:
    while True:
        end = yield from _connection(request, inbox, reconnection, on_comment)
        wait = reconnection.after(end)
        if wait is None:
            return
        if on_error and end.error:
            on_error(end.error)
        time.sleep(wait)


def _connection(
    request: EventStreamRequest,
    inbox: Inbox,
    reconnection: Reconnection,
    on_comment: Callable[[str], object] | None,
) -> Generator[MessageEvent, None, End]:
    try:
        response = request.send_sync(inbox.last_event_id)
    except Exception as error:  # noqa: BLE001 - it is raised where it is not the network's
        return End(lost("cannot connect", error, request.url))
    with closing(response):
        if not is_event_stream(response):
            return end_of(response, _beginning(response))
        inbox.connect()
        pieces = _pieces(response.iter_bytes(), request.url)
        while True:
            try:
                data = next(pieces, None)
            except StreamLostError as error:
                return End(error)
            if data is None:
                return End()
            inbox.feed(data)
            reconnection.note_byte(inbox.reconnection_time)
            while item := inbox.take():
                if isinstance(item, MessageEvent):
                    yield item
                elif isinstance(item, Comment) and on_comment:
                    on_comment(item.text)


def iter_events(
    response: SyncResponse | Iterable[bytes],
    *,
    last_event_id: str = "",
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
) -> Iterator[MessageEvent]:
    """Yield the events of a response as they arrive, from one connection.

    Open the response with `client.stream(...)`, so that its body is read as it comes. It stays the
    caller's to close. Instead of a response, any iterable of bytes will do.

    Args:
        response: The response of httpx or httpx2, or the bytes of its body.
        last_event_id: The id that the request carried.
        max_event_size: The limit on one event, in bytes.

    Raises:
        TypeError: An argument has a wrong type; bytes alone are no iterable of bytes.
        StreamRefusedError: Its status is neither 200 nor 204, or it has another content type than
            text/event-stream. No content type at all is let pass. The error's `body` is what comes
            within a second, or until the client's own limit for reading.
        StreamLostError: The connection broke off.
        EventTooLargeError: An event is over the limit.
    """
    decoder = EventStreamDecoder(last_event_id=last_event_id, max_event_size=max_event_size)
    return (event for data in _pieces(_body(response)) for event in decoder.feed(data))


def collect_text(
    response: SyncResponse | Iterable[bytes],
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
        IncompleteStreamError: The stream ended, or broke off, without its end marker; it carries
            the partial text.
        StreamFailedError: The server sent an event of type "error"; it carries the partial text.
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


def _pieces(chunks: Iterable[bytes], url: object = None) -> Iterator[bytes]:
    """Cut what comes into pieces, each of which has a bounded number of events."""
    chunks = iter(chunks)
    while True:
        try:
            chunk = next(chunks, None)
        except Exception as error:
            raise lost("the connection broke off", error, url) from error
        if chunk is None:
            return
        for at in range(0, len(chunk), PIECE):
            yield chunk[at : at + PIECE]


def _beginning(response: Response) -> bytes:
    body = b""
    deadline = time.monotonic() + _BODY_TIMEOUT
    with suppress(Exception):  # what had come will do
        for data in response.iter_bytes():
            body += data
            if len(body) >= BODY_LENGTH or time.monotonic() > deadline:
                break
    return body


def _body(response: SyncResponse | Iterable[bytes]) -> Iterable[bytes]:
    is_bytes = isinstance(response, type | str | bytes | bytearray | memoryview)
    if is_bytes or not isinstance(response, SyncResponse | Iterable):
        raise TypeError(
            "response must be a response of httpx or httpx2, or an iterable of bytes, not of type "
            f"{type(response).__name__}: give what client.stream(...) opens, or the body's bytes "
            "in a list"
        )
    if not isinstance(response, SyncResponse):
        return response
    _check(response)
    return response.iter_bytes()


def _check(response: Response) -> None:
    body = getattr(response, "stream", None)
    is_async = isinstance(body, AsyncIterable) and not isinstance(body, Iterable)
    if is_async and not response.is_stream_consumed:
        raise TypeError(
            "response is one of an AsyncClient: open it with a Client, or use EventSource, which "
            "makes its own connections"
        )
    has_type = "content-type" in response.headers
    is_stream = media_type(response) == EVENT_STREAM or not has_type
    if response.status_code != 204 and not (response.status_code == 200 and is_stream):
        raise refusal(response, _beginning(response))
