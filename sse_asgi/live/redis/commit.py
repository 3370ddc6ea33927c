"""Group commit: every script call that waits shares the next pipeline.

One pipeline is in flight at a time. While its replies are on their way the next calls gather,
so that a busy process pays one round trip for many, and an idle one waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ResponseError

from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.redis.connection import FAILURES, Command

if TYPE_CHECKING:
    from sse_asgi.live.redis.connection import Connection, Connections
    from sse_asgi.live.redis.scripts import Script

_PIPELINE_CALLS = 1000


class _Call:
    """A script call. The digest is sent, and the text if the server does not know that."""

    __slots__ = ("arguments", "by_text", "reply", "script")

    def __init__(self, script: "Script", arguments: Command, reply: "asyncio.Future[Any]") -> None:
        self.script = script
        self.arguments = arguments
        self.by_text = False
        self.reply = reply

    def command(self) -> Command:
        if self.by_text:
            return ("EVAL", self.script.text, *self.arguments)
        return ("EVALSHA", self.script.sha, *self.arguments)

    def fail(self, cause: BaseException) -> None:
        if not self.reply.done():
            error = LogUnavailableError(
                f"redis: {cause or type(cause).__name__}; check the url, and that the server runs"
            )
            error.__cause__ = cause
            self.reply.set_exception(error)


class Commits:
    """Runs scripts in shared pipelines, over one connection.

    Args:
        connections: Makes it, when the first call needs it.
    """

    def __init__(self, connections: "Connections") -> None:
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._waiting: list[_Call] = []
        self._flight: deque[_Call] = deque()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None

    async def run(
        self, script: "Script", keys: Sequence[str], *arguments: str | bytes | int
    ) -> Any:  # noqa: ANN401 - each script has its own reply
        """Run a script and return its reply.

        Raises:
            LogUnavailableError: If the reply does not arrive, or is an error.
        """
        call = _Call(script, (len(keys), *keys, *arguments), self._loop.create_future())
        self._waiting.append(call)
        self._set_off()
        return await call.reply

    async def aclose(self) -> None:
        """Finish what waits, or give it up if the server does not answer in time; close."""
        while self._flight or self._waiting:
            self._idle = asyncio.Event()
            await self._idle.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            await connection.wait_closed()

    def _set_off(self) -> None:
        """Send what waits, unless a pipeline is in flight."""
        if self._flight or self._opening is not None:
            return
        if not self._waiting:
            if self._idle is not None:
                self._idle.set()
            return
        if self._connection is None:
            self._opening = self._loop.create_task(self._open(), name="sse_asgi redis connect")
            self._opening.add_done_callback(self._opened)
            return
        calls = self._waiting[:_PIPELINE_CALLS]
        del self._waiting[:_PIPELINE_CALLS]
        self._flight.extend(calls)
        self._connection.send([call.command() for call in calls])
        self._deadline = self._loop.time() + self._connections.timeout
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look_at_clock)

    def _receive(self, reply: Any) -> None:  # noqa: ANN401 - as above
        if not self._flight:
            return  # a server's last word before it closes the connection
        call = self._flight.popleft()
        if isinstance(reply, ResponseError):
            if isinstance(reply, NoScriptError) and not call.by_text:
                call.by_text = True
                self._waiting.append(call)
            else:
                call.fail(reply)
        elif not call.reply.done():
            call.reply.set_result(reply)
        if not self._flight:
            self._set_off()

    def _lose(self, error: Exception) -> None:
        self._connection = None
        lost, self._flight = self._flight, deque()
        for call in lost:
            call.fail(error)
        self._set_off()

    def _look_at_clock(self) -> None:
        """Give up a pipeline that is not answered. One timer serves many: most are short."""
        self._timer = None
        if not self._flight or self._connection is None:
            return  # the next pipeline sets it again
        if self._loop.time() >= self._deadline:
            self._connection.close(TimeoutError("no answer in time"))
        else:
            self._timer = self._loop.call_at(self._deadline, self._look_at_clock)

    async def _open(self) -> None:
        self._connection = await self._connections.open(self._receive, self._lose)

    def _opened(self, opening: "asyncio.Task[None]") -> None:
        self._opening = None
        error = asyncio.CancelledError() if opening.cancelled() else opening.exception()
        if error is not None:
            failed, self._waiting = self._waiting, []
            for call in failed:
                call.fail(error)
            if not isinstance(error, (asyncio.CancelledError, *FAILURES)):
                raise error
        self._set_off()
