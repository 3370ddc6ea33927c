"""One connection after the other, for one task that waits and others that interrupt it."""

from collections.abc import Collection
from dataclasses import dataclass

import anyio

from sse_asgi.client.connection import Connection
from sse_asgi.client.http import AsyncClient, Response, may_pass, reason
from sse_asgi.client.inbox import Inbox
from sse_asgi.client.reconnection import Reconnection, retry_after
from sse_asgi.client.request import EventStreamRequest
from sse_asgi.client.response import Verdict, explain, judge, media_type
from sse_asgi.client.url import shown_url
from sse_asgi.errors import SSEError, StreamLostError, StreamRefusedError


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection is open: its events come next."""

    response: Response


@dataclass(frozen=True, slots=True)
class End:
    """A connection has ended."""

    error: SSEError | None = None  # None for a clean end
    wait: float | None = None  # seconds that the server asks for before the next one, if it does
    final: bool = False  # there is no next one
    restarted: bool = False  # on the user's word, whether or not there was a connection


class Connections:
    """Connect, read, and connect again, by the rules of HTML 9.2.2 and 9.2.3.

    Args:
        request: What is sent for each connection.
        client: What sends it.
        inbox: Where the bytes go.
        reconnection: How long to wait.
        reconnect: Whether to connect more than once.
        read_timeout: Seconds without a byte after which a connection is lost.
        temporary_statuses: After which to connect again.
    """

    def __init__(
        self,
        request: EventStreamRequest,
        client: AsyncClient,
        inbox: Inbox,
        reconnection: Reconnection,
        *,
        reconnect: bool,
        read_timeout: float | None,
        temporary_statuses: Collection[int],
    ) -> None:
        self.opened = False  # ever
        self._request = request
        self._client = client
        self._inbox = inbox
        self._reconnection = reconnection
        self._reconnect = reconnect
        self._read_timeout = read_timeout
        self._temporary = temporary_statuses
        self._connection: Connection | None = None
        self._due = 0.0  # when to connect, by the event loop's clock
        self._closed = False
        self._restarted = False  # and that is not told yet
        self._scope: anyio.CancelScope | None = None  # around the wait of the task that steps
        self._waited = anyio.Event()

    @property
    def reconnection_time(self) -> int:
        """The reconnection time, in milliseconds."""
        return self._reconnection.time

    async def step(self) -> Opened | End | None:
        """Connect, or read once; None says that there may be something in the inbox.

        Raises:
            SSEError: The last connection has failed.
            RuntimeError: Another task is stepping.
        """
        if self._closed:
            return End(final=True)
        if self._restarted:
            self._restarted = False
            return End(restarted=True)
        news = await self._step()
        if isinstance(news, End):
            await self._drop()
            return self._follow(news)
        return news

    async def restart(self) -> None:
        """Drop the connection; the next one is due at once."""
        if not self._closed:
            self._reconnection.reset()
            self._due = 0.0
            self._restarted = True
            await self._interrupt()

    async def aclose(self) -> None:
        """Drop the connection; there is no next one."""
        self._closed = True
        await self._interrupt()

    def _follow(self, end: End) -> End:
        """Prepare for what follows the end of a connection."""
        if self._reconnect and not end.final:
            self._due = anyio.current_time() + self._reconnection.delay(at_least=end.wait or 0.0)
            return end
        self._closed = True
        if end.error:
            raise end.error
        return End(final=True)

    async def _step(self) -> Opened | End | None:
        if self._scope is not None:
            raise RuntimeError("another task is waiting for the next event of this EventSource")
        self._waited = anyio.Event()
        news: Opened | End | None = None
        try:
            with anyio.CancelScope() as self._scope:
                news = await self._read_or_connect()
            if not self._scope.cancel_called:
                return news
            await self._drop()
        except BaseException as error:
            # An error is final; a cancellation of the task is not, but closes the connection.
            self._closed = self._closed or isinstance(error, Exception)
            await self._drop()
            raise
        finally:
            self._scope = None
            self._waited.set()
        return None

    async def _interrupt(self) -> None:
        if self._scope is None:
            return await self._drop()
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._waited.wait()
        return None

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def _read_or_connect(self) -> Opened | End | None:
        if self._connection is not None:
            return await self._read(self._connection)
        await anyio.sleep_until(self._due)
        return await self._connect()

    async def _connect(self) -> Opened | End:
        try:
            response = await self._request.send(
                self._client,
                last_event_id=self._inbox.last_event_id,
                read_timeout=self._read_timeout,
            )
        except Exception as error:
            if not may_pass(error):
                raise
            return self._lost("cannot connect", error)
        self._connection = Connection(response)
        return await self._open(self._connection)

    async def _open(self, connection: Connection) -> Opened | End:
        response = connection.response
        content_type = media_type(response.headers)
        verdict = judge(response.status_code, content_type, temporary=self._temporary)
        if verdict is Verdict.OPEN and connection.is_readable:
            self.opened = True
            self._inbox.connect()
            return Opened(response)
        if verdict is Verdict.FINISHED:
            return End(final=True)
        error = await _refusal(connection, content_type)
        if verdict is Verdict.TEMPORARY:
            return End(error, wait=_asked_wait(response))
        raise error

    async def _read(self, connection: Connection) -> End | None:
        try:
            data = await connection.read()
        except Exception as error:
            if not may_pass(error):
                raise
            return self._lost("the connection broke off", error)
        if data is None:
            return End()
        self._reconnection.reset()
        self._inbox.feed(data)
        time = self._inbox.reconnection_time
        if time is not None:
            self._reconnection.time = time
        return None

    def _lost(self, what: str, cause: Exception) -> End:
        error = StreamLostError(f"{shown_url(self._request.url)}: {what}: {reason(cause)}")
        error.__cause__ = cause
        return End(error)


async def _refusal(connection: Connection, content_type: str) -> StreamRefusedError:
    response = connection.response
    status, url = response.status_code, str(response.url)
    message = explain(status, response.headers, shown_url(url))
    if not connection.is_readable:
        coding = ", ".join(response.headers.get_list("content-encoding"))
        message = (
            f"{shown_url(url)} has the content coding {coding}: "
            "have the server heed Accept-Encoding"
        )
    return StreamRefusedError(
        message,
        status=status,
        content_type=content_type,
        url=url,
        body=await connection.read_beginning(),
    )


def _asked_wait(response: Response) -> float | None:
    values = response.headers.get_list("retry-after")
    return retry_after(values[0]) if values else None
