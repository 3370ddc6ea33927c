"""A connection to a Redis server: commands go out as they are, replies come in by callback.

redis-py makes it, so that whatever its URLs can say works: TLS, users, sockets. Then this takes
the connection over. A pipeline costs less than redis-py's way to read one reply, and nobody's
cancellation can hit a read that is everybody's.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sse_asgi.live.redis.replies import Command, ProtocolError, open_reader, pack

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What says that the server cannot be reached."""


class Connections:
    """Makes connections to one server.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.
        timeout: Seconds for which the server may leave something unanswered.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self.timeout = timeout
        pool: Any = ConnectionPool  # redis-py types it by halves
        self._pool = pool.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            protocol=2,
            decode_responses=False,
            health_check_interval=0,
            client_name="sse_asgi",
        )

    async def open(
        self, receive: Callable[[Any], None], lose: Callable[[Exception], None]
    ) -> "Connection":
        """Connect.

        Args:
            receive: Called with each reply; an error reply is a `ReplyError`.
            lose: Called once when the connection is lost, not when it was closed.

        Raises:
            RedisError, OSError, TimeoutError: It cannot be made.
        """
        made = self._pool.make_connection()
        try:
            async with asyncio.timeout(self.timeout):
                await made.connect()
        except BaseException:
            await made.disconnect(nowait=True)
            raise
        return Connection(made, receive, lose)


class Connection(asyncio.Protocol):
    """One connection, taken over from redis-py."""

    def __init__(
        self,
        made: Any,  # noqa: ANN401 - redis-py types it by halves
        receive: Callable[[Any], None],
        lose: Callable[[Exception], None],
    ) -> None:
        self._receive = receive
        self._lose: Callable[[Exception], None] | None = lose
        self._reader = open_reader()
        self._closed = asyncio.get_running_loop().create_future()
        # What redis-py keeps it would close, once it is collected.
        self._writer: asyncio.StreamWriter = made._writer  # noqa: SLF001 - nothing public gives it
        made._reader = made._writer = None  # noqa: SLF001 - as above
        self._transport = self._writer.transport
        self._transport.set_protocol(self)

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands, in one write."""
        self._transport.write(b"".join(map(pack, commands)))

    def close(self, error: Exception | None = None) -> None:
        """Close it; with an error it counts as lost."""
        lose, self._lose = self._lose, None
        self._transport.abort()  # a server that hangs takes nothing more
        if error is not None and lose is not None:
            lose(error)

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        await self._closed

    def data_received(self, data: bytes) -> None:
        """Take in what the server sends."""
        receive, reader = self._receive, self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                receive(reply)
        except ProtocolError as error:
            self.close(ConnectionError(f"no reply of a Redis server: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that it is lost, unless it was closed."""
        self._closed.set_result(None)
        self.close(exc or ConnectionError("the server closed the connection"))
