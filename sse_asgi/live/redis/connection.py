"""A connection of redis-py, without the layers above it: commands go out, replies come in.

Only the standing tasks of `commit` and `push` wait here. A cancellation closes the connection.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

Command = Sequence[str | bytes | int]

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What a connection raises when it is lost."""


class Connections:
    """Makes connections to one server.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.
        timeout: Seconds for which the server may leave something unanswered.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self._timeout = timeout
        pool: Any = ConnectionPool  # redis-py types it by halves
        self._pool = pool.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,  # one timeout serves a whole pipeline
            socket_connect_timeout=timeout,
            protocol=2,
            decode_responses=False,
            health_check_interval=0,
            client_name="sse_asgi",
        )

    async def open(self) -> "Connection":
        """Return a new connection."""
        opened = Connection(self._pool.make_connection(), timeout=self._timeout)
        await opened.open()
        return opened


class Connection:
    """One connection.

    Args:
        connection: redis-py's.
        timeout: Seconds for which the server may leave something unanswered.
    """

    def __init__(self, connection: Any, *, timeout: float) -> None:  # noqa: ANN401 - untyped
        self._connection = connection
        self._timeout = timeout
        self.read = connection.read_response

    async def open(self) -> None:
        """Connect, and introduce ourselves."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._connection.connect()
        except BaseException:
            await self.drop()
            raise

    async def send(self, *command: str | bytes | int) -> None:
        """Send a command, whose replies somebody else reads."""
        async with asyncio.timeout(self._timeout):
            await self._connection.send_command(*command, check_health=False)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one write, and return their replies; errors are among these."""
        connection = self._connection
        replies: list[Any] = []
        try:
            async with asyncio.timeout(self._timeout):
                packed = connection.pack_commands(commands)
                await connection.send_packed_command(packed, check_health=False)
                for _ in commands:
                    try:
                        replies.append(await connection.read_response())
                    except ResponseError as error:
                        replies.append(error)
        except BaseException:
            await self.drop()  # what it still holds would be taken for later replies
            raise
        return replies

    async def drop(self) -> None:
        """Close it, and wait for nobody."""
        await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close it, and wait until it is closed."""
        with suppress(*FAILURES):
            await self._connection.disconnect()
