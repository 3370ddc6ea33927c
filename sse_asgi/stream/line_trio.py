"""The line to the client under trio: a lock, and a task that looks at the clocks."""

import math
from collections.abc import Callable
from typing import Final

import anyio

from sse_asgi.stream.asgi import Message, Send
from sse_asgi.stream.line import KEEP_ALIVE
from sse_asgi.stream.transcript import Outcome

_KEEP_ALIVE: Final = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}


class TrioLine:
    """Sends a response's messages in order, under trio; `look_at_clocks` runs beside.

    Attributes:
        open: A keep-alive may go out: the body has begun, and not ended.
    """

    def __init__(self, send: Send, *, heartbeat: float | None, send_timeout: float | None) -> None:
        self._send = send
        self._heartbeat = math.inf if heartbeat is None else heartbeat
        self._send_timeout = math.inf if send_timeout is None else send_timeout
        self._lock = anyio.Lock()
        self._last_sent = anyio.current_time()
        self._sending_since: float | None = None
        self.open = False

    async def transmit(self, message: Message) -> None:
        """Hand one message to the server, after the one that is on its way."""
        async with self._lock:
            self._sending_since = anyio.current_time()
            try:
                await self._send(message)
            finally:
                self._sending_since = None
            self._last_sent = anyio.current_time()

    async def look_at_clocks(self, fail: Callable[[Outcome], None]) -> None:
        """Send keep-alives in silence; call `fail` when the client takes too long."""
        while True:
            now = anyio.current_time()
            if self._sending_since is not None and now >= self._sending_since + self._send_timeout:
                fail(Outcome.TIMED_OUT)
                return
            silent = self._sending_since is None and now >= self._last_sent + self._heartbeat
            if silent and self.open:
                await self._beat(fail)
            await anyio.sleep_until(self._due())

    def _due(self) -> float:
        now = anyio.current_time()
        since = now if self._sending_since is None else self._sending_since
        silence_ends = self._last_sent + self._heartbeat
        if silence_ends <= now:  # but the body has not begun, or a send is under way
            silence_ends = now + self._heartbeat
        return min(since + self._send_timeout, silence_ends)

    async def _beat(self, fail: Callable[[Outcome], None]) -> None:
        with anyio.move_on_after(self._send_timeout) as patience:
            try:
                await self.transmit(_KEEP_ALIVE)
            except OSError:
                fail(Outcome.DISCONNECTED)
        if patience.cancelled_caught:
            fail(Outcome.TIMED_OUT)
