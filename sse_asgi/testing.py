"""A client in process, for tests: it drives any ASGI app event by event, and can leave.

It needs no server, works under asyncio and trio, and reads endless streams, which transports
that collect the whole response first cannot.
"""

import asyncio
import json as jsonlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, unquote

import anyio

from sse_asgi.asgi import ASGIApp, Message, Scope
from sse_asgi.errors import StreamRefusedError
from sse_asgi.host.loops import in_asyncio
from sse_asgi.source.request import Headers
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.text import TextCollector

BUFFER_SIZE: Final = 65_536
"""Bytes that the app may send ahead of the reader; then its `send` blocks, as on a server."""

END_TIMEOUT: Final = 10.0
"""Seconds that an app may take to end once the client has left."""

_SAFE: Final = "%/?:@!$&'()*+,;=~"
"""What stands in a path or query as it is (RFC 3986, 3.3 and 3.4); `%` begins what is encoded."""


@asynccontextmanager
async def connect(
    app: ASGIApp,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    json: Any = None,  # noqa: ANN401 - whatever JSON can be
) -> AsyncGenerator["Connection", None]:
    """Send one request to an app, and yield the connection once the response has started.

    Leaving the block disconnects, if the response has not ended by then, and waits for the app.

    Args:
        app: Any ASGI application.
        path: The path, and the query if there is one: `"/answer?prompt=hi"`.
        method: The request method.
        headers: Request headers.
        json: A body, sent as JSON.

    Raises:
        Exception: What the app raised before its response started, as the server would see it.
            What it raises later is in `connection.error`: a client never sees more than the end.
        RuntimeError: The app ended without a response, or did not end within 10 s of the
            disconnect.
    """
    body = b"" if json is None else jsonlib.dumps(json).encode()
    connection = Connection(body)
    async with _running(app, _scope(path, method, _fields(body, headers or {})), connection):
        await connection.started()
        yield connection


@asynccontextmanager
async def _running(
    app: ASGIApp, scope: Scope, connection: "Connection"
) -> AsyncGenerator[None, None]:
    """Run the app beside the block; at the block's end leave, and wait for the app.

    What the block raises comes out as itself, not in the task group's exception group.
    """
    error: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.run, app, scope)
        try:
            yield
        except (anyio.get_cancelled_exc_class(), GeneratorExit):
            raise
        except BaseException as caught:  # noqa: BLE001 - raised below, outside of the group
            error = caught
        finally:
            with anyio.CancelScope(shield=True):
                await connection.leave()
            tasks.cancel_scope.cancel()
    try:
        if error is not None:
            raise error
        connection.check_ended()
    finally:
        del error  # its traceback holds this frame


class Connection:
    """The client's end of one request: an async iterator of the events as they come.

    Attributes:
        status: The response's status.
        headers: The response's header fields; names compare without regard to case.
        error: What the app raised after its response had started, if it did.
        decoder: The decoder of the stream, with `last_event_id` and `reconnection_time`.
    """

    def __init__(self, body: bytes) -> None:
        self.status: int = 0
        self.headers: Headers = Headers([])
        self.error: BaseException | None = None
        self.decoder: EventStreamDecoder = EventStreamDecoder()
        self._body = body
        self._requests = 0
        self._buffer = bytearray()
        self._events: deque[MessageEvent] = deque()
        self._gone = False  # the client
        self._complete = False  # the response's body
        self._ended = False  # the app
        self._overdue = False  # it has not ended in time
        self._changed = anyio.Event()

    def __aiter__(self) -> "Connection":
        return self

    async def __anext__(self) -> MessageEvent:
        while not self._events:
            data = await self.read()
            if not data:
                raise StopAsyncIteration
            self._events.extend(self.decoder.feed(data))
        return self._events.popleft()

    async def read(self) -> bytes:
        """Wait for bytes of the body and return them; `b""` at its end."""
        while not self._buffer and not (self._complete or self._ended or self._gone):
            await self._changed.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._notify()
        return data

    async def disconnect(self) -> None:
        """Leave, as a client does that closes its connection, and wait until the app has ended.

        Raises:
            RuntimeError: It has not ended within 10 s.
        """
        await self.leave()
        self.check_ended()

    async def leave(self) -> None:
        """Leave, and give the app its time to end; `connect` does."""
        self._gone = True
        self._notify()
        with anyio.move_on_after(END_TIMEOUT):
            while not self._ended:
                await self._changed.wait()
        self._overdue = not self._ended

    def check_ended(self) -> None:
        """Raise if the app did not end in time; `connect` does."""
        if self._overdue:
            raise RuntimeError(f"the app has not ended within {END_TIMEOUT} s of the disconnect")

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Drive the app from its call to its end; `connect` does."""
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - kept for the test to see
            self.error = error
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            self.error = error  # of the app's own making
        finally:
            self._ended = True
            self._notify()

    async def started(self) -> None:
        """Wait for the response to start; `connect` does."""
        while not self.status and not self._ended:
            await self._changed.wait()
        if not self.status:
            if isinstance(self.error, Exception):
                raise self.error
            raise RuntimeError("the app has ended without a response") from self.error

    async def _receive(self) -> Message:
        self._requests += 1
        if self._requests == 1:
            return {"type": "http.request", "body": self._body, "more_body": False}
        while not (self._gone or self._complete):
            await self._changed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._complete:
            raise RuntimeError(f"the app sent {message['type']} after the end of the body")
        if (message["type"] == "http.response.start") == bool(self.status):
            order = "twice" if self.status else "before the start of the response"
            raise RuntimeError(f"the app sent {message['type']} {order}")
        if message["type"] == "http.response.start":
            self.headers = Headers(list(message.get("headers", ())))
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            while len(self._buffer) >= BUFFER_SIZE and not self._gone:
                await self._changed.wait()
            if not self._gone:
                self._buffer += message.get("body", b"")
            self._complete = not message.get("more_body", False)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


async def collect_text(
    connection: Connection,
    framing: Framing = TextFraming(),  # noqa: B008 - immutable
) -> str:
    """Return the whole text of a connection, up to the end marker.

    Without an end marker the text ends with the response.

    Args:
        connection: The connection, of which nothing has been read.
        framing: The framing of the app.

    Raises:
        IncompleteStreamError: The stream ended without its end marker; it carries the partial text.
        StreamFailedError: The app sent an event of type "error"; it carries the partial text.
        FramingError: The app uses another framing.
        StreamRefusedError: The response has another content type than text/event-stream. One
            without a content type is accepted, unless its status is an error.
    """
    _check_type(connection)
    collector = TextCollector(framing)
    async for event in connection:
        if collector.add(event):
            return collector.text
    if collector.has_end_marker:
        raise collector.incomplete("the stream ended without its end marker")
    return collector.text


def _check_type(connection: Connection) -> None:
    value = connection.headers.get("content-type", "")
    content_type = value.partition(";")[0].strip().lower()
    status = connection.status
    if content_type == "text/event-stream" or (not content_type and status < 400):
        return
    found = f"the content type {content_type}" if content_type else "no content type"
    raise StreamRefusedError(
        f"the app answered with status {status} and {found}, which is no event stream: check the "
        "path, the method, the headers and the body of the request, or look at what it says, with "
        "connection.read()",
        status=status,
        content_type=content_type,
    )


def _is_cancelled() -> bool:
    task = asyncio.current_task() if in_asyncio() else None
    return task is None or task.cancelling() > 0


def _fields(body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    fields = {"host": "testserver"}
    if body:
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    return fields | {name.lower(): value for name, value in headers.items()}


def _scope(path: str, method: str, headers: Mapping[str, str]) -> Scope:
    path, _, query = path.partition("?")
    raw_path = quote(path, safe=_SAFE)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": quote(query, safe=_SAFE).encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ],
        "client": ("testclient", 50000),
        "server": ("testserver", 80),
    }
