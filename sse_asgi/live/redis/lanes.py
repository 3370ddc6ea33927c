"""Lanes: script calls on their way to a node, those that wait together in one pipeline.

While an exchange is under way the next calls gather. So a busy process pays one round trip for
many generations, an idle one waits for nobody, and no timer delays a call. Reads have a lane of
their own: what producers write never stands behind a replay.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from redis.exceptions import NoScriptError, ResponseError

from sse_asgi.live.redis.client import FAILURES, REDIRECTIONS, Client, log_error, packed, root
from sse_asgi.live.redis.scripts import Script

WRITES: Final = 256
"""Calls in one exchange at most; their events are bounded, so an exchange is."""

READS: Final = 8
"""Reads in one exchange at most: each may be answered with a whole batch."""

READERS: Final = 2
"""Exchanges with a node at a time, of reads."""

_BYTES = 1_048_576  # of calls in one exchange


class Call:
    """A script call. The digest is sent, and the text if the server does not know that."""

    __slots__ = ("by_text", "keys", "reply", "script", "values")

    def __init__(
        self, script: Script, keys: tuple[str, ...], values: tuple[str | bytes | int, ...]
    ) -> None:
        self.script: Script = script
        self.keys: tuple[str, ...] = keys
        self.values: tuple[str | bytes | int, ...] = values
        self.by_text: bool = False
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def size(self) -> int:
        """About how many bytes it sends."""
        return 200 + sum(len(each) for each in self.values if not isinstance(each, int))

    def command(self) -> tuple[str | bytes | int, ...]:
        """Return what redis-py sends."""
        keys, values = self.keys, self.values
        if self.by_text:
            return ("EVAL", self.script.text, len(keys), *keys, *values)
        return ("EVALSHA", self.script.sha, len(keys), *keys, *values)

    def settle(self, reply: Any) -> None:  # noqa: ANN401 - each script has its own reply
        """Note a reply, or what was raised instead."""
        if self.reply.done():
            return
        if isinstance(reply, BaseException):
            self.reply.set_exception(log_error(reply))
            self.reply.exception()  # whoever called may have gone
        else:
            self.reply.set_result(reply)


class Lane:
    """Calls to one node.

    Args:
        client: Where connections come from.
        node: Its name.
        width: Exchanges at a time.
        most: Calls in one exchange.
    """

    def __init__(self, client: Client, node: str, *, width: int = 1, most: int = WRITES) -> None:
        self._client = client
        self._node = node
        self._width = width
        self._most = most
        self._waiting: deque[Call] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def add(self, call: Call) -> None:
        """Send a call with the next exchange."""
        self._waiting.append(call)
        self._wake()

    async def aclose(self) -> None:
        """Finish what waits, or give it up if the server does not answer in time."""
        self._closing = True
        while self._idle:
            self._rouse()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _wake(self) -> None:
        while self._idle:
            if self._rouse():
                return
        if len(self._tasks) < self._width:
            task = asyncio.create_task(self._run(), name="sse_asgi redis exchanges")
            self._tasks.add(task)
            task.add_done_callback(self._end)

    def _rouse(self) -> bool:
        """Let a task go on that waits for calls; False if it was cancelled."""
        idle = self._idle.pop()
        if idle.done():
            return False
        idle.set_result(None)
        return True

    def _end(self, task: "asyncio.Task[None]") -> None:
        """Go on in another task, if whoever closes the event loop has cancelled this one."""
        self._tasks.discard(task)
        if self._waiting:
            self._wake()

    async def _next(self) -> list[Call] | None:
        """Wait for calls; None if no more will come."""
        while not self._waiting:
            if self._closing:
                return None
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle
        return self._take()

    async def _run(self) -> None:
        connection = None
        try:
            while (calls := await self._next()) is not None:
                try:
                    async with asyncio.timeout(self._client.timeout):
                        if connection is None:
                            connection = await self._client.take(self._node)
                        await self._exchange(connection, calls)
                except asyncio.CancelledError as error:
                    fail(calls, error)
                    raise
                except TimeoutError as error:
                    late = TimeoutError(f"no answer within {self._client.timeout:g} s")
                    found = root(error)
                    fail(calls, late if found is error else found)
                except Exception as error:  # noqa: BLE001 - each caller is told
                    fail(calls, error)
        finally:
            if connection is not None:
                await self._client.give_back(self._node, connection)

    def _take(self) -> list[Call]:
        calls = [self._waiting.popleft()]
        size = calls[0].size
        while self._waiting and len(calls) < self._most:
            size += self._waiting[0].size
            if size > _BYTES:
                break
            calls.append(self._waiting.popleft())
        return calls

    async def _exchange(self, connection: Any, calls: list[Call]) -> None:  # noqa: ANN401 - redis-py's
        """Send calls, and settle each of them.

        Raises:
            Exception: What redis-py raised; some of them may be settled.
        """
        try:
            await self._pipeline(connection, calls)
        except FAILURES:
            # The server may have closed the connection, long ago or just now: redis-py connects
            # again, as often as it is told to. In a cluster it asks who has the keys now.
            await connection.disconnect(nowait=True)
            if self._client.clustered:
                await self._execute_each(calls)
                return

            async def disconnect(_: Exception) -> None:
                await connection.disconnect(nowait=True)

            await connection.retry.call_with_retry(
                lambda: self._pipeline(connection, calls), disconnect
            )

    async def _pipeline(self, connection: Any, calls: list[Call]) -> None:  # noqa: ANN401 - redis-py's
        todo = [call for call in calls if not call.reply.done()]
        if not connection.is_connected:  # Sentinel is only asked by this who the master is
            await connection.connect()
        await connection.send_packed_command(packed(connection, [call.command() for call in todo]))
        elsewhere: list[Call] = []
        for call in todo:
            try:
                reply = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                if self._goes_elsewhere(error):
                    elsewhere.append(call)
                else:
                    call.settle(error)
            else:
                call.settle(reply)
        await self._execute_each(elsewhere)

    def _goes_elsewhere(self, error: ResponseError) -> bool:
        return isinstance(error, NoScriptError) or (
            self._client.clustered and isinstance(error, REDIRECTIONS)
        )

    async def _execute_each(self, calls: list[Call]) -> None:
        """Send calls one by one, as redis-py does."""
        for call in calls:
            if not call.reply.done():
                call.by_text = True
                try:
                    call.settle(await self._client.execute(*call.command()))
                except ResponseError as error:
                    call.settle(error)


def fail(calls: Iterable[Call], error: BaseException) -> None:
    """Tell those who wait for these calls that they failed."""
    for call in calls:
        call.settle(error)
