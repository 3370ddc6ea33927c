"""The line to the client: the server's `send`, one message at a time, with two clocks.

One timer serves both clocks. It looks at when the last message went out (silence: tell the
client that the stream is alive) and since when one is under way (patience: give the client
up). So a message costs two time stamps, and no timer, lock or task of its own.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from sse_asgi.stream.asgi import Message, Send
from sse_asgi.stream.transcript import Outcome

KEEP_ALIVE: Final = b": keep-alive\n"
"""A comment. One newline only: at a blank line several real clients see an event."""

Fail = Callable[[Outcome, BaseException | None], None]


class Line:
    """Sends a response's messages in order, under asyncio.

    Args:
        send: The server's callable.
        heartbeat: Seconds of silence after which a keep-alive goes out; `None` for never.
        send_timeout: Seconds that one `send` may take; `None` for ever.
        fail: Called when the line is lost while nobody waits in `transmit`: a deadline has
            passed, or a send that goes on beside has failed.

    Attributes:
        open: A keep-alive may go out: the body has begun, and not ended.
        text_chunks: How many were in what has been handed over.
    """

    __slots__ = ("_all_beside", "_beside", "_fail", "_given_up", "_heartbeat", "_last_sent",
                 "_loop", "_send", "_send_timeout", "_sending_since", "_timer", "_timer_due",
                 "open", "text_chunks")  # fmt: skip

    def __init__(
        self, send: Send, *, heartbeat: float | None, send_timeout: float | None, fail: Fail
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._heartbeat = math.inf if heartbeat is None else heartbeat
        self._send_timeout = math.inf if send_timeout is None else send_timeout
        self._fail: Fail | None = fail
        self._last_sent = self._loop.time()
        self._sending_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        self._beside: asyncio.Task[None] | None = None
        self._all_beside: set[asyncio.Task[None]] = set()
        self._given_up = False
        self.open = False
        self.text_chunks = 0

    def transmit(self, message: Message, *, text_chunks: int = 0) -> Awaitable[None]:
        """Hand one message to the server, after the one that is on its way.

        Raises what `send` raises; an `OSError` means that the client is gone.
        """
        if self._beside is None and not self._given_up:  # no coroutine of its own for that
            self.text_chunks += text_chunks
            return self._hand_over(message)
        return self._hand_over_after(message, text_chunks)

    def give_up(self) -> None:
        """Hand over no further message."""
        self._given_up = True
        self.open = False

    def go_on_beside(self, send: Callable[[], Awaitable[None]]) -> None:
        """Let a send run in a task of its own; the next `transmit` waits for it."""
        self._beside = self._loop.create_task(self._finish_beside(send))
        self._all_beside.add(self._beside)
        self._beside.add_done_callback(self._all_beside.discard)

    def close(self) -> None:
        """Stop both clocks, and what is still being sent beside."""
        self.open = False
        self._fail = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sending in self._all_beside:  # two, if one waits for a keep-alive that blocks
            sending.cancel()
        self._beside = None

    async def _hand_over_after(self, message: Message, text_chunks: int) -> None:
        while self._beside is not None and self._beside is not asyncio.current_task():
            await asyncio.wait((self._beside,))
        if self._given_up:
            raise OSError("the client is gone")
        self.text_chunks += text_chunks
        await self._hand_over(message)

    async def _hand_over(self, message: Message) -> None:
        now = self._sending_since = self._loop.time()
        if now + self._send_timeout < self._timer_due:
            self._set_timer(now + self._send_timeout)
        try:
            await self._send(message)
        finally:
            self._sending_since = None
        self._last_sent = self._loop.time()
        if self._last_sent + self._heartbeat < self._timer_due:
            self._set_timer(self._last_sent + self._heartbeat)

    async def _finish_beside(self, send: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.current_task()
        try:
            await send()
        except OSError:
            self._lost(Outcome.DISCONNECTED, None)
        except Exception as error:  # noqa: BLE001 - handed on
            self._lost(Outcome.FAILED, error)
        finally:
            if self._beside is task:
                self._beside = None

    def _lost(self, outcome: Outcome, error: BaseException | None) -> None:
        if self._fail is not None:
            self._fail(outcome, error)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = None if due == math.inf else self._loop.call_at(due, self._look_at_clocks)

    def _look_at_clocks(self) -> None:
        now = self._loop.time()
        if self._sending_since is not None:
            due = self._sending_since + self._send_timeout
            if now >= due:
                self._timer_due = math.inf
                self._lost(Outcome.TIMED_OUT, None)
                return
        else:
            due = self._last_sent + self._heartbeat
            if now >= due:
                due = now + self._heartbeat
                self._beat()
        self._set_timer(due)

    def _beat(self) -> None:
        if self.open and self._beside is None:
            keep_alive = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}
            self.go_on_beside(partial(self._hand_over, keep_alive))
