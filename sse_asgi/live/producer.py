"""The producer: runs one source to its end, whoever watches.

Two tasks. One steps the source, from its opening to its close. The other waits for that one's
end and does what follows, whatever happened: the ending goes into the log, `on_complete` is
told. Whoever wants the source to end settles the outcome, once, and cancels the first task,
once; a second cancellation follows after `cleanup_timeout`.
"""

import asyncio
import hashlib
import logging
from array import array
from bisect import bisect_right
from functools import partial
from inspect import isawaitable
from typing import Any, Final, cast

from sse_asgi.errors import LogError
from sse_asgi.live.encoding import Encoding
from sse_asgi.live.feed import Feed
from sse_asgi.live.frames import INTERRUPTED_MESSAGE, error_event
from sse_asgi.live.linger import AskLease, Linger
from sse_asgi.live.log import Lease
from sse_asgi.live.opener import NoRequest
from sse_asgi.live.transcripts import ending_of
from sse_asgi.live.writer import Writer
from sse_asgi.source.source import SourceOpener, Stepper
from sse_asgi.stream.failure import describe
from sse_asgi.stream.options import Options
from sse_asgi.stream.transcript import Recorder, Transcript
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

_TURNS: Final = 16
"""Chunks after which a source that never waits lets others run."""

_LAST_CHANCE: Final = 1.0
"""Seconds between the second cancellation of a source and its being left alone."""

_logger = logging.getLogger("sse_asgi")


class Producer:
    """One running generation.

    Args:
        opener: The source.
        options: The framing, the hooks and the clean-up timeout.
        token: What tells it from other producers of the id.
        linger: Seconds without viewers after which it ends; None for never.
        ask_lease: As for `Linger`.

    Attributes:
        feed: What the viewers here read.
        writer: What brings the events into the log; from `start` on.
    """

    def __init__(
        self,
        opener: SourceOpener,
        options: Options,
        token: str,
        *,
        linger: float | None,
        ask_lease: AskLease,
    ) -> None:
        self.feed = Feed(token, on_empty=self._left)
        self._linger = Linger(
            linger,
            feed=self.feed,
            ask_lease=ask_lease,
            heed=self.heed,
            end=partial(self.stop, Outcome.DISCONNECTED),
        )
        self._opener = opener
        self._options = options
        self._request = NoRequest()
        self._recorder = Recorder(record=True)
        self._chunks = 0
        self._encoding = Encoding(options.framing)
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._ends = array("Q")  # for each text chunk, the position of its last event
        self._bound: asyncio.TimerHandle | None = None
        self._ended = False  # by itself
        self._finishing = False
        self._gave_up = False
        self._abandoned = False

    def start(self, writer: Writer) -> "asyncio.Task[Transcript]":
        """Begin, and return the task that gives the transcript when all is done."""
        self.writer = writer
        self._loop = asyncio.get_running_loop()
        self._linger.start()
        self._source = self._loop.create_task(self._produce(), name="sse_asgi live source")
        self._main = self._loop.create_task(self._run(), name="sse_asgi live generation")
        return self._main

    def stop(self, outcome: Outcome, error: BaseException | None = None) -> bool:
        """End the generation; only the first word counts. Tell whether it was running."""
        if self._source.done():
            return False
        if self._outcome is not None:
            return True
        self._outcome = outcome
        self._error = error
        self._source.cancel()
        self._bound_cleanup()
        return True

    def lose(self, error: LogError) -> None:
        """Fail, for the log is lost; also if the source is done, and only the ending is missing."""
        if not self.stop(Outcome.FAILED, error) and self._outcome in (None, Outcome.COMPLETED):
            self._outcome, self._error = Outcome.FAILED, error

    def heed(self, lease: Lease) -> None:
        """Act on what the log says of the lease, the followers, and the wish to stop."""
        self.writer.heed(lease)
        self._linger.heed(lease)

    def heed_wake(self, lease: Lease) -> None:
        """Act on a lease as after a wake: the last viewer may just have left."""
        self._linger.heed_wake(lease)

    def _left(self) -> None:
        if not self._main.done():
            self._linger.left()

    async def _run(self) -> Transcript:
        await self._see_end(self._source)
        self._linger.stop()
        self._judge()
        while True:
            ending = self._loop.create_task(self._finish(), name="sse_asgi live ending")
            await self._see_end(ending)
            if self._finishing:  # else whatever closes the loop has cancelled it before it began
                return ending.result()

    async def _see_end(self, task: "asyncio.Task[Any]") -> None:
        """Wait for a task's end; a cancellation of this one means that the loop is closing."""
        while not (task.done() or (task is self._source and self._abandoned)):
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                self.stop(Outcome.SHUT_DOWN)

    # The source

    async def _produce(self) -> None:
        """Run the source from its opening to its close."""
        self._source = cast("asyncio.Task[None]", asyncio.current_task())  # an eager one, too
        try:
            source = Stepper(await self._opener.open(self._request))
            try:
                await self._take_chunks(source)
            except BaseException as error:
                self._source_raised(error)  # now: the clean-up may raise another
                raise
            finally:
                self._bound_cleanup()
                await source.close()
        except BaseException as error:
            self._source_raised(error)
            raise

    async def _take_chunks(self, source: Stepper) -> None:
        keep, on_chunk = self._recorder.keep, self._options.chunk_hook(self._request)
        encoding, write = self._encoding, self.writer.write
        turns = 0
        while self._outcome is None:  # else the source ignored its stop
            try:
                chunk = await source.step()
            except StopAsyncIteration:
                self._ended = True
                return
            if isinstance(chunk, str):
                self._recorder.note_first()
                self._chunks += 1
                keep(chunk)
                if on_chunk is not None:
                    await source.tell(on_chunk, chunk, self._source_must_know)
                waiting = write(encoding.text(chunk))
                self._ends.append(self.writer.last)
                self._recorder.compact()
            else:
                if isinstance(chunk, Part):
                    self._recorder.take_part(chunk)
                waiting = write(encoding.other(chunk))
            turns += 1
            if waiting is None and turns % _TURNS == 0:
                waiting = asyncio.sleep(0)
            if waiting is not None:
                await source.wait(waiting, self._source_must_know)

    def _source_must_know(self) -> bool:
        return self._outcome is None and self._source.cancelling() > 0

    def _source_raised(self, error: BaseException) -> None:
        """Settle by what the source raised, unless that is settled, or its task was cancelled.

        A `CancelledError` may also come from what the source awaits.
        """
        if self._outcome is not None:
            return
        if not (isinstance(error, asyncio.CancelledError) and self._source.cancelling()):
            self._outcome, self._error = Outcome.FAILED, error

    def _bound_cleanup(self) -> None:
        if self._bound is None:
            self._bound = self._loop.call_later(self._options.cleanup_timeout, self._give_up)

    def _give_up(self) -> None:
        """Cancel once more what does not end, and then go on without it."""
        if self._source.done():
            return
        if self._gave_up:
            self._abandoned = True
            self._main.cancel()
            return
        self._gave_up = True
        self._source.cancel()
        self._bound = self._loop.call_later(_LAST_CHANCE, self._give_up)

    # The ending

    def _judge(self) -> None:
        source = self._source
        if self._bound is not None:
            self._bound.cancel()
        if self._gave_up:
            _logger.error(
                "a live source did not end within cleanup_timeout: generation %s", self._name
            )
        # One that was cancelled, and not by us: whatever closes the event loop cancels every task.
        # One that had ended by itself before that has given all of its text.
        self._outcome = self._outcome or (Outcome.COMPLETED if self._ended else Outcome.SHUT_DOWN)
        error = self._error
        if source.done() and not source.cancelled():
            error = source.exception()
        elif not isinstance(error, asyncio.CancelledError):  # else it has awaited what was
            error = None
        if error is not None:
            _logger.error("a live source raised: generation %s", self._name, exc_info=error)

    async def _finish(self) -> Transcript:
        self._finishing = True
        await self.writer.drain()
        last_words = self._last_words()  # before the transcript: they may fail
        transcript = self._transcript()
        await self.writer.finish(last_words, ending_of(transcript))
        if transcript.outcome is not self._outcome:  # the log did not take the ending
            transcript = self._transcript()
        await self._report(transcript)
        return transcript

    def _transcript(self) -> Transcript:
        return self._recorder.transcript(
            self._outcome or Outcome.COMPLETED,
            self._error,
            chunks=self._chunks,
            sent_chunks=bisect_right(self._ends, self.writer.shown),
        )

    async def _report(self, transcript: Transcript) -> None:
        if self._options.on_complete is None:
            return
        try:
            waiting = self._options.call_on_complete(transcript, self._request)
            if isawaitable(waiting):
                await waiting
        except (Exception, asyncio.CancelledError):  # of the hook's own making
            _logger.exception("on_complete raised: generation %s", self._name)

    def _last_words(self) -> list[bytes]:
        outcome = self._outcome
        if outcome is Outcome.COMPLETED or outcome is Outcome.STOPPED:
            try:
                return self._encoding.end(outcome)
            except Exception as error:
                _logger.exception("a framing's end raised: generation %s", self._name)
                self._outcome, self._error = Outcome.FAILED, error
        try:
            return self._encoding.fail(self._failure_message())
        except Exception:
            _logger.exception("a framing's fail raised: generation %s", self._name)
            return [error_event(INTERRUPTED_MESSAGE)[:-2]]

    def _failure_message(self) -> str:
        if self._outcome is Outcome.FAILED and self._error is not None:
            return describe(Outcome.FAILED, self._error, self._options.describe_error)
        return INTERRUPTED_MESSAGE

    @property
    def _name(self) -> str:
        """Return what the log calls the generation: its id may be all that a viewer needs."""
        return hashlib.sha256(self.writer.key.encode()).hexdigest()[:6]
