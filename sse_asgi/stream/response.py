"""The life of one response: the way of a chunk, and the way of an ending.

A chunk's way: the source steps → the recorder counts and keeps it → the framing makes it bytes
→ the outbox joins what is ready → `send`. `Response.produce` is that loop.

An ending's way: whatever happens first (the source ends or raises, the client leaves, a
deadline passes, a shutdown, a cancellation by the server) settles the outcome, once. Then the
same steps follow in the same order: the source is stopped and cleans up, the client, if it is
still there, gets the last words, the body is closed, `on_complete` is told.

What depends on the event loop, waiting and cancelling, is in `on_asyncio` and `on_trio`.
"""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Final, Generic, Protocol, TypeVar

from sse_asgi.stream.asgi import Message, Receive
from sse_asgi.stream.options import DescribeError, Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.stream.request import Request
from sse_asgi.stream.source import Chunk, SourceOpener, close
from sse_asgi.stream.transcript import Outcome, Recorder
from sse_asgi.wire.events import ServerSentEvent

GENERIC_ERROR: Final = "The stream failed on the server."
"""What a client is told of an error unless `describe_error` says more: internals stay inside."""

FINAL_GRACE: Final = 1.0
"""Seconds that the last message may take once the client is known to be gone.

Some servers report a disconnect because of the last message, before they have sent it.
"""

_logger = logging.getLogger("sse_asgi")


class Transmitter(Protocol):
    """What hands messages to the server, one at a time and in order.

    Attributes:
        open: The body has begun, so a keep-alive may go out in silence.
    """

    open: bool

    async def transmit(self, message: Message) -> None:
        """Hand over one message; an `OSError` says that the client is gone."""


LineT = TypeVar("LineT", bound=Transmitter)


class Response(ABC, Generic[LineT]):
    """One response's state, and all of its life that needs no event loop by name."""

    __slots__ = ("__weakref__", "_encode", "_opener", "closed", "concluding", "error", "line",
                 "line_lost", "options", "outbox", "outcome", "recorder", "request",
                 "started")  # fmt: skip

    line: LineT

    def __init__(self, opener: SourceOpener, options: Options, request: Request) -> None:
        self.options = options
        self.request = request
        self.recorder = Recorder(record=options.record)
        self.outbox = Outbox()
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.started = False
        self.line_lost = False  # nothing more can be sent
        self.concluding = False  # the last words are on their way
        self.closed = False
        self._opener = opener
        self._encode = options.framing.encoder()

    @abstractmethod
    async def pause(self) -> None:
        """Let others run, and let a cancellation in."""

    @abstractmethod
    def bound_cleanup(self) -> None:
        """Give the source `cleanup_timeout` seconds from now to end."""

    @abstractmethod
    def cancel_source(self) -> None:
        """Cancel what the source awaits, once, and bound its clean-up."""

    @abstractmethod
    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, which is being sent; at once, or soon if the client left."""

    @abstractmethod
    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; once is enough."""

    @abstractmethod
    async def run(self, receive: Receive) -> None:
        """Live: from the first message to the server to the report of the end."""

    async def produce(self) -> None:
        """Step the source from its opening to its end; everything a source is runs in here."""
        on_chunk, outbox = self.options.on_chunk, self.outbox
        take, encode = self.recorder.take, self._encode
        if not self.options.prefetch:
            await self.flush()  # the headers reach the client before the first chunk does
        source = await self._opener.open(self.request)
        try:
            async for chunk in source:
                if isinstance(chunk, str):
                    take(chunk)
                    if on_chunk is not None and (waiting := on_chunk(chunk)) is not None:
                        await waiting  # type: ignore[misc] # not None: it is an awaitable
                    outbox.put(encode(chunk), 1)
                else:
                    outbox.put(_frame(chunk), 0)
                if outbox.is_due():
                    await self.flush()
                    await self.pause()
                if self.outcome is not None:  # the line is lost, or the source ignored its stop
                    break
        finally:
            self.bound_cleanup()
            await close(source)

    async def flush(self) -> None:
        """Send what is ready; the first time also the headers. Settles the outcome on failure."""
        body, text_chunks = self.outbox.take()
        try:
            if not self.started:
                await self._start()
            await self.line.transmit(
                {"type": "http.response.body", "body": body, "more_body": True}
            )
        except OSError:
            self.lose_line(Outcome.DISCONNECTED)
        except Exception as error:  # noqa: BLE001 - settled, and raised to the server at the end
            self.lose_line(Outcome.FAILED, error)
        else:
            self.recorder.sent_chunks += text_chunks

    async def conclude(self) -> None:
        """Say the last words and close the body, if anybody is there to hear them."""
        if self.line_lost or (not self.started and self.error is not None and not self.outbox):
            return
        body, text_chunks = self.outbox.take()
        body += self._last_words()
        if not self.started:
            await self._start()
        await self.line.transmit({"type": "http.response.body", "body": body, "more_body": False})
        self.recorder.sent_chunks += text_chunks

    def stop(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """End the stream from outside of the task that it runs in, as soon as can be."""
        if self.closed:
            return
        if outcome not in (Outcome.SHUT_DOWN, Outcome.STOPPED):
            self.line_lost = True
            self.line.open = False
        if self.concluding:
            self.cancel_last_words(outcome)
        elif self.settle(outcome, error):
            self.cancel_source()

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
        self.line_lost = True
        self.line.open = False
        self.settle(outcome, error)

    def judge(self, error: BaseException | None, *, cancelled: bool) -> None:
        """Settle by the way in which `produce` ended; none if by itself.

        Args:
            error: What it raised.
            cancelled: That was a cancellation from outside of the stream.
        """
        if error is None:
            return
        if cancelled:
            self.lose_line(Outcome.SHUT_DOWN)
        elif not self.settle(Outcome.FAILED, error) and isinstance(error, Exception):
            self.error = self.error or error
            _logger.error("the source raised while it was being closed", exc_info=error)

    def report(self) -> Awaitable[object] | None:
        """Call `on_complete`; what it returns, if anything, is to be awaited."""
        if self.options.on_complete is None:
            return None
        transcript = self.recorder.transcript(self.outcome or Outcome.COMPLETED, self.error)
        try:
            return self.options.on_complete(transcript)  # type: ignore[return-value] # or None
        except Exception:
            _logger.exception("on_complete raised")
            return None

    async def _start(self) -> None:
        self.started = True
        options = self.options
        headers = list(options.headers)  # middleware may change the list
        await self.line.transmit({
            "type": "http.response.start", "status": options.status, "headers": headers,
        })  # fmt: skip
        self.line.open = True

    def _last_words(self) -> bytes:
        if self.outcome is Outcome.FAILED and self.error is not None:
            return error_event(self.error, self.options.describe_error)
        if self.outcome is Outcome.SHUT_DOWN:
            shutdown = self.options.shutdown
            farewell = None if shutdown is None else shutdown.farewell
            return b"" if farewell is None else farewell.encode()
        return self.options.framing.end()


def error_event(error: BaseException, describe: DescribeError | None) -> bytes:
    """Return the event that tells a client of an error: type `error`, data `{"message": …}`."""
    message = GENERIC_ERROR
    if describe is not None:
        try:
            message = describe(error)
        except Exception:
            _logger.exception("describe_error raised")
    return ServerSentEvent(event="error", data=json.dumps({"message": message})).encode()


def _frame(chunk: Chunk) -> bytes:
    """Return the bytes of a chunk that is no text: an event as it is, nothing for `None`."""
    if chunk is None:
        return b""
    if isinstance(chunk, ServerSentEvent):
        return chunk.encode()
    raise TypeError(
        f"the source yielded {type(chunk).__qualname__}; "
        "a chunk is a str, a ServerSentEvent or None"
    )
