"""The way of an ending under asyncio: native cancellations, each counted and taken back.

The stop is one native cancellation of the server's task. Native cancellations are
edge-triggered: the awaits in a `finally` run to their end, until `cleanup_timeout` sends
a second one.
"""

import asyncio
import logging
import math
from abc import abstractmethod
from collections.abc import Awaitable
from typing import Any, cast

import anyio
import anyio.lowlevel

from sse_asgi.stream.asgi import Send
from sse_asgi.stream.ending import FINAL_GRACE, Ending
from sse_asgi.stream.line import Line
from sse_asgi.stream.options import Options
from sse_asgi.stream.transcript import Outcome

_logger = logging.getLogger("sse_asgi")


class AsyncioEnding(Ending[Line]):
    """A stream's end under asyncio. It is made, and runs, in the server's task, the host.

    Attributes:
        abandoned: `cleanup_timeout` is over.
    """

    # As in `Ending`: what most streams leave as it is.
    abandoned = False
    _cancels = 0  # of the host, by this stream
    _cancel_message: tuple[Any, ...] = ()  # of others: by it anyio knows its own
    _bound: asyncio.TimerHandle | None = None
    _grace: asyncio.TimerHandle | None = None
    _shutdown: asyncio.TimerHandle | None = None
    _watcher: "asyncio.Task[None] | None" = None
    _final_stop: Outcome | None = None

    def __init__(self, options: Options, send: Send) -> None:
        super().__init__(options)
        self.loop = asyncio.get_running_loop()
        self.host = cast("asyncio.Task[Any]", asyncio.current_task(self.loop))
        self._older_cancels = self.host.cancelling()
        self.line = Line(
            send,
            loop=self.loop,
            heartbeat=options.heartbeat,
            send_timeout=options.send_timeout,
            fail=self.line_failed,
        )

    @abstractmethod
    def work(self) -> Awaitable[None]:
        """Do what the stream is there for."""

    @abstractmethod
    async def watch(self) -> None:
        """Return when the client has left."""

    async def end_with_work(self) -> None:
        """Work, and end: conclude, close, report, and raise what the server must know."""
        try:
            try:
                await self.work()
            except BaseException as error:  # noqa: BLE001 - raised again, unless it is ours
                self._work_ended(error)
            else:
                self._work_ended(None)
            await self._conclude()
            self.close()
            await self.report_now()
            await self._ask_for_cancel_message()
        finally:
            if not self.closed:
                self.close()
            self.leave_shutdown()
        self._raise_what_is_due()

    def start_watching(self) -> None:
        """Begin to watch the client, in a task of its own, and the clocks."""
        self._watcher = self.loop.create_task(self.watch())
        self._watcher.add_done_callback(self._watcher_done)
        self.line.start_clocks()

    # Stopping

    def cancel_work(self) -> None:
        """Cancel what the work awaits, once, and bound its clean-up."""
        if self._bound is None:
            self.cancel_host()
            self.bound_cleanup()
        else:  # it is cleaning up already
            self.release_send()

    def release_send(self) -> None:
        """End the wait for a send that blocks, if the line has been given up."""

    def cancel_host(self) -> None:
        """Cancel the server's task, and remember that it was this stream that did."""
        self._cancels += 1
        self.host.cancel()

    def bound_cleanup(self) -> None:
        """Give the work `cleanup_timeout` seconds from now to end."""
        if self._bound is None:
            self._bound = self.loop.call_later(self.options.cleanup_timeout, self._give_up)

    def hold_bound(self) -> None:
        """Do not count the time from here: the work cannot go on."""
        if self._bound is not None:
            self._bound.cancel()

    def restart_bound(self) -> None:
        """Give the work its `cleanup_timeout` anew, if it is cleaning up."""
        if self._bound is not None and not self.abandoned:
            self._bound.cancel()
            self._bound = None
            self.bound_cleanup()

    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; once is enough."""
        self.stopping = True
        if self._shutdown is None and not self.closed and seconds < math.inf:
            self._shutdown = self.loop.call_later(seconds, self.stop, Outcome.SHUT_DOWN)

    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, which is being sent, once its `FINAL_GRACE` is over."""
        if self._final_stop is None:
            self._final_stop = outcome
            grace = FINAL_GRACE.get(outcome, 0)
            self._grace = self.loop.call_later(grace, self.cancel_host)

    def lift_last_bound(self) -> None:
        """Let the last message take its time after all."""
        self._final_stop = None
        if self._grace is not None:
            self._grace.cancel()

    def _watcher_done(self, watcher: "asyncio.Task[None]") -> None:
        if not watcher.cancelled():
            self.watch_ended(watcher.exception())

    def _give_up(self) -> None:
        _logger.error("a source did not end within cleanup_timeout and is abandoned")
        self.abandoned = True
        self.cancel_host()

    def is_cancelled_by_others(self) -> bool:
        """Tell whether somebody has cancelled the server's task but this stream."""
        return self.host.cancelling() - self._cancels > self._older_cancels

    def _take_back_cancels(self) -> None:
        while self._cancels:
            self._cancels -= 1
            self.host.uncancel()

    # Ending

    def _work_ended(self, error: BaseException | None) -> None:
        if self._bound is not None:
            self._bound.cancel()
        cancelled = isinstance(error, asyncio.CancelledError) and self.is_cancelled_by_others()
        if error is not None and cancelled:
            self._cancel_message = error.args
        elif isinstance(error, asyncio.CancelledError) and self.abandoned:
            error = None  # cut by `cleanup_timeout`, which was logged
        self.judge(error, cancelled=cancelled)
        self._take_back_cancels()

    async def _conclude(self) -> None:
        self.concluding = True
        if self.outcome is Outcome.SHUT_DOWN:
            self.cancel_last_words(Outcome.SHUT_DOWN)
        try:
            await self.conclude()
        except OSError:
            self.settle(Outcome.DISCONNECTED)
        except asyncio.CancelledError as error:
            by_others = self.is_cancelled_by_others()
            self._cancel_message = error.args
            self.settle(Outcome.SHUT_DOWN if by_others else self._final_stop or Outcome.SHUT_DOWN)
        except Exception as error:  # noqa: BLE001 - raised at the end
            self.settle(Outcome.FAILED, error)
        else:
            self.settle(Outcome.COMPLETED)
        if self._grace is not None:
            self._grace.cancel()
        self._take_back_cancels()

    def close(self) -> None:
        """Let nothing stop the stream any more, for it has ended."""
        self.closed = True
        self.line.close()
        for timer in (self._bound, self._grace, self._shutdown):
            if timer is not None:
                timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def report_now(self) -> None:
        """Tell `on_complete`, in a task of its own that no cancellation reaches; only once."""
        waiting = self.report()
        if waiting is None:
            return
        hook = asyncio.ensure_future(waiting)
        with anyio.CancelScope(shield=True):
            while not hook.done():
                try:
                    await asyncio.wait((hook,))
                except asyncio.CancelledError as cancelled:
                    self._cancel_message = cancelled.args  # raised when the hook is done
        if hook.cancelled() or hook.exception() is not None:
            error = None if hook.cancelled() else hook.exception()
            _logger.error("on_complete raised", exc_info=error)

    async def _ask_for_cancel_message(self) -> None:
        """Learn the message of a cancellation that the work has kept to itself.

        By that anyio's scopes know their own; one without it would cancel whoever set the scope.
        """
        if self.is_cancelled_by_others() and not self._cancel_message:
            try:
                await anyio.lowlevel.checkpoint_if_cancelled()
            except asyncio.CancelledError as error:
                self._cancel_message = error.args

    def _raise_what_is_due(self) -> None:
        error = self.due_error()
        cancelled = self.is_cancelled_by_others()
        del self.host  # the task will hold the error, whose traceback holds this stream
        try:
            if cancelled:
                raise asyncio.CancelledError(*self._cancel_message)
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame
