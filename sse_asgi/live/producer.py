"""The producer: one run of a source, whoever watches.

It is a response whose client is the log: what the source yields is stored instead of sent, and the
last message is the ending. So a generation is stepped, stopped, cleaned up and reported by the same
code as every other stream.
"""

import asyncio
import hashlib
import logging
from functools import cache
from typing import Any, Final

from sse_asgi.asgi import Message
from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.events import INTERRUPTED_MESSAGE, error_event
from sse_asgi.live.log import Lease
from sse_asgi.live.record import ending_of
from sse_asgi.live.viewer import Linger
from sse_asgi.live.writer import Writer
from sse_asgi.source.request import Request
from sse_asgi.source.source import SourceOpener
from sse_asgi.stream.failure import describe
from sse_asgi.stream.lifecycle import RUNNING, STOPPING, Cause
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
        self,
        opener: SourceOpener,
        options: Options,
        writer: Writer,
        *,
        linger: float | None,
        at_once: bool,
    ) -> None:
        super().__init__(opener, options, NoRequest(), _nobody, writer.send)
        self._send_here = self._store_here  # until the end, which breaks this cycle
        self.lifecycle.stop_grace = ENDING
        self.outbox.take_start()  # nobody needs it
        if at_once:
            self.outbox.put_event(b"")  # the framing's beginning comes before it
        self.ended: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        self._linger = None if linger is None else Linger(linger)
        self.writer: Writer = writer
        writer.outbox, writer.on_stop = self.outbox, self.stop
        self._record: Transcript | None = None
        self._bad_end: Exception | None = None  # what the framing's end has raised

    # What is asked of it from outside

    def stop(
        self, outcome: Outcome, error: BaseException | None = None, *, by: Cause = "client"
    ) -> bool:
        """End the generation; only the first word counts. Tell whether its source was running."""
        running = self.lifecycle.phase in (RUNNING, STOPPING)
        if running or by == "shutdown":  # then the ending has its time left
            self.lifecycle.stop(outcome, error, by=by)
        return running

    def heed(self, lease: Lease, last: int) -> None:
        """Act on a beat's answer, as the writer does; and end if nobody has watched for long."""
        self.writer.heed(lease, last)
        if lease.held and self._linger and self._linger.is_over(lease, self.writer):
            self.stop(Outcome.DISCONNECTED)

    def enter_shutdown(self) -> None:
        """Let a shutdown concern it from now on."""
        super().enter_shutdown()
        if self.options.shutdown is not None:
            self.options.shutdown.listen(self.lifecycle, self.host)

    def watch_client_and_clocks(self) -> None:
        """Watch nobody: it has no client, and is under a shutdown already."""

    async def end_unbegun(self, outcome: Outcome) -> None:
        """End the generation before its source is touched: the log has it, so it needs an end."""
        self.lifecycle.settle(outcome, by="shutdown")
        self.lifecycle.end_running()
        await self.end()

    # Storing, where other responses send

    async def _store_here(self, message: Message) -> None:
        """Store from the source's own task, which stands at a `yield`: it must not wait here."""
        self.writer.store(message["body"])
        if await self.writer.append_here():
            self.sender.start_background(self.writer.room)  # what comes next waits for that

    # The end

    async def _close_source(self) -> None:
        self.writer.source_ends = True
        if self.writer.is_full:
            self.writer.wake()
        await super()._close_source()

    def cancelled_by_server(self) -> None:
        """Settle the outcome: whoever closes the event loop has cancelled every task."""
        self.lifecycle.settle(Outcome.SHUT_DOWN, by="server")

    async def send_last_message(self) -> None:
        """Store what is left and the ending; raises why the log does not take it."""
        if self.writer.error is None:
            await self._store_ending()
        if self.writer.error is not None:
            self._record = None
            raise self.writer.error

    async def _store_ending(self) -> None:
        try:
            self.writer.write(self.outbox.take())
        except Exception as error:  # noqa: BLE001 - `on_complete` is told
            self.lifecycle.settle(Outcome.FAILED, error, by="source")
        events = self._last_events()
        self._record = self._transcript(self.writer.written_chunks)
        self.writer.finish(events, ending_of(self._record))
        while self.writer.ending is None:
            try:
                await self.writer.changed()
            except asyncio.CancelledError as error:
                if not self.host.is_cancelled():
                    self._give_up()
                else:
                    self.host.keep(error)

    def _give_up(self) -> None:
        self.writer.lose(LogUnavailableError("the log did not take the ending in time"))

    def close(self) -> None:
        """Let nothing stop it any more; viewers learn of an ending that the log has not."""
        super().close()
        self._give_up()

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
        if self._record is None:
            self._record = self._transcript(self.writer.sent_chunks)
        return self._record

    @property
    def _outcome(self) -> Outcome:
        if self._bad_end is not None:
            return Outcome.FAILED
        return self.lifecycle.outcome or Outcome.COMPLETED

    def _transcript(self, sent_chunks: int) -> Transcript:
        return self.recorder.transcript(
            self._outcome,
            "framing" if self._bad_end is not None else self.lifecycle.by or "source",
            self._bad_end or self.lifecycle.error,
            chunks=self.outbox.produced_chunks,
            sent=sent_chunks,
        )

    def _last_events(self) -> list[bytes]:
        try:
            if self._outcome in (Outcome.COMPLETED, Outcome.STOPPED):
                self.outbox.put_end(self._outcome)
                return self.writer.cut(self.outbox.take())
        except Exception as error:
            _logger.exception("a framing's end raised: generation %s", self._name)
            self._bad_end = error
        try:
            # At a shutdown, too: whoever follows it later must learn that it has no more.
            self.outbox.put_failure(self._failure_message(), Outcome.FAILED)
            return self.writer.cut(self.outbox.take())
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


@cache
def coalescing_producer() -> type[Producer]:
    """Return the producer of a generation with the option `coalesce`."""
    from sse_asgi.coalescing import CoalescingResponse  # noqa: PLC0415 - only if used

    class CoalescingProducer(CoalescingResponse, Producer):
        """A running generation whose text is gathered."""

    return CoalescingProducer


async def _nobody(*_: object) -> Any:  # noqa: ANN401 - as `receive` and as `send`
    raise RuntimeError("a live generation has no client")
