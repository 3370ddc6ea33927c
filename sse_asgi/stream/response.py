"""The way of a chunk, from a source to the server's `send`.

The source gives a chunk → the recorder counts and keeps it → the framing encodes it → `send`. The
server's task steps the source, and awaits `send` itself when chunks come one by one.

Chunks that are ready together leave together. The loop sees in hindsight that the source has not
waited: a chunk comes at once after a send. From then on the loop gathers chunks, and puts a
callback into the event loop's queue. The callback runs when the server's task waits, so as soon as
the source waits, and has a background task send all that is ready. No chunk waits for a later one.
"""

import logging
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sse_asgi.asgi import Receive, Send
from sse_asgi.host.host import Host
from sse_asgi.source.request import Request
from sse_asgi.source.source import SourceOpener, Stepper
from sse_asgi.stream.chunk import encode_event
from sse_asgi.stream.gathering import GatheringStream
from sse_asgi.stream.lifecycle import Cause, Phase
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import FRAME_SIZE, MAX_SIZE, Outbox
from sse_asgi.stream.watch import watch
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

PROBE: Final = 32
"""Sends after which the loop looks again whether the source waits between its chunks."""

Hook = Callable[[str], object]
_logger = logging.getLogger("sse_asgi")


Respond = Callable[[SourceOpener, Options, Request, Receive, Send], Awaitable[None]]


class Response(GatheringStream):
    """The response to one request, made by one source."""

    __slots__ = ("_cancellation", "_opener", "_receive", "_source")

    gathered: int
    AT_ONCE = 0.000_05
    """Seconds after a send within which a chunk came without the source having waited for it."""

    def __init__(
        self,
        opener: SourceOpener,
        options: Options,
        request: Request,
        receive: Receive,
        send: Send,
    ) -> None:
        super().__init__(options, request, send)
        self.outbox: Outbox = Outbox(options.framing.encoder(), start_message=options.start_message)
        self.outbox.must_start = not options.prefetch  # the headers wait for no chunk
        self._source: Stepper | None = None
        # One that was raised at the source's `yield`, or by it, and what it is if not the server's.
        self._cancellation: tuple[BaseException, BaseException | None] | None = None
        self._opener = opener
        self._receive = receive

    @classmethod
    def answer(
        cls, opener: SourceOpener, options: Options, request: Request, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Answer one request with a stream."""
        response = cls(opener, options, request, receive, send)
        return response.host.live(response.run)

    async def leave(self, host: Host) -> None:
        """Raise what is the server's business: its cancellation, or a failure for it to answer."""
        error, self.lifecycle.error = self.lifecycle.error, None
        try:
            await host.raise_cancellation()
            if error is not None and self._is_to_be_raised(error):
                raise error
        finally:
            del error  # its traceback holds this frame

    # The source

    async def work(self) -> None:  # noqa: C901, PLR0915 - the loop, written out
        """Step the source from its opening to its close, and send what it gives."""
        lifecycle, sender, outbox, running = self.lifecycle, self.sender, self.outbox, Phase.RUNNING
        record, put = self.recorder.keep, outbox.chunks.append
        encode: Callable[[Any], bytes]
        encode = outbox.encode_one or (lambda chunk: outbox.encode([chunk]))
        send, at_once = sender.send_here, self.AT_ONCE
        on_chunk, clock = self.options.chunk_hook(self.request), self.host.clock
        self.enter_shutdown()
        self.begin_to_gather()
        try:
            source = self._source = Stepper(await self._opener.open(self.request))
            step: Callable[[], Awaitable[Any]]
            step = source.next_chunk if on_chunk is None else source.step
            plain: type[str] | None = None
            while lifecycle.phase is running:
                try:
                    chunk = await step()
                except StopAsyncIteration:
                    break
                if type(chunk) is not plain:
                    plain = str if isinstance(chunk, str) else plain  # all but the first
                    await self._take(chunk, on_chunk, source)
                    step = step if source.told is None else source.step
                    continue
                # Here nearly every chunk passes. So this is written out, and calls little.
                record(chunk)
                if on_chunk is not None:
                    await self._call_on_chunk(on_chunk, chunk, source)
                now = clock()
                if sender.pending is not None or lifecycle.phase is not running:
                    pass
                elif now - sender.last < at_once:  # the source has not waited
                    self.arm()
                else:
                    body = encode(chunk)
                    outbox.sent_chunks = sent = outbox.sent_chunks + 1
                    if not body:
                        self.arm()
                        continue
                    if not sent % PROBE:
                        self.arm()
                    lifecycle.sending_since = now
                    try:
                        await send({"type": "http.response.body", "body": body, "more_body": True})
                    except BaseException as error:  # noqa: BLE001 - judged there
                        sender.note_failure(error)
                        await self._end_if_interrupted(source)
                    lifecycle.sending_since = None
                    sender.last = clock()
                    continue
                put(chunk)
                self.gathered = size = self.gathered + len(chunk) + FRAME_SIZE
                if size >= MAX_SIZE or now >= self.due:
                    await self.pause(source)
                    step = source.step  # which also tells the source what it is to learn
        except BaseException as error:  # noqa: BLE001 - judged there
            self._source_raised(error)
        await self._close_source()

    async def _take(self, chunk: object, on_chunk: Hook | None, source: Stepper) -> None:
        """Take any chunk its way: the first text, a part, an event, or nothing."""
        if isinstance(chunk, str):
            self.recorder.note_first()
            self.recorder.keep(chunk)
            if on_chunk is not None:
                await self._call_on_chunk(on_chunk, chunk, source)
            self.outbox.chunks.append(chunk)
            self.gathered += len(chunk) + FRAME_SIZE
        elif isinstance(chunk, Part):
            self.recorder.take_part(chunk)
            self.gathered += self.outbox.put_part(chunk)
        elif chunk is not None:
            self.gathered += self.outbox.put_event(encode_event(chunk))
        if self.sender.pending is not None:
            if self.gathered >= MAX_SIZE or self.host.clock() >= self.due:
                await self.pause(source)
        elif self.host.clock() - self.sender.last < self.AT_ONCE:
            self.arm()
        elif self.lifecycle.phase is Phase.RUNNING:
            await self._send_now(source)

    async def _call_on_chunk(self, on_chunk: Hook, chunk: str, source: Stepper) -> None:
        try:
            await source.tell(on_chunk, chunk, self.is_for_source)
            if source.told is not None and self.sender.pending is None:
                self.arm()  # the chunk leaves in the background: the source is told first
        except BaseException as error:
            self.outbox.unsent_chunks += 1
            if isinstance(error, Exception):
                self.lifecycle.settle(Outcome.FAILED, error, by=Cause.HOOK)
            raise

    async def _send_now(self, source: Stepper) -> None:
        """Send what is ready from the server's task: the source has waited for it."""
        message = self.outbox.next_message()
        if message is None:
            self.arm()
            return
        await self.sender.send(message)
        await self._end_if_interrupted(source)

    async def _end_if_interrupted(self, source: Stepper) -> None:
        error, self.sender.interrupted = self.sender.interrupted, None
        if error is not None:
            self._cancellation = error, await source.end_with(error)
            self.lifecycle.end_running()

    def _source_raised(self, error: BaseException) -> None:
        """Settle the outcome by what the source, or a hook or the framing, has raised."""
        was_running = self.lifecycle.end_running()
        if isinstance(error, GeneratorExit):
            raise error
        if isinstance(error, self.host.cancelled):
            # Without a server's cancellation the source awaited what was cancelled.
            failure = self.host.as_failure(error) if was_running else None
            self._cancellation = self._cancellation or (error, failure)
            return
        error = self.host.as_failure(error)
        if self.lifecycle.settle(
            Outcome.FAILED, error, by=Cause.FRAMING if self.outbox.failed else Cause.SOURCE
        ):
            pass
        elif error is not self.lifecycle.error:
            self.lifecycle.error = self.lifecycle.error or error
            if isinstance(error, Exception):  # any other is raised at the end
                _logger.error("a source raised while it was being closed", exc_info=error)

    def work_has_ended(self) -> None:
        """Settle the outcome by a cancellation that the source knows of. It is closed now."""
        if self._cancellation is None:
            return
        (error, failure), self._cancellation = self._cancellation, None
        if self.host.is_cancelled():  # else a scope of the source's own has taken it back
            self.host.keep(error)
            self.cancelled_by_server()
        elif failure is not None:
            self.lifecycle.settle(Outcome.FAILED, failure, by=Cause.SOURCE)
        del error, failure  # their tracebacks hold this stream

    def cancelled_by_server(self) -> None:
        """Settle the outcome of a stream whose task the server has cancelled."""
        self.sender.lose(Outcome.SHUT_DOWN, by=Cause.SERVER)

    async def _close_source(self) -> None:
        self.lifecycle.end_running()
        if self._source is None or self._source.has_ended:
            return
        self.lifecycle.begin_cleanup()
        try:
            await self._source.close(self.host.cleanup)
        except BaseException as error:  # noqa: BLE001 - judged there
            self._source_raised(error)

    # The client, and the end

    def cancel(self) -> None:
        """Cancel what the server's task awaits."""
        self.host.cancel_work()

    def watch(self) -> Awaitable[None]:
        """Return what waits until the client has left; it raises what `receive` raises."""
        return watch(self._receive, self.request)

    async def send_last_message(self) -> None:
        """End the body; raises what `send` raises."""
        if self._is_the_servers_to_answer() and not self.outbox:
            return
        body = self.final_body()
        if not self.is_watched and self.sender.pending is None:
            self.arm()  # so that the client is watched if this takes a while
        start = self.outbox.take_start()
        await self.finish_body(body, *(() if start is None else (start,)))

    def _is_the_servers_to_answer(self) -> bool:
        failed = self.lifecycle.outcome is Outcome.FAILED
        return failed and bool(self.options.prefetch) and not self.outbox.has_started

    def _is_to_be_raised(self, error: BaseException) -> bool:
        """Tell whether a failure is the server's business: it can answer it, or it is fatal."""
        is_fatal = not isinstance(error, (Exception, CancelledError))
        return is_fatal or self._is_the_servers_to_answer()
