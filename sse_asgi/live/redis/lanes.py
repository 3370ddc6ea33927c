"""Lanes: script calls on their way to a node, those that wait together in one exchange.

While an exchange is under way the next calls gather. So a busy process pays one round trip for
many generations, an idle one waits for nobody, and no timer delays a call.

What does not get through is sent again by redis-py, one call after the other, until the deadline
of the exchange: it connects anew, sends a script's text, and knows who has a cluster's keys by now.
"""

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from sse_asgi.live.redis.client import PAUSE, Client, end, is_refusal, log_error
from sse_asgi.live.redis.scripts import Script

Command = tuple[str | bytes | int, ...]

_pack: Callable[[Command], bytes] | None
try:
    _pack = import_module("hiredis").pack_command
except ImportError:  # some platforms have none
    _pack = None


def packed(connection: Any, commands: list[Command]) -> Any:  # noqa: ANN401 - redis-py's
    """Return commands as they are sent; redis-py itself takes seven times as long for that."""
    if _pack is None:
        return connection.pack_commands(commands)
    return b"".join(map(_pack, commands))


class Call(NamedTuple):
    """A script call: what follows the script in its command, and what gets the reply."""

    script: Script
    arguments: Command
    reply: asyncio.Future[Any]

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
    """Calls to one node, over one connection, up to `most` of them in one exchange."""

    def __init__(self, client: Client, node: str, *, most: int) -> None:
        self._client = client
        self._node = node
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Call] = []
        self._under_way: list[Call] = []
        self._some: asyncio.Future[None] | None = None  # done when some wait
        self._connection: Any = None
        self._trouble: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, script: Script, keys: tuple[str, ...], values: Command) -> asyncio.Future[Any]:
        """Send a call with the next exchange; return what gets its reply."""
        call = Call(script, (len(keys), *keys, *values), self._loop.create_future())
        self._waiting.append(call)
        if self._some is not None and not self._some.done():
            self._some.set_result(None)
        if self._task is None or self._task.done():  # whoever closes the event loop cancels it
            self._task = asyncio.create_task(self._run(), name="sse_asgi redis exchanges")
        return call.reply

    async def aclose(self) -> None:
        """Fail what is under way, and give the connection back."""
        if self._task is not None:
            await end(self._task)

    async def _run(self) -> None:
        """Have calls answered. If nothing answers in time, they fail, and those that wait."""
        late = TimeoutError(f"no answer within {self._client.timeout:g} s")
        try:
            while True:
                try:
                    async with asyncio.timeout(None) as limit:
                        while not limit.expired():
                            await self._exchange(limit)
                except TimeoutError:
                    if self._under_way:  # else it was idle for that long
                        await self._fail(self._trouble or late)
        finally:
            await self._fail(ConnectionError("closed before it was answered"))

    async def _exchange(self, limit: asyncio.Timeout) -> None:
        if not self._waiting:
            self._some = self._loop.create_future()
            await self._some
        # A timer for each exchange would cost an eighth of it, so one serves for a while.
        least = self._loop.time() + self._client.timeout
        if (limit.when() or 0.0) < least:
            limit.reschedule(least + self._client.timeout / 4)
        calls = self._under_way = self._take(self._most)
        self._trouble = None
        await self._pipeline(calls)
        for call in calls:
            if not call.reply.done():
                await self._insist(call)
        self._under_way = []

    async def _fail(self, cause: BaseException) -> None:
        for call in (*self._under_way, *self._take(len(self._waiting))):
            call.settle(cause)
        self._under_way = []
        await self._disconnect()

    def _take(self, most: int) -> list[Call]:
        calls = self._waiting[:most]
        del self._waiting[:most]
        return calls

    async def _pipeline(self, calls: list[Call]) -> None:
        """Send calls together; what redis-py may mend is left unanswered."""
        try:
            if self._connection is None:
                self._connection = await self._client.take(self._node)
            connection = self._connection
            if not connection.is_connected:  # Sentinel is only asked by this who the master is
                await connection.connect()
            commands: list[Command] = [("EVALSHA", c.script.sha, *c.arguments) for c in calls]
            await connection.send_packed_command(packed(connection, commands), check_health=False)
            for call in calls:
                try:
                    call.settle(await connection.read_response(disable_decoding=True))
                except ResponseError as error:
                    if is_refusal(error):
                        call.settle(error)
        except Exception as error:  # noqa: BLE001 - redis-py raises what it does not document
            self._trouble = error
            await self._disconnect()

    async def _insist(self, call: Call) -> None:
        """Have redis-py send a call that is not answered yet, for as long as that may help."""
        while not call.reply.done():
            try:
                call.settle(await self._client.execute("EVAL", call.script.text, *call.arguments))
            except Exception as error:  # noqa: BLE001 - as above
                if isinstance(error, ResponseError) or is_refusal(error):
                    call.settle(error)
                else:
                    self._trouble = error
                    await asyncio.sleep(PAUSE)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._client.give_back(connection)
