"""The line to the client: the server's `send`, one message at a time, with two clocks.

One timer serves both clocks. It looks at when the last message went out (silence: tell the
client that the stream is alive) and since when one is under way (patience: give the client
up). It looks so often that it comes in time for a message that began just after its last look.
So a message costs two time stamps, and no timer, lock or task of its own.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from sse_asgi.stream.asgi import Message, Send
from sse_asgi.stream.steps import DONE, Steps, go_on
from sse_asgi.stream.transcript import Outcome

KEEP_ALIVE: Final = b": keep-alive\n"
"""A comment. One newline only: at a blank line several real clients see an event."""

Fail = Callable[[Outcome, BaseException | None], None]


class Line:
    """Sends a response's messages in order, under asyncio.

    Args:
        send: The server's callable.
        loop: The event loop that runs.
        heartbeat: Seconds of silence after which a keep-alive goes out; `None` for never.
        send_timeout: Seconds that one `send` may take; `None` for ever.
        fail: Called when the line is lost: a deadline has passed, or a send that ends the stream
            has failed.

    Attributes:
        beside: What is still being sent in a task of its own; what comes next waits for it.
        open: A keep-alive may go out: the body has begun, and not ended.
        given_up: Nothing further is handed over.
        text_chunks: How many were in what has been handed over.
    """

    __slots__ = ("_fail", "_heartbeat", "_last_sent", "_loop", "_send", "_send_timeout",
                 "_sending_since", "_timer", "beside", "given_up", "open",
                 "text_chunks")  # fmt: skip

    def __init__(
        self,
        send: Send,
        *,
        loop: asyncio.AbstractEventLoop,
        heartbeat: float | None,
        send_timeout: float | None,
        fail: Fail,
    ) -> None:
        self._loop = loop
        self._send = send
        self._heartbeat = math.inf if heartbeat is None else heartbeat
        self._send_timeout = math.inf if send_timeout is None else send_timeout
        self._fail: Fail | None = fail
        self._last_sent = self._loop.time()
        self._sending_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.beside: asyncio.Task[None] | None = None
        self.given_up = False
        self.open = False
        self.text_chunks = 0

    def start_clocks(self) -> None:
        """Look at the clocks from now on."""
        self._look_next(math.inf)

    async def transmit(
        self, message: Message, text_chunks: int = 0, *, or_stop: bool = False
    ) -> None:
        """Hand one message to the server, after the one that is on its way.

        Raises what `send` raises; an `OSError` means that the client is gone. With `or_stop` that
        ends the stream instead.
        """
        since = None
        try:
            if self.beside is not None or self.given_up:
                await self._turn()
            self.text_chunks += text_chunks
            since = self._sending_since = self._loop.time()
            await self._send(message)
            self._last_sent = self._loop.time()
        except Exception as error:
            if not or_stop:
                raise
            self._send_failed(error)
        finally:
            if since is not None:  # else another is still being sent
                self._sending_since = None

    def begin_to_transmit(self, message: Message, text_chunks: int) -> Steps | None:
        """Hand one message to the server; return the rest of that, to be driven, if it blocks.

        It is `transmit` with `or_stop`, without a coroutine for what nearly never blocks, on a line
        that has not been given up, and where nothing is being sent beside.
        """
        self.text_chunks += text_chunks
        send = self._send
        try:
            sending = send(message).__await__()
            waiter = next(sending, DONE)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it ends the stream
            self._send_failed(error)
            return None
        self._last_sent = self._loop.time()
        return None if waiter is DONE else self._finish(sending, waiter).__await__()

    def give_up(self) -> None:
        """Hand over no further message."""
        self.given_up = True
        self.open = False

    def go_on_beside(self, send: Callable[[], Awaitable[None]]) -> None:
        """Let a `transmit` run in a task of its own; the next one waits for it."""
        task = self._loop.create_task(self._finish_beside(send))
        self.beside = None if task.done() else task  # eager tasks may be done

    def close(self) -> None:
        """Stop both clocks, and what is still being sent beside."""
        self.open = False
        self._fail = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.beside is not None:
            self.beside.cancel()
            self.beside = None

    async def _finish(self, sending: Steps, waiter: Any) -> None:  # noqa: ANN401 - a future
        self._sending_since = self._last_sent
        try:
            await go_on(sending, waiter)
            self._last_sent = self._loop.time()
        except Exception as error:  # noqa: BLE001 - it ends the stream
            self._send_failed(error)
        finally:
            self._sending_since = None

    def _send_failed(self, error: BaseException) -> None:
        if isinstance(error, OSError):
            self._lost(Outcome.DISCONNECTED, None)
        elif isinstance(error, asyncio.CancelledError):  # nobody here did that
            self._lost(Outcome.SHUT_DOWN, None)
        else:
            self._lost(Outcome.FAILED, error)

    async def _turn(self) -> None:
        """Wait until nothing is being sent beside, but by this task."""
        if self.beside is not None and self.beside is not asyncio.current_task():
            await asyncio.wait((self.beside,))
        if self.given_up:
            raise OSError("the client is gone")

    async def _finish_beside(self, send: Callable[[], Awaitable[None]]) -> None:
        try:
            await send()
        except asyncio.CancelledError:  # if not by `close`: the server's send itself
            self._lost(Outcome.SHUT_DOWN, None)
            raise
        finally:
            if self.beside is asyncio.current_task():
                self.beside = None

    def _lost(self, outcome: Outcome, error: BaseException | None) -> None:
        if self._fail is not None:
            self._fail(outcome, error)

    def _look_next(self, due: float) -> None:
        # A send that begins, or a silence, just after this look is due no sooner than that.
        soonest = self._loop.time() + min(self._heartbeat, self._send_timeout)
        if soonest < math.inf:
            self._timer = self._loop.call_at(min(due, soonest), self._look_at_clocks)

    def _look_at_clocks(self) -> None:
        now = self._loop.time()
        if self._sending_since is not None:
            due = self._sending_since + self._send_timeout
            if now >= due:
                self._lost(Outcome.TIMED_OUT, None)
                return
        else:
            due = self._last_sent + self._heartbeat
            if now >= due:
                due = math.inf
                self._beat()
        self._look_next(due)

    def _beat(self) -> None:
        if self.open and self.beside is None:
            keep_alive = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}
            self.go_on_beside(partial(self.transmit, keep_alive, or_stop=True))
