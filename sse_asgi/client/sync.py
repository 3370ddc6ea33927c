"""The client's twins for scripts without an event loop: they read a response that is there."""

from collections.abc import AsyncIterable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from sse_asgi.client.http import may_pass, reason
from sse_asgi.client.response import TEMPORARY_STATUSES, Verdict, explain, judge, media_type
from sse_asgi.client.url import shown_url
from sse_asgi.errors import StreamLostError, StreamRefusedError
from sse_asgi.wire.decoder import DEFAULT_MAX_EVENT_SIZE, EventStreamDecoder
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.text import TextCollector


@runtime_checkable
class SyncResponse(Protocol):
    """An `httpx.Response` or `httpx2.Response` of a synchronous client."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body as it arrives, without its content coding."""
        ...


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
            text/event-stream. No content type at all is let pass.
        StreamLostError: The connection broke off.
        EventTooLargeError: An event is over the limit.
    """
    decoder = EventStreamDecoder(last_event_id=last_event_id, max_event_size=max_event_size)
    return _decode(decoder, _body(response))


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


def _decode(decoder: EventStreamDecoder, body: Iterable[bytes]) -> Iterator[MessageEvent]:
    try:
        for data in body:
            yield from decoder.feed(data)
    except Exception as error:
        if not may_pass(error):
            raise
        raise StreamLostError(f"the connection broke off: {reason(error)}") from error


def _body(response: SyncResponse | Iterable[bytes]) -> Iterable[bytes]:
    _check_type(response)
    if not isinstance(response, SyncResponse):
        return response
    _check_is_sync(response)
    _check(response)
    return response.iter_bytes()


def _check_type(response: object) -> None:
    if not _is_readable(response):
        raise TypeError(
            "response must be a response of httpx or httpx2, or an iterable of bytes, not of type "
            f"{type(response).__name__}: give what client.stream(...) opens, or the body's bytes "
            "in a list"
        )


def _check_is_sync(response: Any) -> None:  # noqa: ANN401 - of either library
    body = getattr(response, "stream", None)
    is_async = isinstance(body, AsyncIterable) and not isinstance(body, Iterable)
    if is_async and not response.is_stream_consumed:
        raise TypeError(
            "response is one of an AsyncClient: open it with a Client, or use EventSource, which "
            "makes its own connections"
        )


def _is_readable(value: object) -> bool:
    if isinstance(value, type | str | bytes | bytearray | memoryview):
        return False
    return isinstance(value, SyncResponse | Iterable)


def _check(response: Any) -> None:  # noqa: ANN401 - of either library
    content_type = media_type(response.headers)
    has_one = bool(response.headers.get_list("content-type"))
    lenient = content_type if has_one else "text/event-stream"
    verdict = judge(response.status_code, lenient, temporary=TEMPORARY_STATUSES)
    if verdict in (Verdict.TEMPORARY, Verdict.REFUSED):
        status, url = response.status_code, _url(response)
        raise StreamRefusedError(
            explain(status, response.headers, shown_url(url)),
            status=status,
            content_type=content_type,
            url=url,
        )


def _url(response: Any) -> str:  # noqa: ANN401
    try:
        return str(response.url)
    except RuntimeError:  # a response that was made by hand has none
        return "the server"
