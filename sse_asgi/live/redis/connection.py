"""A connection to a Redis server: commands go out as they are, replies come in by callback.

redis-py makes it, writes and reads; but one task reads for everybody, so that nobody's
cancellation can hit a read that is everybody's, and a reply costs no task of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

Command = Sequence[str | bytes | int]

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What says that the server cannot be reached."""

_hiredis: ModuleType | None
try:
    _hiredis = import_module("hiredis")
except ImportError:  # some platforms have none
    _hiredis = None


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
            socket_timeout=None,  # whoever sends looks at the clock
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
            receive: Called with each reply; an error reply is a `ResponseError`.
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


class Connection:
    """One connection, and the task that reads from it."""

    def __init__(
        self,
        made: Any,  # noqa: ANN401 - redis-py types it by halves
        receive: Callable[[Any], None],
        lose: Callable[[Exception], None],
    ) -> None:
        self._made = made
        self._receive = receive
        self._lose: Callable[[Exception], None] | None = lose
        self._sending: set[asyncio.Task[None]] = set()
        self._began = False
        self._closing: asyncio.Task[None] | None = None
        self._reading = asyncio.create_task(self._read(), name="sse_asgi redis replies")

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands, in one write."""
        task = asyncio.create_task(self._write(self._pack(commands)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def close(self, error: Exception | None = None) -> None:
        """Close it; with an error it counts as lost."""
        self._reading.cancel()
        if not self._began:  # a task that is cancelled before its first step does nothing at all
            self._closing = asyncio.create_task(self._disconnect())
        self._say_lost(error)

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        await asyncio.wait([each for each in (self._reading, self._closing) if each is not None])

    def _pack(self, commands: Sequence[Command]) -> Any:  # noqa: ANN401 - for redis-py
        if _hiredis is None:
            return self._made.pack_commands(commands)
        return b"".join(_hiredis.pack_command(tuple(command)) for command in commands)

    async def _write(self, packed: Any) -> None:  # noqa: ANN401 - from redis-py
        try:
            await self._made.send_packed_command(packed, check_health=False)
        except FAILURES as error:
            self.close(error)

    async def _read(self) -> None:
        self._began = True
        try:
            while True:
                self._receive(await self._next_reply())
        except FAILURES as error:
            self._say_lost(error)
        finally:
            await self._disconnect()

    def _say_lost(self, error: Exception | None) -> None:
        lose, self._lose = self._lose, None
        if error is not None and lose is not None:
            lose(error)

    async def _disconnect(self) -> None:
        for sending in tuple(self._sending):  # to a server that takes nothing more
            sending.cancel()
        await self._made.disconnect(nowait=True)

    async def _next_reply(self) -> Any:  # noqa: ANN401 - whatever a reply may be
        try:
            return await self._made.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            return error
