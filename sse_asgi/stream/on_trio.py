"""The response under trio: a nursery of tasks, and scopes that were opened before the source.

The server's task drives `produce`. Beside it, one task watches the client, one sends what is
ready, one looks at the clocks, one awaits a shutdown. A task of its own must send: under trio
nobody but the scheduler can step a source up to the point where it waits.

The stop is one cancellation here too, though trio's are level-triggered: once the cancellation
is on its way to the await where the source stands, a scope around the source becomes a shield.
So the awaits in the source's `finally` run to their end, until `cleanup_timeout`. A
cancellation that comes from outside of the stream follows trio's own rules.
"""

import logging
import math
from collections.abc import Callable
from typing import Final

import anyio

from sse_asgi.stream.asgi import Message, Receive, Send
from sse_asgi.stream.line import KEEP_ALIVE
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.stream.request import Request
from sse_asgi.stream.response import FINAL_GRACE, Response
from sse_asgi.stream.source import SourceOpener
from sse_asgi.stream.transcript import Outcome
from sse_asgi.stream.watch import watch

_KEEP_ALIVE: Final = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}

_logger = logging.getLogger("sse_asgi")


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


class _NotingOutbox(Outbox):
    """An outbox that notes that there is something to send."""

    __slots__ = ("filled",)

    def __init__(self) -> None:
        super().__init__()
        self.filled = anyio.Event()

    def put(self, frame: bytes, text_chunks: int) -> None:
        super().put(frame, text_chunks)
        self.filled.set()


class TrioResponse(Response[TrioLine]):
    """One response under trio."""

    __slots__ = (
        "_final",
        "_final_stop",
        "_flushed",
        "_inner",
        "_shutdown_begun",
        "_shutdown_seconds",
        "_work",
    )

    outbox: _NotingOutbox

    def __init__(
        self, opener: SourceOpener, options: Options, request: Request, send: Send
    ) -> None:
        super().__init__(opener, options, request)
        self.outbox = _NotingOutbox()
        self.line = TrioLine(send, heartbeat=options.heartbeat, send_timeout=options.send_timeout)
        self._flushed = anyio.Event()
        self._work = anyio.CancelScope()
        self._inner = anyio.CancelScope()  # becomes the shield of the source's clean-up
        self._final = anyio.CancelScope()
        self._shutdown_begun = anyio.Event()
        self._shutdown_seconds = math.inf
        self._final_stop: Outcome | None = None

    async def run(self, receive: Receive) -> None:
        """Live: from the first message to the server to the report of the end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, receive)
            tasks.start_soon(self._send_what_is_ready)
            tasks.start_soon(self.line.look_at_clocks, self.stop)
            tasks.start_soon(self._await_shutdown)
            try:
                await self._produce()
                await self._conclude()
            finally:
                self.closed = True
                with anyio.CancelScope(shield=True):
                    await self._report()
                tasks.cancel_scope.cancel()
        error, self.error = self.error, None
        try:
            if self.outcome is Outcome.FAILED and error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame

    async def flush(self) -> None:
        """Wait until what is ready has been sent, by the task that sends."""
        self.outbox.filled.set()
        await self._flushed.wait()

    async def pause(self) -> None:
        """Let others run, and let a cancellation in."""
        await anyio.lowlevel.checkpoint()

    def bound_cleanup(self) -> None:
        """Give the source `cleanup_timeout` seconds from now to end."""
        if not self._inner.shield:
            self._inner.shield = True
            self._inner.deadline = anyio.current_time() + self.options.cleanup_timeout

    def cancel_source(self) -> None:
        """Cancel what the source awaits, once, and bound its clean-up."""
        self._work.cancel()  # it is on its way from here on
        self.bound_cleanup()

    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; once is enough."""
        self._shutdown_seconds = min(self._shutdown_seconds, seconds)
        self._shutdown_begun.set()

    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, which is being sent; at once, or soon if the client left."""
        if self._final_stop is None:
            self._final_stop = outcome
            grace = FINAL_GRACE if outcome is Outcome.DISCONNECTED else 0
            self._final.deadline = anyio.current_time() + grace

    async def _watch(self, receive: Receive) -> None:
        try:
            await watch(receive, self.request)
        except Exception as error:  # noqa: BLE001 - judged there
            self.watch_ended(error)
        else:
            self.watch_ended(None)

    async def _send_what_is_ready(self) -> None:
        while not self.line_lost:
            await self.outbox.filled.wait()
            self.outbox.filled = anyio.Event()
            await super().flush()
            flushed, self._flushed = self._flushed, anyio.Event()
            flushed.set()
        if not self.concluding:
            self.cancel_source()

    async def _await_shutdown(self) -> None:
        await self._shutdown_begun.wait()
        await anyio.sleep(self._shutdown_seconds)
        self.stop(Outcome.SHUT_DOWN)

    async def _produce(self) -> None:
        with self._work, self._inner:
            try:
                await self.produce()
            except anyio.get_cancelled_exc_class() as error:
                self.judge(error, cancelled=self.outcome is None)
                raise
            except BaseException as error:  # noqa: BLE001 - raised again at the end
                self.judge(error, cancelled=False)

    async def _conclude(self) -> None:
        self.concluding = True
        with self._final:
            try:
                await self.conclude()
            except OSError:
                self.settle(Outcome.DISCONNECTED)
            except Exception as error:  # noqa: BLE001 - raised again at the end
                self.settle(Outcome.FAILED, error)
            else:
                self.settle(Outcome.COMPLETED)
        self.settle(self._final_stop or Outcome.SHUT_DOWN)

    async def _report(self) -> None:
        waiting = self.report()
        if waiting is not None:
            try:
                await waiting
            except Exception:
                _logger.exception("on_complete raised")
