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

from sse_asgi.live.redis.client import FAILURES, REDIRECTIONS, Client, log_error, root
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
        self.script = script
        self.keys = keys
        self.values = values
        self.by_text = False
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
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, call: Call) -> None:
        """Send a call with the next exchange."""
        self._waiting.append(call)
        self._start()

    def _start(self) -> None:
        if self._waiting and len(self._tasks) < self._width:
            task = asyncio.create_task(self._run(), name="sse_asgi redis exchanges")
            self._tasks.add(task)
            task.add_done_callback(self._end)

    async def aclose(self) -> None:
        """Finish what waits, or give it up if the server does not answer in time."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled():  # whoever closes the event loop cancels every task
            fail(self._waiting, asyncio.CancelledError("the event loop is being closed"))
            self._waiting.clear()
        self._start()  # a call may have come after the task's last look

    async def _run(self) -> None:
        while self._waiting:
            calls = self._take()
            try:
                await self._exchange(calls)
            except asyncio.CancelledError as error:
                fail(calls, error)
                raise
            except TimeoutError as error:
                late = TimeoutError(f"no answer within {self._client.timeout:g} s")
                found = root(error)
                fail(calls, late if found is error else found)
            except Exception as error:  # noqa: BLE001 - each caller is told
                fail(calls, error)

    def _take(self) -> list[Call]:
        calls = [self._waiting.popleft()]
        size = calls[0].size
        while self._waiting and len(calls) < self._most:
            size += self._waiting[0].size
            if size > _BYTES:
                break
            calls.append(self._waiting.popleft())
        return calls

    async def _exchange(self, calls: list[Call]) -> None:
        """Send calls, and settle each of them.

        Raises:
            Exception: What redis-py raised; some of them may be settled.
        """
        async with asyncio.timeout(self._client.timeout):
            try:
                async with self._client.connection(self._node) as connection:
                    await connection.retry.call_with_retry(
                        lambda: self._pipeline(connection, calls),
                        lambda _: connection.disconnect(),
                    )
            except FAILURES:
                if not self._client.clustered:
                    raise
                for call in calls:  # redis-py asks the cluster anew, where each belongs
                    if not call.reply.done():
                        await self._execute(call)

    async def _pipeline(self, connection: Any, calls: list[Call]) -> None:  # noqa: ANN401 - redis-py's
        todo = [call for call in calls if not call.reply.done()]
        await connection.send_packed_command(
            connection.pack_commands([call.command() for call in todo])
        )
        unsettled: list[Call] = []
        for call in todo:
            try:
                reply = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                if self._goes_elsewhere(error):
                    unsettled.append(call)
                else:
                    call.settle(error)
            else:
                call.settle(reply)
        for call in unsettled:
            await self._execute(call)

    def _goes_elsewhere(self, error: ResponseError) -> bool:
        return isinstance(error, NoScriptError) or (
            self._client.clustered and isinstance(error, REDIRECTIONS)
        )

    async def _execute(self, call: Call) -> None:
        """Send one call as redis-py does."""
        call.by_text = True
        try:
            call.settle(await self._client.execute(*call.command()))
        except ResponseError as error:
            call.settle(error)


def fail(calls: Iterable[Call], error: BaseException) -> None:
    """Tell those who wait for these calls that they failed."""
    for call in calls:
        call.settle(error)
