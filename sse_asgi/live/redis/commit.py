"""Group commit: every script call that waits shares the next pipeline.

One pipeline is in flight at a time. While its replies are on their way the next calls gather,
so that a busy process pays one round trip for many, and an idle one waits for nobody.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import NoScriptError

from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.redis.connection import FAILURES

if TYPE_CHECKING:
    from sse_asgi.live.redis.connection import Command, Connection, Connections
    from sse_asgi.live.redis.scripts import Script

_PIPELINE_CALLS = 1000


class _Call(NamedTuple):
    script: "Script"
    keys: int
    arguments: Sequence[str | bytes | int]
    reply: "asyncio.Future[Any]"


class Commits:
    """Runs scripts in shared pipelines, over one connection.

    Args:
        connections: Makes it, when the first call needs it.
    """

    def __init__(self, connections: "Connections") -> None:
        self._connections = connections
        self._connection: Connection | None = None
        self._waiting: list[_Call] = []
        self._task: asyncio.Task[None] | None = None

    async def run(
        self, script: "Script", keys: Sequence[str], *arguments: str | bytes | int
    ) -> Any:  # noqa: ANN401 - each script has its own reply
        """Run a script and return its reply.

        Raises:
            LogUnavailableError: If the reply does not arrive, or is an error.
        """
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(script, len(keys), (*keys, *arguments), reply))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="sse_asgi redis pipeline")
        return await reply

    async def aclose(self) -> None:
        """Finish what waits, or give it up if the server does not answer in time; close."""
        while self._task is not None:
            await asyncio.wait([self._task])
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                calls = self._waiting[:_PIPELINE_CALLS]
                del self._waiting[:_PIPELINE_CALLS]
                await self._exchange(calls)
        finally:
            self._task = None

    async def _exchange(self, calls: Sequence[_Call]) -> None:
        try:
            replies = await self._send(calls)
        except FAILURES as error:
            replies = [error] * len(calls)
        except BaseException as error:
            _settle(calls, [LogUnavailableError(repr(error))] * len(calls))
            raise
        _settle(calls, replies)

    async def _send(self, calls: Sequence[_Call]) -> list[Any]:
        """Send the digests, and the texts of those that the server does not know."""
        replies = await self._pipeline(
            [("EVALSHA", call.script.sha, call.keys, *call.arguments) for call in calls]
        )
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._pipeline(
                [
                    ("EVAL", calls[place].script.text, calls[place].keys, *calls[place].arguments)
                    for place in unknown
                ]
            )
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return replies

    async def _pipeline(self, commands: "Sequence[Command]") -> list[Any]:
        if self._connection is None:
            self._connection = await self._connections.open()
        try:
            return await self._connection.exchange(commands)
        except BaseException:
            self._connection = None
            raise


def _settle(calls: Sequence[_Call], replies: Sequence[Any]) -> None:
    for call, reply in zip(calls, replies, strict=True):
        if call.reply.done():
            continue
        if isinstance(reply, Exception):
            error = LogUnavailableError(f"redis: {reply}")
            error.__cause__ = reply
            call.reply.set_exception(error)
        else:
            call.reply.set_result(reply)
