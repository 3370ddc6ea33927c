"""The line to the client under trio: a lock, and a task that looks at the clocks."""

import math

import anyio

from sse_asgi.stream.asgi import Message, Send
from sse_asgi.stream.line import KEEP_ALIVE, Fail
from sse_asgi.stream.transcript import Outcome


def _ignore(outcome: Outcome, error: BaseException | None) -> None:
    pass


class TrioLine:
    """Sends a response's messages in order, under trio; `look_at_clocks` runs beside.

    Attributes:
        open: A keep-alive may go out: the body has begun, and not ended.
    """

    def __init__(
        self, send: Send, *, heartbeat: float | None, send_timeout: float | None, fail: Fail
    ) -> None:
        self._send = send
        self._fail = fail
        self._heartbeat = math.inf if heartbeat is None else heartbeat
        self._send_timeout = math.inf if send_timeout is None else send_timeout
        self._lock = anyio.Lock()
        self._last_sent = anyio.current_time()
        self._sending_since: float | None = None
        self._lost = False
        self.given_up = False
        self.open = False
        self.text_chunks = 0

    async def transmit(
        self, message: Message, text_chunks: int = 0, *, or_stop: bool = False
    ) -> None:
        """Hand one message to the server, after the one that is on its way.

        Raises what `send` raises; an `OSError` means that the client is gone. With `or_stop` that
        ends the stream instead.
        """
        try:
            await self._hand_over(message, text_chunks)
        except Exception as error:
            if not or_stop:
                raise
            gone = isinstance(error, OSError)
            self._fail(Outcome.DISCONNECTED if gone else Outcome.FAILED, None if gone else error)

    async def _hand_over(self, message: Message, text_chunks: int) -> None:
        async with self._lock:
            if self._lost or self.given_up:
                raise OSError("the client is gone")
            self.text_chunks += text_chunks
            self._sending_since = anyio.current_time()
            self._lost = True  # unless this goes well
            try:
                await self._send(message)
            finally:
                self._sending_since = None
            self._lost = False
            self._last_sent = anyio.current_time()

    def give_up(self) -> None:
        """Hand over no further message."""
        self.given_up = True
        self.open = False

    def close(self) -> None:
        """Be done, and hold no reference to the stream any more."""
        self.give_up()
        self._fail = _ignore

    async def look_at_clocks(self) -> None:
        """Send keep-alives in silence; call `fail` when the client takes too long."""
        while True:
            now = anyio.current_time()
            if self._sending_since is not None and now >= self._sending_since + self._send_timeout:
                self._fail(Outcome.TIMED_OUT, None)
                return
            silent = not self._lock.locked() and now >= self._last_sent + self._heartbeat
            if silent and self.open:
                await self._beat()
            await anyio.sleep_until(self._due())

    def _due(self) -> float:
        now = anyio.current_time()
        since = now if self._sending_since is None else self._sending_since
        silence_ends = self._last_sent + self._heartbeat
        if silence_ends <= now:  # but the body has not begun, or a send is under way
            silence_ends = now + self._heartbeat
        return min(since + self._send_timeout, silence_ends)

    async def _beat(self) -> None:
        keep_alive = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}
        with anyio.move_on_after(self._send_timeout) as patience:
            await self.transmit(keep_alive, or_stop=True)
        if patience.cancelled_caught:
            self._fail(Outcome.TIMED_OUT, None)
