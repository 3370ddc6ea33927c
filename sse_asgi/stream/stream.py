"""What all event streams have in common: how they are watched, ended and reported.

`Response` makes a stream of a source. `WrappedResponse` takes care of the stream of another app.
"""

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine
from inspect import isawaitable
from typing import Any

from sse_asgi.asgi import Message, Send
from sse_asgi.host.host import Host, current_host
from sse_asgi.host.loops import Event, Handle
from sse_asgi.source.request import Request
from sse_asgi.stream.failure import describe
from sse_asgi.stream.lifecycle import CLOSED, LAST_CHANCE, Lifecycle
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.stream.sender import Sender
from sse_asgi.stream.transcript import Recorder, Transcript
from sse_asgi.wire.outcome import COMPLETED, FAILED, SHUT_DOWN, STOPPED, Outcome

_logger = logging.getLogger("sse_asgi")


class Stream(ABC):
    """One event stream. It is made, and lives, in the server's task."""

    outbox: Outbox
    _ended: Event  # of a stream that ends in a task of its own
    _has_returned = False  # the source or the app has let the server's task go
    _reported = False

    def __init__(self, options: Options, request: Request, send: Send) -> None:
        self.host = host = current_host()
        self.watcher: Handle | None = None  # of the client, once the stream has to wait
        self.ends_elsewhere: bool = False  # in a task of its own, for the server's is stuck
        self.options = options
        self.request = request
        self.recorder: Recorder = Recorder() if options.record else Recorder(record=False)
        timeout = options.cleanup_timeout  # not by a keyword: to call a class so costs a dict
        self.lifecycle: Lifecycle = Lifecycle(host, timeout, self)
        self.sender: Sender = Sender(host, send, self.lifecycle, options)

    @abstractmethod
    async def run(self) -> None: ...  # step the source, or call the wrapped app; then `conclude`
    @abstractmethod
    def cancel(self) -> None: ...  # cancel what the work waits for
    @abstractmethod
    def watch(self) -> Coroutine[Any, Any, None]: ...  # lose the client as soon as it has left
    @abstractmethod
    def send_last_message(self) -> Awaitable[None] | None: ...  # end the body

    def answer(self) -> Awaitable[None]:
        """Answer the request; raises what is the server's business."""
        return self.host.live(self.run)

    async def conclude(self, host: Host) -> None:
        """End the stream after its work in the server's task, of which this is the host.

        If the work did not end in time, the stream ends elsewhere, with a host of its own.
        """
        self._has_returned = True
        if self.ends_elsewhere:
            await self._ended.wait()
        elif self.is_open:
            try:
                await self.end()
            except GeneratorExit:
                self.abort()
                raise
        host.take_back()
        failure = self.error_for_server()
        try:
            await host.raise_cancellation()
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback holds this frame

    def error_for_server(self) -> BaseException | None:
        """Return what the server must hear of; the lifecycle keeps no error any longer."""
        error, self.lifecycle.error, self.lifecycle.fatal = self.lifecycle.fatal, None, None
        return error

    def abort(self) -> None:
        """Close a stream whose event loop is gone, and report that to a sync hook."""
        if not self.is_open:
            return
        self.lifecycle.settle(SHUT_DOWN, by="server")
        with contextlib.suppress(RuntimeError):  # nothing can be cancelled any more
            self.close()
        waiting = self._call_on_complete()
        if waiting is not None:
            _logger.error("on_complete was not awaited: the event loop has closed the stream")
            if close := getattr(waiting, "close", None):
                close()

    @property
    def is_open(self) -> bool:
        """Whether there is a stream, and something may still stop it."""
        return self.lifecycle.phase is not CLOSED

    def enter_shutdown(self) -> None:
        if self.options.shutdown is not None:
            self.options.shutdown.enter(self.lifecycle, self.host)

    def watch_client_and_clocks(self) -> None:
        if self.options.shutdown is not None:
            self.options.shutdown.listen(self.lifecycle, self.host)
        self.watcher = self.host.start(self.watch)
        self.sender.look_at_clocks()

    # The end

    async def end(self) -> None:
        self.host.take_back()
        with self.host.working():
            await self._finish()
        self.host.take_back()
        self.close()
        if self.lifecycle.outcome is FAILED:
            self.log_failure()
        if self.options.on_complete is not None:
            await self.report()

    async def _finish(self) -> None:
        try:
            if self.sender.task is not None and not self.lifecycle.client_lost:
                self.lifecycle.begin_drain()
                await self.sender.next_drained()
            self.begin_finishing()
            last = None if self.lifecycle.client_lost else self.send_last_message()
            if last is not None:
                await last
        except BaseException as error:  # noqa: BLE001 - judged here
            if not isinstance(error, self.host.cancelled):
                self.sender.send_failed(error, in_background=False)
            elif self.host.is_cancelled():
                self.host.keep(error)
                self.lifecycle.settle(SHUT_DOWN, by="server")
            else:
                self.lifecycle.last_message_cut()
        else:
            self.lifecycle.settle(COMPLETED, by="source")

    def begin_finishing(self) -> None:
        self.lifecycle.begin_finishing()
        for listener in self.options.listeners:
            listener(self)

    def close(self) -> None:
        """Let nothing stop the stream any more, and leave nothing behind; once is enough."""
        self.lifecycle.close()
        self.sender.close()
        if self.watcher is not None:
            self.watcher.cancel()
            self.watcher = None  # its exception will hold this stream
        if self.options.shutdown is not None:
            self.options.shutdown.leave(self.lifecycle)

    def end_alone(self) -> None:
        """End the stream in a task of its own: the server's task cannot be freed."""
        self.ends_elsewhere = True
        self._ended = self.host.event()
        self.host.start(self._end_in_this_task)

    async def _end_in_this_task(self) -> None:
        left, self.host = self.host, current_host()
        left.take_back()  # the app may go on in the server's task, if that is ever freed
        try:
            await self.end()
        finally:
            if self.is_open:
                self.close()
            self._ended.set()
        self._free(left)

    def _free(self, left: Host) -> None:
        """Cancel the server's task again and again, until the source or the app lets it go."""
        if not self._has_returned:
            left.cancel_work()
            left.call_later(LAST_CHANCE, self._free, left)

    # The last message

    def final_body(self) -> bytes:
        """Return what is still to be sent, and the event that ends the stream."""
        for _ in range(2):  # a framing that raises is asked for its failure, once
            try:
                return self._encode_end()
            except BaseException as error:
                if not self.lifecycle.settle(FAILED, error, by="framing"):
                    _logger.exception("a framing raised while it was to tell of a failure")
        return b""

    def _encode_end(self) -> bytes:
        outbox, outcome = self.outbox, self.lifecycle.outcome or COMPLETED
        if outcome in (COMPLETED, STOPPED):
            outbox.put_end(outcome)
            return outbox.take()
        message = describe(outcome, self.lifecycle.error, self.options.describe_error)
        has_told = outbox.put_failure(message, outcome)
        shutdown = self.options.shutdown
        if outcome is SHUT_DOWN and shutdown and shutdown.farewell and not has_told:
            outbox.put_event(shutdown.farewell.encode())
        return outbox.take()

    async def finish_body(self, body: bytes, *before: Message) -> None:
        """Send what comes before, these bytes, and the end; raises what `send` raises."""
        if self.reports_early:
            await self.sender.transmit(*before, _body(body, more=True))
            await self.report_early()
            body, before = b"", ()
        await self.sender.transmit(*before, _body(body or self.filler(), more=False))

    @property
    def reports_early(self) -> bool:
        """Whether `on_complete` is told before the body ends, not after.

        It is once the server has been told to stop: some servers exit as soon as the last body has
        ended, even if the application still runs.
        """
        return self.lifecycle.shutting_down and self.options.on_complete is not None

    async def report_early(self, outcome: Outcome = COMPLETED) -> None:
        """Report before the body ends. The hook's time does not count as the last message's."""
        self.lifecycle.settle(outcome, by="source")
        await self.lifecycle.untimed(self.report())

    def filler(self) -> bytes:
        """Return a comment for a last message without bytes, where one is needed.

        Told to stop, hypercorn loses the end of an HTTP/2 stream unless bytes come with it.
        """
        http2 = self.request.scope.get("http_version") == "2"
        return b":\n" if http2 and self.lifecycle.shutting_down else b""

    # The report

    def log_failure(self) -> None:
        """Log what failed the stream, with its traceback: no server hears of it."""
        if self.lifecycle.error is not None and self.outbox.has_started:
            _logger.error("an event stream failed", exc_info=self.lifecycle.error)

    async def report(self) -> None:
        """Call `on_complete` where no cancellation reaches it. What it raises is logged."""
        waiting = self._call_on_complete()
        if waiting is not None:
            await self.host.shield(self._await_hook(waiting))

    def _call_on_complete(self) -> Awaitable[object] | None:
        if self.options.on_complete is None or self._reported:
            return None
        self._reported = True
        try:
            result = self.options.call_on_complete(self.transcript(), self.request)
        except (Exception, self.host.cancelled):
            _logger.exception("on_complete raised")
            return None
        return result if isawaitable(result) else None

    async def _await_hook(self, waiting: Awaitable[object]) -> None:
        try:
            await waiting
        except (Exception, self.host.cancelled):
            _logger.exception("on_complete raised")

    def transcript(self) -> Transcript:
        """Return the record of the stream as far as it has come."""
        return self.recorder.transcript(
            self.lifecycle.outcome or COMPLETED,
            self.lifecycle.by or "source",
            self.lifecycle.error,
            chunks=self.outbox.produced_chunks,
            sent=self.outbox.sent_chunks,
        )


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
