"""The producer: one run of a source, whoever watches.

It is a response whose client is the log: what the source yields is stored instead of sent, and the
last message is the ending. So a generation is stepped, stopped, cleaned up and reported by the same
code as every other stream.
"""

import asyncio
import hashlib
import logging
from array import array
from functools import partial
from typing import Any, Final

from sse_asgi.asgi import Message
from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.events import INTERRUPTED_MESSAGE, Cutter, error_event
from sse_asgi.live.generation import ending_of
from sse_asgi.live.viewer import Linger
from sse_asgi.live.writer import Writer
from sse_asgi.source.request import Request
from sse_asgi.source.source import SourceOpener
from sse_asgi.stream.failure import describe
from sse_asgi.stream.lifecycle import CLOSED, FINISHING, RUNNING, STOPPING, Cause
from sse_asgi.stream.options import Options
from sse_asgi.stream.response import Response
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.outcome import Outcome

ENDING: Final = 2.0
"""Seconds that the log may take to store an ending once a stop has come."""

_logger = logging.getLogger("sse_asgi")


class NoRequest(Request):
    """What a source gets that takes a `Request`: there is none, and whatever it asks of it raises.

    A generation belongs to no request. A source that reads one would go on without what it needs.
    """

    def __init__(self) -> None: ...  # there is nothing to keep

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - only what Python itself asks for
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise RuntimeError(
            "a live generation belongs to no request: give `start` a function without arguments "
            "that has what it needs, as in lambda: answer(prompt)"
        )


class Producer(Response):
    """One running generation. Make it in the task that runs it."""

    def __init__(
        self, opener: SourceOpener, options: Options, writer: Writer, *, at_once: bool
    ) -> None:
        super().__init__(opener, options, NoRequest(), _nobody, _nobody)
        self._send_here = self.store_here  # until the end, which breaks this cycle
        self.lifecycle.stop_grace = ENDING
        self.outbox.take_start()  # nobody needs it
        if at_once:
            self.outbox.put_event(b"")  # the framing's beginning comes before it
        self.ended: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        self.linger: Linger | None = None
        self.writer: Writer = writer
        writer.on_news = self.hear
        self._cutter = Cutter()
        self._record: Transcript | None = None
        self._bad_end: Exception | None = None  # what the framing's end has raised
        self._sent = array("L")  # for each event, the chunks up to the end of its message

    # What is asked of it from outside

    def stop(
        self, outcome: Outcome, error: BaseException | None = None, *, by: Cause = "client"
    ) -> bool:
        """End the generation; only the first word counts. Tell whether its source was running."""
        if self.lifecycle.phase not in (FINISHING, CLOSED):
            self.lifecycle.stop(outcome, error, by=by)
            return True
        if by == "shutdown":  # the ending has its time left
            self.lifecycle.stop(outcome, by=by)
        return False

    def enter_shutdown(self) -> None:
        """Let a shutdown concern it from now on; it has no client whose watch would begin that."""
        super().enter_shutdown()
        if self.options.shutdown is not None:
            self.options.shutdown.listen(self.lifecycle, self.host)

    async def end_unbegun(self, outcome: Outcome) -> None:
        """End the generation before its source is touched: the log has it, so it needs an end."""
        self.lifecycle.settle(outcome, by="shutdown")
        self.lifecycle.end_running()
        await self.end()

    def hear(self) -> None:
        """Act on what the log has said; soon, for this may be the source's own task."""
        if self.writer.error is not None:
            self.host.call_soon(partial(self._lose, self.writer.error))
        elif self.writer.stop_asked:
            self.host.call_soon(partial(self.stop, Outcome.STOPPED))
        if self.writer.holds and not self.writer.is_full:
            self.writer.holds = False
            self.host.call_soon(self._task_waits)

    def _lose(self, error: LogError) -> None:
        """Fail: nothing can be written any more. The last message learns of that by itself."""
        if self.lifecycle.phase in (RUNNING, STOPPING):
            self.sender.lose_client(Outcome.FAILED, error, by="server")

    # Storing, where other responses send

    async def store_here(self, message: Message) -> None:
        """Store from the source's own task, which stands at a `yield`."""
        try:
            self._store(message["body"])
        except Exception as error:  # noqa: BLE001 - the generation's failure
            self.lifecycle.settle(Outcome.FAILED, error, by="source")
            self.lifecycle.end_running()
        writer = self.writer
        if writer.appends_here:
            await writer.call("append")
        if writer.last < len(writer.events):
            writer.go_on()
            if writer.is_full:
                self.arm()  # what comes next waits with those after it

    def _task_waits(self) -> None:
        """Store what is ready: the source waits. If the log is far behind, that waits, too."""
        running = self.lifecycle.phase is RUNNING
        if running and self.writer.is_full:
            self.writer.holds = True
            return
        self.sender.pending = None
        if running or self.lifecycle.phase is STOPPING:
            try:
                self._store(self.outbox.take())
            except Exception as error:  # noqa: BLE001 - the generation's failure
                self.lifecycle.stop(Outcome.FAILED, error, by=self._blamed())
            self.writer.go_on()
            self.sender.last = self.host.clock()
            self.sender.drained()

    def _store(self, body: bytes) -> None:
        """Add encoded events to those of the generation; raises what a bound does."""
        if not body:
            return
        events, chunks, prev = self.writer.events, self.outbox.sent_chunks, len(self._sent)
        try:
            self.writer.write(self._cutter.cut(body))
        except Exception:
            chunks = max(0, min(chunks - 1, self._sent_up_to(prev) + len(events) - prev))
            raise
        finally:
            for _ in range(prev, len(events)):
                self._sent.append(chunks)

    def _sent_up_to(self, position: int) -> int:
        """Return how many chunks the events up to a position carry."""
        stored = min(position, len(self._sent))
        return self._sent[stored - 1] if stored else 0

    def _blamed(self) -> Cause:
        return "framing" if self.outbox.failed else "source"

    # The end

    def cancelled_by_server(self) -> None:
        """Settle the outcome: whoever closes the event loop has cancelled every task."""
        self.lifecycle.settle(Outcome.SHUT_DOWN, by="server")

    async def send_last_message(self) -> None:
        """Store what is left and the ending; raises why the log does not take it."""
        try:
            self._store(self.outbox.take())
        except Exception as error:  # noqa: BLE001 - `on_complete` is told
            self.lifecycle.settle(Outcome.FAILED, error, by=self._blamed())
        events = self._last_events()
        self._record = self._transcript(len(self._sent))
        self.writer.finish(events, ending_of(self._record))
        while self.writer.ending is None:
            try:
                await self.writer.changed()
            except asyncio.CancelledError as error:
                if self.host.is_cancelled():
                    self.host.keep(error)
                else:  # its time is over
                    self.writer.lose(LogUnavailableError("the log did not take the ending in time"))
        if self.writer.error is not None:
            raise self.writer.error

    async def end(self) -> None:
        """Store the ending, report, and let those know who wait for the transcript."""
        try:
            await super().end()
        finally:
            self._send_here = _nobody
            self.writer.close()
            self.ended.set_result(self.transcript())

    def transcript(self) -> Transcript:
        """Return what `on_complete` is told."""
        if self._record is None or self._record.outcome is not self._outcome:
            self._record = self._transcript(self.writer.shown)
        return self._record

    @property
    def _outcome(self) -> Outcome:
        if self._bad_end is not None:
            return Outcome.FAILED
        return self.lifecycle.outcome or Outcome.COMPLETED

    def _transcript(self, sent: int) -> Transcript:
        """Return the transcript, by which the events up to a position were sent."""
        return self.recorder.transcript(
            self._outcome,
            "framing" if self._bad_end is not None else self.lifecycle.by or "source",
            self._bad_end or self.lifecycle.error,
            chunks=self.outbox.produced_chunks,
            sent=self._sent_up_to(sent),
        )

    def _last_events(self) -> list[bytes]:
        try:
            if self._outcome in (Outcome.COMPLETED, Outcome.STOPPED):
                self.outbox.put_end(self._outcome)
                return self._cutter.cut(self.outbox.take())
        except Exception as error:
            _logger.exception("a framing's end raised: generation %s", self._name)
            self._bad_end = error
        try:
            # At a shutdown, too: whoever follows it later must learn that it has no more.
            self.outbox.put_failure(self._failure_message(), Outcome.FAILED)
            return self._cutter.cut(self.outbox.take())
        except Exception:
            _logger.exception("a framing's fail raised: generation %s", self._name)
            return [error_event(INTERRUPTED_MESSAGE)[:-2]]

    def _failure_message(self) -> str:
        if self._outcome is not Outcome.FAILED:
            return INTERRUPTED_MESSAGE
        error = self._bad_end or self.lifecycle.error
        return describe(Outcome.FAILED, error, self.options.describe_error)

    def log_failure(self) -> None:
        """Log what failed the generation; what came of its log is logged with the log's outage."""
        error = self.lifecycle.error
        if isinstance(error, LogError):
            _logger.error("a live generation was lost by its log: generation %s", self._name)
        elif error is not None:
            _logger.error("a live source raised: generation %s", self._name, exc_info=error)

    @property
    def _name(self) -> str:
        """Return what the log calls the generation: its id may be all that a viewer needs."""
        return hashlib.sha256(self.writer.key.encode()).hexdigest()[:6]


async def _nobody(*_: object) -> Any:  # noqa: ANN401 - as `receive` and as `send`
    raise RuntimeError("a live generation has no client")
