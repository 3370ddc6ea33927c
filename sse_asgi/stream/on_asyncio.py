"""The response under asyncio: two tasks, and a source that is stepped by hand.

The server's task drives `produce`; a second task watches the client. When the source suspends,
what it gave up to then is sent, and only then does this task wait for what the source waits
for. So chunks that are ready together leave together, no chunk waits for a later one, and
neither a queue nor a third task is needed.
"""

import asyncio
import contextlib
import contextvars
import time
import types
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from time import monotonic
from typing import Any, Final

from sse_asgi.stream.asgi import Receive, Send
from sse_asgi.stream.ending_asyncio import AsyncioEnding
from sse_asgi.stream.line import Line
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import MAX_WAIT
from sse_asgi.stream.request import Request
from sse_asgi.stream.response import Response
from sse_asgi.stream.source import SourceOpener
from sse_asgi.stream.steps import (
    DONE,
    Steps,
    cancel,
    first_step,
    go_on,
    one_turn,
    rest_of,
    wake,
)
from sse_asgi.stream.transcript import Outcome
from sse_asgi.stream.watch import watch

THREADS_TURN: Final = 0.000_05
"""Seconds for which a source that never awaits leaves the interpreter to other threads."""

CONTINUE_TIMEOUT: Final = 1.0
"""Seconds that a client may take to send a body once it is asked for it; then the stream starts."""

_Work = Coroutine[Any, Any, None]


class AsyncioResponse(Response[Line], AsyncioEnding):
    """One response under asyncio."""

    _driven: "asyncio.Future[None] | None" = None  # what a blocked send is waited for by

    def __init__(
        self,
        opener: SourceOpener,
        options: Options,
        request: Request,
        receive: Receive,
        send: Send,
    ) -> None:
        AsyncioEnding.__init__(self, options, send)
        super().__init__(opener, request)
        self._receive = receive

    def run(self) -> Awaitable[None]:
        """Live: from the first message to the server to the report of the end."""
        return self.end_with_work()

    async def watch(self) -> None:
        """Return when the client has left."""
        await watch(self._receive, self.request)

    def work(self) -> Awaitable[None]:
        """Produce, and send what is ready whenever the source waits."""
        self.enter_shutdown()  # a signal may come before that
        return self._drive(self.produce())

    async def pause(self) -> None:
        """Send what is ready (`_drive` does), let others run, and let a cancellation in."""
        # A server's own threads need the interpreter to bring in other requests, and a source that
        # never awaits would leave it to them every 5 ms at best.
        time.sleep(THREADS_TURN)  # noqa: ASYNC251
        if not self.source.is_to_learn:  # that must not wait for a slow client
            await self.source.wait(one_turn(), self.source_must_know)

    def source_must_know(self) -> bool:
        """Tell whether a cancellation that has come is news to the source."""
        return self.outcome is None and self.is_cancelled_by_others()

    async def close_source(self) -> None:
        """Close the source; only if that takes a while, a timer bounds it."""
        closing, waiter = first_step(self.source.close())
        if waiter is not DONE:
            self.bound_cleanup()
            await go_on(closing, waiter)

    async def conclude(self) -> None:
        """Conclude; if that takes a while, look after the stream meanwhile."""
        concluding, waiter = first_step(super().conclude())
        if waiter is not DONE:
            self._attend()
            await go_on(concluding, waiter)

    def _attend(self) -> None:
        """Begin to watch the client and the clocks, if that has not begun."""
        if self._watcher is None:
            self.start_watching()

    @types.coroutine
    def _drive(self, work: _Work) -> Steps:
        """Run the work in this task; whenever it suspends, send first what is ready."""
        outbox, line = self.outbox, self.line
        try:
            waiter = work.send(None)
            self._attend()
            if self.request.expects_continue:
                yield from self._have_body_asked_for().__await__()
            must_start = not self.options.prefetch  # the headers wait for no chunk
            while True:
                if (
                    (outbox.chunks or outbox.frames or must_start)
                    and not line.given_up
                    and (line.beside is None or (yield from self._wait_for_line()))
                ):
                    must_start = False
                    rest = self._begin_flush()
                    if rest is not None:
                        yield from self._wait_for_slow_client(rest)
                try:
                    yield waiter
                    outbox.due = monotonic() + MAX_WAIT
                except BaseException as error:  # noqa: BLE001 - a cancellation: it is the work's
                    outbox.due = monotonic() + MAX_WAIT
                    waiter = work.throw(error)
                    if self.abandoned:
                        _abandon(work)
                        return
                else:
                    waiter = work.send(None)
        except StopIteration:
            return

    async def _have_body_asked_for(self) -> None:
        """Let the server ask for a body that its client holds back: after the start none does.

        It asks when the watcher first calls `receive`. A server that does so in a thread of its own
        has surely asked once an answer comes; that is waited for only if the source waits for it.
        """
        try:
            await one_turn()
            if self.request.is_awaited:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CONTINUE_TIMEOUT):
                        await self.request.begun()
        except asyncio.CancelledError as error:
            self._cancel_again(error.args)

    def _begin_flush(self) -> Steps | None:
        """Begin to send what is ready, and return the rest of that if it blocks.

        It is what `flush` does, without the coroutines: this is what most chunks cost.
        """
        if self.started:
            body, text_chunks = self.take_ready()
            if body:
                message = {"type": "http.response.body", "body": body, "more_body": True}
                return self.line.begin_to_transmit(message, text_chunks)
            self.line.text_chunks += text_chunks  # the framing made nothing of them
            return None
        try:
            sending, waiter = first_step(self.flush())
        except asyncio.CancelledError:  # not of this task, which runs: the server's send itself
            self.line_failed(Outcome.SHUT_DOWN)
            return None
        return None if waiter is DONE else rest_of(sending, waiter)

    def _wait_for_line(self) -> Generator[Any, Any, bool]:
        """Wait while something is sent beside; tell whether the line is free then.

        A cancellation that comes meanwhile, of either kind, the work gets at once.
        """
        line = self.line
        self.hold_bound()
        try:
            while line.beside is not None and not line.given_up:
                yield from self._until_done(line.beside)
        except asyncio.CancelledError as error:
            self._cancel_again(error.args)
        self.restart_bound()
        return line.beside is None and not line.given_up

    def _wait_for_slow_client(self, sending: Steps) -> Steps:
        """Drive a send that blocks, and give the work no less time to clean up because of it."""
        self.hold_bound()
        yield from self._drive_send(sending)
        self.restart_bound()

    def _drive_send(self, sending: Steps) -> Steps:
        """Drive a send that blocks, while the work stands at an await that is not yet passed on.

        A cancellation that comes meanwhile is either our own stop, or meant for the work: its
        own timeout has passed. Then it must not tear the send, which goes on beside. Either
        way the work gets it, at its own await.
        """
        cancelled: tuple[Any, ...] | None = None
        told = False  # the send, that the line has been given up
        try:
            waiter = next(sending)
            while True:
                try:
                    yield from self._until_done(waiter)
                except asyncio.CancelledError as error:
                    cancelled = error.args
                    if not self.line.given_up:
                        self.line.go_on_beside(partial(go_on, sending, waiter))
                        break
                if self.line.given_up and not told:
                    told = True
                    waiter = cancel(sending, waiter)
                elif waiter is None or waiter.done():
                    waiter = wake(sending, waiter)
        except StopIteration:
            pass
        except asyncio.CancelledError:
            if not told:  # so it has cancelled itself
                self.line_failed(Outcome.SHUT_DOWN)
        if cancelled is not None:
            self._cancel_again(cancelled)

    def release_send(self) -> None:
        """Let a send that is driven see that the line has been given up."""
        if self._driven is not None and not self._driven.done():
            self._driven.set_result(None)

    def _cancel_again(self, message: tuple[Any, ...]) -> None:
        """Pass a cancellation on to the next await, with its message and counted once."""
        self.host.uncancel()
        self.host.cancel(*message)

    def _until_done(self, waiter: Any) -> Steps:  # noqa: ANN401 - a future of any kind, or None
        """Wait like a task does, but keep a cancellation from the future that is waited for."""
        if waiter is None:
            yield
            return
        if waiter.done():  # who cancels with every turn of the loop would leave none for the rest
            return
        done = self._driven = self.loop.create_future()
        context = contextvars.copy_context()

        def note(_: object) -> None:
            if not done.done():
                done.set_result(None)

        waiter.add_done_callback(note, context=context)
        try:
            yield from done
        finally:
            self._driven = None


def _abandon(work: _Work) -> None:
    with contextlib.suppress(RuntimeError):  # it awaits even while it is being closed
        work.close()
