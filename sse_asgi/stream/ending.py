"""The way of an ending: one word for why, and then always the same steps.

Whatever happens first (the work ends or raises, the client leaves, a deadline passes, a
shutdown, a cancellation by the server) settles the outcome, once. Then the work is stopped and
cleans up, the client, if it is still there, gets the last words, the body is closed, and
`on_complete` is told.

How the work is cancelled and waited for depends on the event loop: `ending_asyncio` and
`ending_trio`. What the work is, is said by `response` (stepping a source) and by `passage`
(calling another app).
"""

import json
import logging
from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections.abc import Awaitable
from inspect import isawaitable
from typing import Final, Generic, Protocol, TypeVar

from sse_asgi.stream.asgi import Message
from sse_asgi.stream.options import DescribeError, Options
from sse_asgi.stream.transcript import Outcome, Recorder
from sse_asgi.wire.events import ServerSentEvent

GENERIC_ERROR: Final = "The stream failed on the server."
"""What a client is told of an error unless `describe_error` says more: internals stay inside."""

FINAL_GRACE: Final = {Outcome.DISCONNECTED: 1.0, Outcome.SHUT_DOWN: 0.5}
"""Seconds that the last message may still take, by what happened meanwhile; 0 for the rest.

Some servers report a disconnect because of the last message, before they have sent it. And a
client that does not read must not hold up the server's exit.
"""

_logger = logging.getLogger("sse_asgi")


class Transmitter(Protocol):
    """What hands messages to the server, one at a time and in order.

    Attributes:
        open: A keep-alive may go out now, in silence: the body has begun, and no event is cut.
        given_up: Nothing further is handed over.
        text_chunks: How many were in what has been handed over. A send that was cut counts, for
            nobody knows how much of it went out.
    """

    open: bool
    given_up: bool
    text_chunks: int

    def transmit(
        self, message: Message, text_chunks: int = 0, *, or_stop: bool = False
    ) -> Awaitable[None]:
        """Hand over one message; an `OSError` says that the client is gone.

        With `or_stop` what is raised ends the stream, and goes no further.
        """
        ...

    def give_up(self) -> None:
        """Hand over no further message."""


LineT = TypeVar("LineT", bound=Transmitter)


class Ending(ABC, Generic[LineT]):
    """What a stream knows of its end, from its beginning on.

    Attributes:
        outcome: How it ended; `None` while it has not.
        error: What failed it.
        concluding: The last words are on their way.
        closed: Nothing can stop it any more, for it has ended.
        stopping: The server has been told to stop.
    """

    line: LineT

    # Most streams leave these as they are, so they cost each of them nothing.
    error: BaseException | None = None
    concluding = False
    closed = False
    stopping = False
    _reported = False

    def __init__(self, options: Options) -> None:
        self.options = options
        self.outcome: Outcome | None = None  # of each stream: asked for with every chunk
        self.recorder = Recorder(record=options.record)

    @property
    @abstractmethod
    def http2(self) -> bool:
        """Whether the connection is one of HTTP/2."""

    @abstractmethod
    def cancel_work(self) -> None:
        """Cancel what the work awaits, once, and bound its clean-up."""

    @abstractmethod
    def bound_cleanup(self) -> None:
        """Give the work `cleanup_timeout` seconds from now to end."""

    @abstractmethod
    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, which is being sent, once its `FINAL_GRACE` is over."""

    @abstractmethod
    def lift_last_bound(self) -> None:
        """Let the last message take its time after all."""

    @abstractmethod
    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; once is enough."""

    @abstractmethod
    def start_watching(self) -> None:
        """Begin to watch the client, in a task of its own."""

    @abstractmethod
    def close(self) -> None:
        """Let nothing stop the stream any more, for it has ended."""

    @abstractmethod
    async def report_now(self) -> None:
        """Tell `on_complete`, where no cancellation reaches it; only once."""

    @abstractmethod
    async def conclude(self) -> None:
        """Say the last words and close the body, if anybody is there to hear them."""

    @property
    def reports_early(self) -> bool:
        """Whether `on_complete` is told before the body ends, not after.

        So it is once the server has been told to stop: some servers exit as soon as the last
        body has ended, whatever still runs.
        """
        return self.stopping and self.options.on_complete is not None

    async def send_last(self, body: bytes, text_chunks: int) -> None:
        """Send the last words, with so many text chunks in them, and end the body."""
        if self.reports_early:
            message = {"type": "http.response.body", "body": body, "more_body": True}
            await self.line.transmit(message, text_chunks)
            self.settle(Outcome.COMPLETED)
            self.line.open = False
            self.lift_last_bound()
            await self.report_now()
            body, text_chunks = b"", 0
            if self.outcome is Outcome.SHUT_DOWN:
                self.cancel_last_words(Outcome.SHUT_DOWN)
        body = body or self.filler()
        message = {"type": "http.response.body", "body": body, "more_body": False}
        await self.line.transmit(message, text_chunks)

    def filler(self) -> bytes:
        """Return a comment for a last message that would carry nothing, where one must.

        Told to stop, hypercorn loses the end of an HTTP/2 stream unless bytes come with it.
        """
        return b":\n" if self.stopping and self.http2 else b""

    def stop(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """End the stream from outside of the task that it runs in, as soon as can be."""
        if self.closed:
            return
        if outcome not in (Outcome.SHUT_DOWN, Outcome.STOPPED):
            self.line.give_up()
        if self.concluding:
            self.cancel_last_words(outcome)
        elif self.settle(outcome, error) or self.line.given_up:
            self.cancel_work()

    def line_failed(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """End the stream, because `send` has failed: nobody hears of anything any more."""
        if self.closed:
            return
        self.lose_line(outcome, error)
        if self.concluding:
            self.cancel_last_words(outcome)
        else:
            self.cancel_work()

    def enter_shutdown(self) -> None:
        """Be open to a shutdown, from now on."""
        if self.options.shutdown is not None:
            self.options.shutdown.enter(self)

    def leave_shutdown(self) -> None:
        """Be done with all that a shutdown would have to wait for."""
        if self.options.shutdown is not None:
            self.options.shutdown.leave(self)

    def watch_ended(self, error: BaseException | None) -> None:
        """Stop, because `receive` told that the client has left, or failed."""
        if error is None or isinstance(error, OSError):
            self.stop(Outcome.DISCONNECTED)
        else:
            self.stop(Outcome.FAILED, error)

    def settle(self, outcome: Outcome, error: BaseException | None = None) -> bool:
        """Say how the stream ended; only the first word counts. True if this was it."""
        if self.outcome is not None:
            return False
        self.outcome = outcome
        self.error = error
        return True

    def lose_line(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Settle, and never send again."""
        self.line.give_up()
        self.settle(outcome, error)

    def judge(self, error: BaseException | None, *, cancelled: bool) -> None:
        """Settle by the way in which the work ended; none if by itself.

        Args:
            error: What it raised.
            cancelled: That was a cancellation from outside of the stream.
        """
        if error is None:
            return
        if cancelled:
            self.lose_line(Outcome.SHUT_DOWN)
        elif self.settle(Outcome.FAILED, error) or error is self.error:
            return
        elif isinstance(error, Exception):
            self.error = self.error or error
            _logger.error("a source raised while it was being closed", exc_info=error)

    def report(self) -> Awaitable[object] | None:
        """Call `on_complete`; what it returns, if anything, is to be awaited."""
        if self.options.on_complete is None or self._reported:
            return None
        self._reported = True
        self.recorder.sent_chunks = self.line.text_chunks
        transcript = self.recorder.transcript(self.outcome or Outcome.COMPLETED, self.error)
        try:
            result = self.options.on_complete(transcript)
        except (Exception, CancelledError):
            _logger.exception("on_complete raised")
            return None
        return result if isawaitable(result) else None

    def due_error(self) -> BaseException | None:
        """Return what the server must be told of, once; no reference to it stays here."""
        error, self.error = self.error, None
        return error if self.outcome is Outcome.FAILED else None

    def last_words(self) -> bytes:
        """Return what the client is told of the end, by the outcome."""
        if self.outcome is Outcome.FAILED and self.error is not None:
            return error_event(self.error, self.options.describe_error)
        if self.outcome is Outcome.SHUT_DOWN:
            shutdown = self.options.shutdown
            farewell = None if shutdown is None else shutdown.farewell
            return b"" if farewell is None else farewell.encode()
        try:
            return b"" + self.options.framing.end()  # a str fails here, where it can be told
        except Exception as error:  # noqa: BLE001 - raised to the server at the end
            self.settle(Outcome.FAILED, error)
            return error_event(error, self.options.describe_error)


def error_event(error: BaseException, describe: DescribeError | None) -> bytes:
    """Return the event that tells a client of an error: type `error`, data `{"message": …}`."""
    message: object = GENERIC_ERROR
    if describe is not None:
        try:
            message = describe(error)
        except Exception:
            _logger.exception("describe_error raised")
        if not isinstance(message, str):
            _logger.error("describe_error returned %s, not a str", type(message).__qualname__)
            message = GENERIC_ERROR
    return ServerSentEvent(event="error", data=json.dumps({"message": message})).encode()
