"""The response under asyncio: two tasks, one cancellation, and a source stepped by hand.

The server's task drives `produce`; a second task watches the client. Two things are unusual.

The source is driven by hand (`_drive`). When it suspends, what it gave up to then is sent, and
only then does this task wait for what the source waits for. So chunks that are ready together
leave together, no chunk waits for a later one, and neither a queue nor a third task is needed.

The stop is one native cancellation of the server's task, which reaches the await where the
source stands. Native cancellations are edge-triggered: the awaits in the source's `finally`
run to their end, until `cleanup_timeout` sends a second one.
"""

import asyncio
import contextlib
import contextvars
import logging
import math
import types
from collections.abc import Coroutine, Generator
from typing import Any, cast

import anyio

from sse_asgi.stream.asgi import Receive, Send
from sse_asgi.stream.line import Line
from sse_asgi.stream.options import Options
from sse_asgi.stream.request import Request
from sse_asgi.stream.response import FINAL_GRACE, Response
from sse_asgi.stream.source import SourceOpener
from sse_asgi.stream.transcript import Outcome
from sse_asgi.stream.watch import watch

_Steps = Generator[Any, None, None]
_Work = Coroutine[Any, Any, None]

_logger = logging.getLogger("sse_asgi")


class AsyncioResponse(Response[Line]):
    """One response under asyncio."""

    __slots__ = ("_abandoned", "_bound", "_cancels", "_final_stop", "_grace", "_host", "_loop",
                 "_older_cancels", "_shutdown")  # fmt: skip

    def __init__(
        self, opener: SourceOpener, options: Options, request: Request, send: Send
    ) -> None:
        super().__init__(opener, options, request)
        self._loop = asyncio.get_running_loop()
        self._host = cast("asyncio.Task[Any]", asyncio.current_task())
        self._older_cancels = self._host.cancelling()
        self._cancels = 0  # of the host, by this response
        self._bound: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._shutdown: asyncio.TimerHandle | None = None
        self._final_stop: Outcome | None = None
        self._abandoned = False
        self.line = Line(
            send, heartbeat=options.heartbeat, send_timeout=options.send_timeout, fail=self.stop
        )

    async def run(self, receive: Receive) -> None:
        """Live: from the first message to the server to the report of the end."""
        watcher = self._loop.create_task(watch(receive, self.request))
        watcher.add_done_callback(self._watcher_done)
        try:
            await self._produce()
            await self._conclude()
        finally:
            self._close()
            watcher.cancel()
        await self._report()
        self._raise_what_is_due()

    def bound_cleanup(self) -> None:
        """Give the source `cleanup_timeout` seconds from now to end."""
        if self._bound is None:
            self._bound = self._loop.call_later(self.options.cleanup_timeout, self._give_up)

    async def pause(self) -> None:
        """Let others run, and let a cancellation in."""
        await _yield()

    # Producing

    async def _produce(self) -> None:
        error: BaseException | None = None
        try:
            await self._drive(self.produce())
        except BaseException as caught:  # noqa: BLE001 - raised again at the end, unless it is ours
            error = caught
        if self._bound is not None:
            self._bound.cancel()
        cancelled = isinstance(error, asyncio.CancelledError) and self._is_cancelled_by_others()
        self.judge(error, cancelled=cancelled)
        self._take_back_cancels()
        del error  # its traceback holds this frame

    @types.coroutine
    def _drive(self, work: _Work) -> _Steps:
        """Run the work in this task; whenever it suspends, send first what is ready."""
        try:
            waiter = work.send(None)
            while True:
                if self.outbox and not self.line_lost:
                    yield from self._flush_meanwhile()
                try:
                    yield waiter
                except BaseException as error:  # noqa: BLE001 - a cancellation: it is the work's
                    waiter = work.throw(error)
                    if self._abandoned:
                        _abandon(work)
                        return
                else:
                    waiter = work.send(None)
        except StopIteration:
            return

    def _flush_meanwhile(self) -> _Steps:
        """Send what is ready, while the work stands at an await that is not yet passed on."""
        sending: _Work = self.flush()
        try:
            waiter = sending.send(None)
        except StopIteration:
            if self.line_lost:
                self.cancel_source()
            return
        yield from self._wait_for_slow_client(sending, waiter)

    def _wait_for_slow_client(self, sending: _Work, waiter: Any) -> _Steps:  # noqa: ANN401
        """Drive a send that blocks.

        A cancellation that comes meanwhile is either our own stop, or meant for the work: its
        own timeout has passed. Then it must not tear the send, which goes on beside. Either
        way the work gets it, at its own await.
        """
        stopped = False
        try:
            while True:
                try:
                    yield from self._until_done(waiter)
                except asyncio.CancelledError as error:
                    stopped = True
                    if self.outcome is None:
                        self.line.go_on_beside(_resume(sending, waiter))
                        break
                    if waiter is None:
                        waiter = sending.throw(error)
                    else:
                        waiter.cancel()
                else:
                    waiter = sending.send(None)
        except (StopIteration, asyncio.CancelledError):
            pass  # sent, or given up
        if stopped:
            self._host.uncancel()
            self._host.cancel()
        elif self.line_lost:
            self.cancel_source()

    def _until_done(self, waiter: Any) -> _Steps:  # noqa: ANN401 - a future of any kind, or None
        """Wait like a task does, but keep a cancellation from the future that is waited for."""
        if waiter is None:
            yield
            return
        done = self._loop.create_future()
        context = contextvars.copy_context()

        def wake(_: object) -> None:
            if not done.done():
                done.set_result(None)

        waiter.add_done_callback(wake, context=context)
        yield from done

    # Stopping

    def cancel_source(self) -> None:
        """Cancel what the source awaits, once, and bound its clean-up."""
        self._cancel_host()
        self.bound_cleanup()

    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; once is enough."""
        if self._shutdown is None and not self.closed and seconds < math.inf:
            self._shutdown = self._loop.call_later(seconds, self.stop, Outcome.SHUT_DOWN)

    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, which is being sent; at once, or soon if the client left."""
        if self._final_stop is None:
            self._final_stop = outcome
            grace = FINAL_GRACE if outcome is Outcome.DISCONNECTED else 0
            self._grace = self._loop.call_later(grace, self._cancel_host)

    def _watcher_done(self, watcher: "asyncio.Task[None]") -> None:
        if not watcher.cancelled():
            self.watch_ended(watcher.exception())

    def _cancel_host(self) -> None:
        self._cancels += 1
        self._host.cancel()

    def _give_up(self) -> None:
        self._abandoned = True
        self._cancel_host()

    def _is_cancelled_by_others(self) -> bool:
        return self._host.cancelling() - self._cancels > self._older_cancels

    def _take_back_cancels(self) -> None:
        while self._cancels:
            self._cancels -= 1
            self._host.uncancel()

    # Ending

    async def _conclude(self) -> None:
        self.concluding = True
        try:
            await self.conclude()
        except OSError:
            self.settle(Outcome.DISCONNECTED)
        except asyncio.CancelledError:
            ours = self._final_stop is not None and not self._is_cancelled_by_others()
            self.settle(self._final_stop or Outcome.SHUT_DOWN if ours else Outcome.SHUT_DOWN)
        except Exception as error:  # noqa: BLE001 - raised at the end
            self.settle(Outcome.FAILED, error)
        else:
            self.settle(Outcome.COMPLETED)
        if self._grace is not None:
            self._grace.cancel()
        self._take_back_cancels()

    def _close(self) -> None:
        self.closed = True
        self.line.close()
        if self._shutdown is not None:
            self._shutdown.cancel()

    async def _report(self) -> None:
        """Tell `on_complete`, in a task of its own that no cancellation reaches."""
        waiting = self.report()
        if waiting is None:
            return
        hook = asyncio.ensure_future(waiting)
        with anyio.CancelScope(shield=True):
            while not hook.done():
                try:
                    await asyncio.wait((hook,))
                except asyncio.CancelledError:
                    continue  # it is still counted, and raised when the hook is done
        if hook.cancelled() or hook.exception() is not None:
            error = None if hook.cancelled() else hook.exception()
            _logger.error("on_complete raised", exc_info=error)

    def _raise_what_is_due(self) -> None:
        error, self.error = self.error, None
        cancelled = self._is_cancelled_by_others()
        del self._host  # the task will hold the error, whose traceback holds this response
        try:
            if cancelled:
                raise asyncio.CancelledError
            if self.outcome is Outcome.FAILED and error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame


@types.coroutine
def _yield() -> _Steps:
    yield


@types.coroutine
def _resume(work: _Work, waiter: Any) -> _Steps:  # noqa: ANN401 - what the work waits for
    """Go on with work that has begun elsewhere."""
    try:
        while True:
            try:
                yield waiter
            except BaseException as error:  # noqa: BLE001 - it is the work's
                waiter = work.throw(error)
            else:
                waiter = work.send(None)
    except StopIteration:
        return


def _abandon(work: _Work) -> None:
    _logger.error("a source did not end within cleanup_timeout and is abandoned")
    with contextlib.suppress(RuntimeError):  # it awaits even while it is being closed
        work.close()
