"""The way of an ending under trio: scopes that are opened before the work begins.

The stop is one cancellation here too, though trio's are level-triggered: when it reaches
the await where the work stands, a scope around the work becomes a shield. So the awaits in
a `finally` run to their end, until `cleanup_timeout`. A cancellation that comes from outside of
the stream follows trio's own rules.
"""

import logging
import math
import types
from abc import abstractmethod
from collections.abc import Coroutine, Generator
from typing import Any

import anyio
import trio
from anyio.abc import TaskGroup

from sse_asgi.stream.asgi import Send
from sse_asgi.stream.ending import FINAL_GRACE, Ending
from sse_asgi.stream.line_trio import TrioLine
from sse_asgi.stream.options import Options
from sse_asgi.stream.transcript import Outcome

_logger = logging.getLogger("sse_asgi")


class TrioEnding(Ending[TrioLine]):
    """A stream's end under trio. It is made, and runs, in the server's task."""

    tasks: TaskGroup

    def __init__(self, options: Options, send: Send) -> None:
        super().__init__(options)
        self.line = TrioLine(
            send,
            heartbeat=options.heartbeat,
            send_timeout=options.send_timeout,
            fail=self.line_failed,
        )
        self._work = anyio.CancelScope()
        self._inner = anyio.CancelScope()  # becomes the shield of the clean-up
        self._final = anyio.CancelScope()
        self._stop_arrived = False
        self._final_stop: Outcome | None = None
        self._shutdown_begun = anyio.Event()
        self._shutdown_seconds = math.inf

    @abstractmethod
    async def work(self) -> None:
        """Do what the stream is there for."""

    @abstractmethod
    async def watch(self) -> None:
        """Return when the client has left."""

    async def end_with_work(self) -> None:
        """Work, and end: conclude, close, report, and raise what the server must know."""
        try:
            async with anyio.create_task_group() as self.tasks:
                try:
                    await self._work_to_the_end()
                    await self._conclude()
                finally:
                    self.close()
                    await self.report_now()
                    self.tasks.cancel_scope.cancel()
        finally:
            self.leave_shutdown()
        del self.tasks
        self._raise_what_is_due()

    def start_watching(self) -> None:
        """Begin to watch the client, the clocks, and for a shutdown, each in a task of its own."""
        self.tasks.start_soon(self._watch)
        self.tasks.start_soon(self.line.look_at_clocks)
        self.tasks.start_soon(self._await_shutdown)

    # Stopping

    def cancel_work(self) -> None:
        """Cancel what the work awaits, once, and bound its clean-up."""
        self._work.cancel()
        self._inner.deadline = min(self._inner.deadline, self._cleanup_ends())

    def bound_cleanup(self) -> None:
        """Give the work `cleanup_timeout` seconds from now to end."""
        self._inner.shield = True
        self._inner.deadline = min(self._inner.deadline, self._cleanup_ends())

    def _cleanup_ends(self) -> float:
        return anyio.current_time() + self.options.cleanup_timeout

    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; once is enough."""
        self.stopping = True
        self._shutdown_seconds = min(self._shutdown_seconds, seconds)
        self._shutdown_begun.set()

    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, which is being sent, once its `FINAL_GRACE` is over."""
        if self._final_stop is None:
            self._final_stop = outcome
            grace = FINAL_GRACE.get(outcome, 0)
            self._final.deadline = anyio.current_time() + grace

    def lift_last_bound(self) -> None:
        """Let the last message take its time after all."""
        self._final_stop = None
        self._final.deadline = math.inf

    async def _watch(self) -> None:
        try:
            await self.watch()
        except Exception as error:  # noqa: BLE001 - judged there
            self.watch_ended(error)
        else:
            self.watch_ended(None)

    async def _await_shutdown(self) -> None:
        await self._shutdown_begun.wait()
        await anyio.sleep(self._shutdown_seconds)
        self.stop(Outcome.SHUT_DOWN)

    # Ending

    async def _work_to_the_end(self) -> None:
        try:
            with self._work, self._inner:
                await self._work_and_judge()
        except trio.Cancelled as error:  # none of the stream's own scopes has sent it
            if trio.current_effective_deadline() == -math.inf:
                self.judge(error, cancelled=self.outcome is None)
                raise
            self.judge(_stray_cancellation(error), cancelled=False)
        if self._inner.cancel_called:
            _logger.error("a source did not end within cleanup_timeout")

    async def _work_and_judge(self) -> None:
        try:
            await self._drive(self.work())
        except trio.Cancelled:
            raise  # through the scopes: one of them may have sent it
        except BaseException as error:  # noqa: BLE001 - raised again at the end
            self.judge(error, cancelled=False)
        else:
            self.judge(None, cancelled=False)

    @types.coroutine
    def _drive(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Step the work, and shield it from the await after the one that the stop reached.

        Not before: a task that is about to run anyway gets the cancellation at a later await.
        """
        try:
            message = work.send(None)
            while True:
                message = work.send(self._noting_the_stop((yield message)))
                if self._stop_arrived:
                    self._inner.shield = True
        except StopIteration:
            return

    def _noting_the_stop(self, result: Any) -> Any:  # noqa: ANN401 - the outcome of an await
        if self._work.cancel_called and isinstance(getattr(result, "error", None), trio.Cancelled):
            self._stop_arrived = True
        return result

    async def _conclude(self) -> None:
        self.concluding = True
        if self.outcome is Outcome.SHUT_DOWN:
            self.cancel_last_words(Outcome.SHUT_DOWN)
        with self._final:
            try:
                await self.conclude()
            except OSError:
                self.settle(Outcome.DISCONNECTED)
            except anyio.get_cancelled_exc_class():
                self.settle(self._final_stop or Outcome.SHUT_DOWN)
                raise
            except Exception as error:  # noqa: BLE001 - raised again at the end
                self.settle(Outcome.FAILED, error)
            else:
                self.settle(Outcome.COMPLETED)

    def close(self) -> None:
        """Let nothing stop the stream any more, for it has ended."""
        self.closed = True
        self.line.close()

    async def report_now(self) -> None:
        """Tell `on_complete`, where no cancellation reaches it; only once."""
        waiting = self.report()
        if waiting is None:
            return
        with anyio.CancelScope(shield=True):
            try:
                await waiting
            except Exception:
                _logger.exception("on_complete raised")

    def _raise_what_is_due(self) -> None:
        error = self.due_error()
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame


def _stray_cancellation(cancelled: trio.Cancelled) -> RuntimeError:
    """Return what tells of a cancellation that would end whoever gets it, for it has no scope."""
    error = RuntimeError("a cancellation came from a scope that is not around the stream")
    error.__cause__ = cancelled
    return error
