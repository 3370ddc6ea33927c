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
        self._until = 0.0  # when those under way have to be answered
        self._trouble: BaseException | None = None  # what they have met
        self._task: asyncio.Task[None] | None = None

    def add(self, script: Script, keys: list[str], values: Command) -> asyncio.Future[Any]:
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
        try:
            while True:
                await self._gather()
                try:
                    async with self._client.connection(self._node) as connection:
                        await self._converse(connection)
                except TimeoutError:
                    pass  # they are late, which is said below
                except Exception as error:  # noqa: BLE001 - redis-py raises what it does not document
                    self._trouble = error
                try:
                    async with asyncio.timeout_at(self._until):
                        await self._insist(self._under_way or self._take())
                except TimeoutError:
                    late = TimeoutError(f"no answer within {self._client.timeout:g} s")
                    self._fail(self._trouble or late)
        finally:
            self._fail(ConnectionError("closed before it was answered"))

    async def _gather(self) -> None:
        """Wait until there are calls."""
        if not self._waiting:
            self._some = self._loop.create_future()
            await self._some
        self._until = self._loop.time() + self._client.timeout
        self._trouble = None

    def _take(self) -> list[Call]:
        self._under_way = self._waiting[: self._most]
        del self._waiting[: self._most]
        return self._under_way

    async def _converse(self, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        """Have calls answered over a connection, until it fails or leaves some unanswered."""
        while True:
            try:
                # A timer for each exchange would cost an eighth of it, so one serves for a while.
                async with asyncio.timeout(None) as limit:
                    while not limit.expired():
                        await self._gather()
                        if (limit.when() or 0.0) < self._until:
                            limit.reschedule(self._until + self._client.timeout / 4)
                        await self._exchange(connection, self._take())
            except TimeoutError:
                if self._under_way:  # else it was idle for that long
                    raise

    async def _exchange(self, connection: Any, calls: list[Call]) -> None:  # noqa: ANN401 - redis-py's
        """Send calls together, and again what redis-py may mend."""
        commands: list[Command] = [("EVALSHA", call.script.sha, *call.arguments) for call in calls]
        await connection.send_packed_command(packed(connection, commands), check_health=False)
        for call in calls:
            try:
                call.settle(await connection.read_response(disable_decoding=True))
            except ResponseError as error:
                if is_refusal(error):
                    call.settle(error)
        await self._insist(calls)

    async def _insist(self, calls: list[Call]) -> None:
        """Have redis-py send what is not answered yet, for as long as that may help."""
        for call in calls:
            while not call.reply.done():
                try:
                    arguments = call.script.text, *call.arguments
                    call.settle(await self._client.execute("EVAL", *arguments))
                except Exception as error:  # noqa: BLE001 - as above
                    if isinstance(error, ResponseError) or is_refusal(error):
                        call.settle(error)
                    else:
                        self._trouble = error
                        await asyncio.sleep(PAUSE)
        self._under_way = []

    def _fail(self, cause: BaseException) -> None:
        for call in (*self._under_way, *self._waiting):
            call.settle(cause)
        self._under_way, self._waiting = [], []
