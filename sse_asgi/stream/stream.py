"""What all event streams have in common: how they are watched, ended and reported.

`Response` makes a stream of a source. `WrappedResponse` takes care of the stream of another app.
"""

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from inspect import isawaitable

from sse_asgi.asgi import Message, Send
from sse_asgi.host.host import Host, current_host
from sse_asgi.host.loops import Event, Handle
from sse_asgi.source.request import Request
from sse_asgi.stream.failure import describe
from sse_asgi.stream.lifecycle import LAST_CHANCE, Cause, Lifecycle, Phase
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.stream.sender import Sender
from sse_asgi.stream.transcript import Recorder, Transcript
from sse_asgi.wire.outcome import Outcome

_logger = logging.getLogger("sse_asgi")


class Stream(ABC):
    """One event stream. It is made, and lives, in the server's task."""

    __slots__ = ("_ended", "_has_returned", "_reported", "_watcher", "ends_elsewhere", "host",
                 "lifecycle", "options", "outbox", "recorder", "request", "sender")  # fmt: skip

    def __init__(self, options: Options, request: Request, send: Send) -> None:
        self.host = current_host()
        self.outbox: Outbox
        self.ends_elsewhere: bool = False  # in a task of its own, for the server's is stuck
        self._has_returned = False  # the source or the app has let the server's task go
        self._ended: Event
        self._watcher: Handle | None = None
        self._reported = False
        self.options: Options = options
        self.request: Request = request
        self.recorder: Recorder = Recorder(record=options.record)
        self.lifecycle: Lifecycle = Lifecycle(
            self.host, options.cleanup_timeout, cancel=self.cancel, on_stuck=self._end_alone
        )
        next_message = lambda: self.outbox.next_message()  # noqa: E731, PLW0108 - made later
        self.sender: Sender = Sender(self.host, send, self.lifecycle, next_message, options)

    @abstractmethod
    async def work(self) -> None: ...  # step the source, or call the wrapped app, until it ends
    def work_has_ended(self) -> None: ...  # noqa: B027 - judge what is left of it, if anything
    @abstractmethod
    async def leave(self, host: Host) -> None: ...  # raise what is the server's business
    @abstractmethod
    def cancel(self) -> None: ...  # cancel what the work waits for
    @abstractmethod
    def watch(self) -> Awaitable[None]: ...  # wait until the client has left
    @abstractmethod
    async def send_last_message(self) -> None: ...  # end the body

    async def run(self) -> None:
        host = self.host  # if the work does not end, the stream does so with another
        try:
            await host.work(self.work)
            self.work_has_ended()
            if self.is_open and not self.ends_elsewhere:
                await self.end()
        except GeneratorExit:
            if self.is_open:
                self._close_without_loop()
            raise
        finally:
            self._has_returned = True
            if self.is_open and not self.ends_elsewhere:
                self.close()
        if self.ends_elsewhere:
            await self._ended.wait()
        host.take_back()
        await self.leave(host)

    @property
    def is_open(self) -> bool:
        """Whether there is a stream, and something may still stop it."""
        return self.lifecycle.phase is not Phase.CLOSED

    def enter_shutdown(self) -> None:
        if self.options.shutdown is not None:
            self.options.shutdown.enter(self.lifecycle, self.host)

    def start_watching(self) -> None:
        """Watch the client, the server's stop, and the clocks."""
        if self.options.shutdown is not None:
            self.options.shutdown.listen(self.lifecycle, self.host)
        self._watcher = self.host.start(self._watch)
        self.sender.look_at_clocks()

    @property
    def is_watched(self) -> bool:
        return self._watcher is not None

    async def _watch(self) -> None:
        try:
            await self.watch()
        except OSError:
            pass  # the client has left
        except Exception as error:  # noqa: BLE001 - a server's `receive` may raise anything
            self.sender.lose(Outcome.FAILED, error, by=Cause.SERVER)
            return
        except self.host.cancelled:  # by the server, unless the stream has ended
            self.sender.lose(Outcome.SHUT_DOWN, by=Cause.SERVER)
            raise
        self.sender.lose(Outcome.DISCONNECTED, by=Cause.CLIENT)

    # The end

    async def end(self) -> None:
        self.host.take_back()
        await self.host.work(self._finish)
        self.host.take_back()
        self.close()
        if self.lifecycle.outcome is Outcome.FAILED:
            self.log_failure()
        await self.report()

    async def _finish(self) -> None:
        try:
            if self.sender.task is not None:
                self.lifecycle.begin_drain()
                await self.sender.next_drained()
            self.begin_finishing()
            if not self.lifecycle.client_lost:
                await self.send_last_message()
        except BaseException as error:  # noqa: BLE001 - judged there
            self._last_message_failed(error)
        else:
            self.lifecycle.settle(Outcome.COMPLETED, by=Cause.SOURCE)

    def begin_finishing(self) -> None:
        self.lifecycle.begin_finishing()
        for listener in self.options.listeners:
            listener(self)

    def _last_message_failed(self, error: BaseException) -> None:
        if isinstance(error, OSError):
            self.lifecycle.settle(Outcome.DISCONNECTED, by=Cause.CLIENT)
        elif isinstance(error, Exception):
            self.lifecycle.settle(Outcome.FAILED, error, by=Cause.SERVER)
        elif not isinstance(error, self.host.cancelled):
            raise error
        elif self.host.is_cancelled():
            self.host.keep(error)
            self.lifecycle.settle(Outcome.SHUT_DOWN, by=Cause.SERVER)
        else:
            self.lifecycle.last_message_cut()

    def close(self) -> None:
        """Let nothing stop the stream any more, and leave nothing behind; once is enough."""
        self.lifecycle.close()
        self.sender.close()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # its exception will hold this stream
        if self.options.shutdown is not None:
            self.options.shutdown.leave(self.lifecycle)

    def _end_alone(self) -> None:
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

    def _close_without_loop(self) -> None:
        """Close the stream of an event loop that is gone, and report that to a sync hook."""
        self.lifecycle.settle(Outcome.SHUT_DOWN, by=Cause.SERVER)
        with contextlib.suppress(RuntimeError):  # nothing can be cancelled any more
            self.close()
        waiting = self._call_on_complete()
        if waiting is not None:
            _logger.error("on_complete was not awaited: the event loop has closed the stream")
            if close := getattr(waiting, "close", None):
                close()

    # The last message

    def final_body(self) -> bytes:
        """Return what is still to be sent, and the event that ends the stream."""
        for _ in range(2):  # a framing that raises is asked for its failure, once
            try:
                return self._encode_end()
            except Exception as error:
                if not self.lifecycle.settle(Outcome.FAILED, error, by=Cause.FRAMING):
                    _logger.exception("a framing raised while it was to tell of a failure")
        return b""

    def _encode_end(self) -> bytes:
        outbox, outcome = self.outbox, self.lifecycle.outcome or Outcome.COMPLETED
        if outcome in (Outcome.COMPLETED, Outcome.STOPPED):
            outbox.put_end(outcome)
            return outbox.take()
        message = describe(outcome, self.lifecycle.error, self.options.describe_error)
        has_told = outbox.put_failure(message, outcome)
        shutdown = self.options.shutdown
        if outcome is Outcome.SHUT_DOWN and shutdown and shutdown.farewell and not has_told:
            outbox.put_event(shutdown.farewell.encode())
        return outbox.take()

    async def finish_body(self, body: bytes, *before: Message) -> None:
        """Send what comes before, these bytes, and the end; raises what `send` raises."""
        if self.reports_early:
            await self.sender.transmit(*before, _body(body, more=True))
            body, before = b"", ()
            await self.report_early()
        await self.sender.transmit(*before, _body(body or self.filler(), more=False))

    @property
    def reports_early(self) -> bool:
        """Whether `on_complete` is told before the body ends, not after.

        It is once the server has been told to stop: some servers exit as soon as the last body has
        ended, even if the application still runs.
        """
        return self.lifecycle.shutting_down and self.options.on_complete is not None

    async def report_early(self, outcome: Outcome = Outcome.COMPLETED) -> None:
        """Report before the body ends. The hook's time does not count as the last message's."""
        self.lifecycle.settle(outcome, by=Cause.SOURCE)
        self.lifecycle.hold_deadline()
        await self.report()
        if self.lifecycle.outcome is Outcome.SHUT_DOWN:
            self.lifecycle.limit_last_message(Outcome.SHUT_DOWN, by=Cause.SHUTDOWN)
        self.lifecycle.resume_deadline()

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
        return self.recorder.transcript(
            self.lifecycle.outcome or Outcome.COMPLETED,
            self.lifecycle.error,
            chunks=self.outbox.produced_chunks,
            sent_chunks=self.outbox.sent_chunks,
        )


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
